//! The Rust client of Windlass, also used by its own runner and command line.
//!
//! | module | holds |
//! |---|---|
//! | [`transport`] | how a request reaches a server: over HTTP, or by a call within the process |
//! | [`client`] | [`Client`]: a server, a token and a project |
//! | [`runner_api`] | the calls of a runner |
//! | [`error`] | what can go wrong, by what a caller can do about it |

pub mod client;
pub mod error;
pub mod runner_api;
pub mod transport;

pub use client::Client;
pub use error::ClientError;
pub use runner_api::{RunnerSession, SessionError};
