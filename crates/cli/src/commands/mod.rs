//! The commands, a file each, named as people type them.

pub(crate) mod bench;
pub(crate) mod cancel;
pub(crate) mod clusters;
pub(crate) mod codes;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
mod image_archive;
mod limits;
pub(crate) mod logs;
pub(crate) mod migrate;
pub(crate) mod migrate_store;
pub(crate) mod project;
pub(crate) mod queue;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod runner;
pub(crate) mod runners;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod task;
pub(crate) mod tasks;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod upload;
pub(crate) mod usage;
