//! What happened to an attempt: the facts a runner reports and what is made of them.

use serde::{Deserialize, Serialize};

use crate::task::Status;
use crate::time::Timestamp;

/// How a worker's process ended. Facts only: what follows from them is [`crate::lifecycle::conclude`]'s to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It ended by itself with this code.
    Code(i32),
    /// A signal that we did not send ended it.
    Signal(i32),
    /// It ran longer than its timeout and was ended.
    TimedOut,
    /// It was ended because its cancellation was asked for.
    Cancelled,
    /// It was ended for using more memory than its limit.
    OutOfMemory {
        /// The limit.
        limit_bytes: u64,
        /// The most it used.
        peak_bytes: u64,
    },
    /// It failed without an end of its process to show for it: as its handler said, or as its warm worker showed.
    Error {
        /// What kind of failure, such as the class of the exception.
        class: String,
        /// Why, in words.
        msg: String,
    },
    /// It could not be started, for a reason that lies in its package.
    NotStarted(String),
    /// Its runner could not do its part, for a reason that lies with the runner or the server: not the task's failure.
    Unable(String),
}

/// What an attempt used. Compute time is the sum of `wall_ms` over attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From start to end of the process.
    pub wall_ms: u64,
    /// Processor time in user mode, of the whole process tree that was waited for.
    pub user_us: u64,
    /// Processor time in the kernel, likewise.
    pub system_us: u64,
    /// The most memory any one of its processes had resident.
    pub peak_memory_bytes: u64,
}

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its process ended as said.
    Exited(Exit),
    /// Its runner fell silent, or gave it back: not the task's failure.
    Lost,
}

/// What follows for the task from the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The task has ended.
    Final {
        /// A final status.
        status: Status,
        /// Why, in words; `None` keeps what the worker reported as progress.
        msg: Option<String>,
        /// Class of the failure, such as `Process Exit 1`.
        error_class: Option<String>,
    },
    /// The task is queued again, under the same id.
    Again {
        /// Not before this instant.
        run_at: Timestamp,
        /// Why.
        why: Again,
        /// Why, in words, shown until the next attempt ends.
        msg: String,
    },
}

/// Why a task is queued again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Again {
    /// It failed and its policy allows another try.
    Retry,
    /// Its runner was lost or gave it back: uses no retry.
    Lost,
    /// Its runner could not do its part: uses no retry and is no loss.
    Unable,
}
