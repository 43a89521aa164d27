//! The store from outside.

#![expect(clippy::unwrap_used, reason = "tests")]

mod conformance;
