//! The runner against a server in the same process that speaks the real protocol, with real processes.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the message")]

mod attacks;
mod confined;
mod contract;
mod endings;
mod engine;
mod held;
mod image;
mod local;
mod network;
mod output;
mod packages;
mod registry;
mod server;
mod sessions;
mod speed;
mod support;
mod warm;
