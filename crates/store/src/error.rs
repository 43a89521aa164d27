//! Why a store could not do what it was asked to.

use std::path::PathBuf;

use windlass_model::code::NothingToRun;

/// Why a store could not do what it was asked to. What a caller may expect to happen (a lease that was lost, a task
/// that does not exist) is not an error but part of each method's answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing of the call was kept; it may be repeated.
    #[error("the store is not available: {0}")]
    Unavailable(String),

    /// The disk is full: nothing of the call was kept; it works again when there is space.
    #[error("no space is left on the disk of the store")]
    Full,

    /// Another process has the data directory open.
    #[error("{path} is in use by another Windlass process{}; stop it, or choose another directory with --data", in_brackets(*.pid))]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The other process, as far as it could be found out.
        pid: Option<u32>,
    },

    /// The data directory cannot be used.
    #[error("{path} cannot be used as a data directory: {reason}")]
    Unusable {
        /// The data directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// Packages, long logs and results cannot be kept where they are to be.
    #[error("packages and logs cannot be kept in {place}: {reason}")]
    NoBlobs {
        /// The bucket.
        place: String,
        /// Why not.
        reason: String,
    },

    /// What was read is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),

    /// The runner's session is unknown or over; it must register again.
    #[error("the runner's session is over")]
    SessionOver,

    /// Another server leads: a duty of the leader's changed nothing.
    #[error("another server leads")]
    NotLeading,

    /// An upload has nothing to run.
    #[error(transparent)]
    NothingToRun(#[from] NothingToRun),

    /// A limit on the number of things was reached.
    #[error("{0}")]
    LimitReached(String),
}

fn in_brackets(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
