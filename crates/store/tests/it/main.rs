//! The store from outside.

#![expect(clippy::unwrap_used, reason = "tests")]

mod blobs;
mod cluster;
mod conformance;
mod damage;
mod disk_full;
mod group;
mod kill;
mod lanes;
mod leader;
mod lock;
mod moving;
mod servers;
mod signals;
mod snapshot;
mod world;
