//! The server without a socket (and, in `socket`, with one), on the in-memory store and a clock that tests move.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod server;
mod tasks;
