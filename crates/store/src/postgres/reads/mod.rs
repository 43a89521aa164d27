//! What is read.

pub(super) mod accounts;
pub(super) mod codes;
pub(super) mod list;
pub(super) mod log;
pub(super) mod queue;
pub(super) mod runners;
pub(super) mod schedules;
pub(super) mod task;
pub(super) mod usage;
