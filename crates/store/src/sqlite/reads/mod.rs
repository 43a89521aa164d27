//! What is read, on connections that only read. The writer uses the same functions on its own.

pub(super) mod accounts;
pub(super) mod codes;
pub(super) mod export;
pub(super) mod list;
pub(super) mod log;
pub(super) mod queue;
pub(super) mod schedules;
pub(super) mod task;
pub(super) mod usage;
