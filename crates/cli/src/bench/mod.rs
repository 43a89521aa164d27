//! `windlass bench`: what this machine can do with Windlass, each figure beside the bare limit in the same run.
//!
//! | module | holds |
//! |---|---|
//! | [`plan`] | what is measured, in order |
//! | [`bare`] | the limits: a handler that only parses, a loop of `fdatasync`, a loop of `posix_spawn` |
//! | [`load`] | the HTTP load |
//! | [`crate::child`] | the Windlass under test, in a process of its own |
//! | [`sandbox`] | what a sandbox around each task costs |
//! | [`warm`] | what workers do that take one task after another |
//! | [`cluster`] | servers on PostgreSQL, in parts |
//! | [`database`], [`crowd`] | the PostgreSQL for it; runners that run nothing |
//! | [`seed`] | fills a store before it is measured |
//! | [`wrappers`] | other programs that isolate, to compare it with |
//! | [`stats`], [`report`] | medians, the table and the JSON |

mod bare;
mod cluster;
mod crowd;
mod database;
mod load;
mod plan;
mod report;
mod sandbox;
mod seed;
mod stats;
mod warm;
mod wrappers;

pub(crate) use bare::serve_parser;
pub(crate) use cluster::{Part, run as run_on_postgres};
pub(crate) use plan::{Effort, run};
