//! What is written, by kind.

pub(super) mod accounts;
pub(super) mod cancel;
pub(super) mod claim;
pub(super) mod codes;
mod ending;
pub(super) mod enqueue;
pub(super) mod finish;
pub(super) mod import;
pub(super) mod lead;
pub(super) mod progress;
pub(super) mod prune;
pub(super) mod schedules;
pub(super) mod sessions;
