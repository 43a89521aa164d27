//! Tasks: what was asked for, how it stands, and what each attempt came to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code::BlobRef;
use crate::exit::{Outcome, Usage};
use crate::id::{CodeId, ProjectId, RunnerId, ScheduleId, TaskId};
use crate::lease::Fence;
use crate::retry::RetryPolicy;
use crate::runner::Isolation;
use crate::time::Timestamp;
use crate::trace::TraceParent;

/// Where a task stands, in IronWorker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waiting: for its time, for a slot, or for its code to be resumed.
    Queued,
    /// Claimed; its image is being pulled.
    Preparing,
    /// Claimed by a runner.
    Running,
    /// Ended with exit code 0.
    Complete,
    /// Ended in any other way of its own, or could not be started.
    Error,
    /// Ended by us for running longer than its timeout.
    Timeout,
    /// Ended by a user.
    Cancelled,
    /// Given up by the platform, with the reason in its message.
    Killed,
}

impl Status {
    /// Every status, in the order of a task's life.
    pub const ALL: [Status; 8] = [
        Status::Queued,
        Status::Preparing,
        Status::Running,
        Status::Complete,
        Status::Error,
        Status::Timeout,
        Status::Cancelled,
        Status::Killed,
    ];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Preparing => "preparing",
            Status::Running => "running",
            Status::Complete => "complete",
            Status::Error => "error",
            Status::Timeout => "timeout",
            Status::Cancelled => "cancelled",
            Status::Killed => "killed",
        }
    }

    /// Whether nothing can happen to the task any more.
    pub const fn is_final(self) -> bool {
        !matches!(self, Status::Queued | Status::Preparing | Status::Running)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// 0, 1 or 2; 2 runs first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Priority(u8);

impl Priority {
    /// The priority `n` names; none for anything but 0, 1 and 2, which clients send for "unset" (-3, -1000).
    pub fn new(n: i64) -> Option<Self> {
        (0..=2).contains(&n).then_some(Self(n as u8))
    }

    /// 0, 1 or 2.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A task as it was asked for. It never changes afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// Its id, the same over all attempts.
    pub id: TaskId,
    /// Who owns it: the project of its code.
    pub project: ProjectId,
    /// The package it runs.
    pub code: CodeId,
    /// The revision it runs, fixed when it was queued.
    pub rev: u32,
    /// 2 before 1 before 0.
    pub priority: Priority,
    /// When it was queued.
    pub created_at: Timestamp,
    /// Not to be started before; `created_at` where no delay was asked for.
    pub run_at: Timestamp,
    /// Longest time one attempt may run.
    pub timeout_s: u32,
    /// Whether and when it runs again after a failure.
    pub retry: RetryPolicy,
    /// The runners it may run on.
    pub cluster: String,
    /// Free text of its owner, for filters.
    pub label: Option<String>,
    /// The schedule that made it.
    pub schedule: Option<ScheduleId>,
    /// The task whose attempt queued it.
    pub parent: Option<TaskId>,
    /// The task it is a retry of.
    pub retry_of: Option<TaskId>,
    /// The trace that the request which queued it belongs to.
    pub trace: Option<TraceParent>,
    /// What the worker gets; any bytes.
    pub payload: Vec<u8>,
}

/// A task as it was asked for and how it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What was asked for.
    pub new: NewTask,
    /// How it stands.
    pub state: TaskState,
}

/// How a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskState {
    /// Its status.
    pub status: Status,
    /// While queued: not to be started before. Otherwise when its last attempt was due.
    pub run_at: Timestamp,
    /// Attempts started so far.
    pub attempts: u32,
    /// Of those, how many followed a failure that the retry policy forgave.
    pub retries: u32,
    /// Attempts that ended because their runner was lost.
    pub losses: u32,
    /// Start of the newest attempt.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub ended_at: Option<Timestamp>,
    /// Newest change of any of this.
    pub updated_at: Timestamp,
    /// 0 to 100, as its worker reported.
    pub percent: u8,
    /// What its worker reported, or why it ended as it did. Empty on plain success.
    pub msg: String,
    /// Class of the failure, such as `Process Exit 1`.
    pub error_class: Option<String>,
    /// The runner of the newest attempt.
    pub runner: Option<RunnerId>,
    /// Bytes of output of the newest attempt that ended.
    pub log_size_bytes: u64,
    /// While running: whether somebody asked to cancel it.
    pub cancel_requested: bool,
}

impl TaskState {
    /// The state of a task that was just queued.
    pub fn queued(new: &NewTask) -> Self {
        Self {
            status: Status::Queued,
            run_at: new.run_at,
            attempts: 0,
            retries: 0,
            losses: 0,
            started_at: None,
            ended_at: None,
            updated_at: new.created_at,
            percent: 0,
            msg: String::new(),
            error_class: None,
            runner: None,
            log_size_bytes: 0,
            cancel_requested: false,
        }
    }
}

/// A finished piece of data that is kept with a row when it is small and as a blob when it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// Where they are.
    Blob(BlobRef),
}

/// One ended attempt of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first.
    pub n: u32,
    /// Proof of the right to report it.
    pub fence: Fence,
    /// Who ran it.
    pub runner: RunnerId,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What it came to.
    pub outcome: Outcome,
    /// Why, in words; empty on success.
    pub msg: String,
    /// What it used; none where its runner was lost.
    pub usage: Option<Usage>,
    /// How it was isolated; none where its runner was lost before it said so.
    pub isolation: Option<Isolation>,
    /// Its whole log, framed as [`crate::log`] has it; none when it wrote nothing.
    pub log: Option<Stored>,
    /// Bytes of output in the log.
    pub log_size_bytes: u64,
}
