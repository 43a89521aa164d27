//! What moves, piece by piece.

use windlass_model::cluster::Cluster;
use windlass_model::code::{Code, Revision};
use windlass_model::id::{CodeId, ProjectId, ScheduleId, TaskId};
use windlass_model::lease::Fence;
use windlass_model::project::{Project, TokenRecord};
use windlass_model::schedule::Schedule;
use windlass_model::task::{Attempt, Stored, Task};
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain};

use crate::usage::Rollup;

/// How far a store was read: a part of it, and the key in that part after which the rest follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Parts follow each other from 0 on. What a record names is in the same part or an earlier one.
    pub part: u32,
    /// The last key that was read.
    pub after: i64,
}

/// One thing that is kept, whole.
#[derive(Clone, Debug)]
pub enum Record {
    /// A secret and its name.
    Secret(String, [u8; 32]),
    /// Every fence that was ever minted is below.
    Fences(Fence),
    /// A project.
    Project(Project),
    /// A token with its last use.
    Token(TokenRecord),
    /// A cluster.
    Cluster(Cluster),
    /// A package, maybe a deleted one, and its revisions, first first.
    Code(Box<Code>, Vec<Revision>),
    /// A schedule, maybe one that has ended.
    Schedule(Box<Schedule>),
    /// A key that tasks were queued under.
    Key(UsedKey),
    /// What happened in a step, counted from the epoch, of a package.
    Rollup(Grain, CodeId, i64, Box<Rollup>),
    /// What attempts used that ended on a day, of a package; and, of a schedule, as a part of the same.
    Day(CodeId, i64, Option<ScheduleId>, ComputeTime),
    /// A task that is not running.
    Task(Box<Attempted>),
}

/// A task with all that its attempts left.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    /// The task.
    pub task: Task,
    /// Its attempts, first first.
    pub attempts: Vec<Attempt>,
    /// Its result.
    pub result: Option<Stored>,
}

/// A key of [`Store::enqueue_once`](crate::Store::enqueue_once) that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedKey {
    /// Whose it is.
    pub project: ProjectId,
    /// The key.
    pub key: String,
    /// When it was used.
    pub used_at: Timestamp,
    /// A hash of what was asked for.
    pub asked: [u8; 32],
    /// What was queued.
    pub ids: Vec<TaskId>,
}
