//! The shipped binary as a real process: port 0, a data directory of its own, loopback.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod apart;
mod blobs;
mod browser;
mod clients;
mod crash;
mod demand;
mod demo;
// The runner's tests make images of the same kind: with `tar`, `flate2`, `sha2` and `hex`.
#[path = "../../../runner/tests/it/image.rs"]
mod image;
mod images;
mod oom;
mod postgres;
mod proxy;
#[path = "../../../runner/tests/it/registry.rs"]
#[expect(dead_code, reason = "it has more moods than are needed here")]
mod registry;
mod remote;
mod secrets;
mod settings;
mod start;
mod stop;
mod tasks;
mod tls;
mod windlass;
