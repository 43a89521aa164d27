//! What the writer does, by kind. Each operation is a struct with its arguments and one [`run`](super::writer::Operation::run).

pub(super) mod accounts;
pub(super) mod cancel;
pub(super) mod claim;
pub(super) mod codes;
pub(super) mod ending;
pub(super) mod enqueue;
pub(super) mod finish;
pub(super) mod progress;
pub(super) mod prune;
pub(super) mod schedules;
pub(super) mod sessions;
