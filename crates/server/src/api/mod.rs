//! The handlers: extract, call, present. Who may call is in the route table, not here.

pub mod bulk;
pub mod clusters;
pub mod codes;
pub mod explain;
pub mod filters;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod params;
pub mod present;
pub mod projects;
pub mod protocol;
pub mod queueing;
mod registries;
pub mod runners;
pub mod schedules;
pub mod stacks;
pub mod tasks;
pub mod tokens;
pub mod usage;
pub mod webhook;
