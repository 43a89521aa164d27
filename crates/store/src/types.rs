//! What goes into a store and comes out of it.

use std::time::Duration;

use windlass_model::code::Revision;
use windlass_model::exit::{Outcome, Usage, Verdict};
use windlass_model::id::{CodeId, ProjectId, RunnerId, ScheduleId, Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::lifecycle::Trial;
use windlass_model::log::LogChunk;
use windlass_model::retry::RetryPolicy;
use windlass_model::runner::{Held, Isolation};
use windlass_model::schedule::ScheduleState;
use windlass_model::task::{NewTask, Status, Stored};
use windlass_model::time::Timestamp;

/// Which of the servers of a store leads, as it was when that was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lead {
    /// It is the one that asked.
    pub is_ours: bool,
    /// Grows whenever another one begins to lead; 0 where there can be no other.
    pub term: i64,
    /// How long nobody else can begin to lead. `None`: never.
    pub left: Option<Duration>,
    /// Where the one that leads is reached, if it said so.
    pub leader: Option<String>,
    /// The other servers.
    pub peers: Vec<Peer>,
}

impl Lead {
    /// Of the only server that there can be.
    pub fn alone() -> Self {
        Self { is_ours: true, ..Self::default() }
    }
}

/// Another server of the same store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its number, which no other has or had.
    pub server: i64,
    /// Where it is reached: `http://host:port`.
    pub url: String,
}

/// Asks for tasks to run.
#[derive(Clone, Debug)]
pub struct Claiming {
    /// Who will run them.
    pub runner: RunnerId,
    /// The tasks it takes.
    pub cluster: String,
    /// Most tasks to hand out.
    pub want: usize,
}

/// A task that was handed to a runner.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// What was asked for.
    pub task: NewTask,
    /// Names this attempt.
    pub fence: Fence,
    /// 1 for the first.
    pub attempt: u32,
    /// The revision it runs.
    pub revision: Revision,
    /// Name of the package.
    pub code_name: String,
}

/// What must be known of a running attempt to conclude it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leased {
    /// How often it failed and was lost before, and whether a cancel was asked for. `unable` is left to be counted.
    pub trial: Trial,
    /// The task's retry policy.
    pub policy: RetryPolicy,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// The end of an attempt, decided, to be written.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The attempt: the condition of the write.
    pub held: Held,
    /// What happened.
    pub outcome: Outcome,
    /// Why, in words, for this attempt.
    pub msg: String,
    /// What it used.
    pub usage: Option<Usage>,
    /// How it was isolated.
    pub isolation: Option<Isolation>,
    /// What follows.
    pub verdict: Verdict,
    /// The whole log; the chunks that were appended before are dropped.
    pub log: Option<Stored>,
    /// Bytes of output in it.
    pub log_size_bytes: u64,
    /// What the worker left as its result.
    pub result: Option<Stored>,
}

/// What became of a [`Finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Written; where the task stands now.
    Now(Status),
    /// Refused: the attempt is no longer the current one.
    LeaseLost,
}

/// Names a request to queue that may be repeated and must not be done twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceKey {
    /// What the client named it.
    pub key: String,
    /// A hash of what it asked for: another request under the same name is a mistake.
    pub asked: [u8; 32],
}

/// What became of tasks that were to be queued once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// They are queued.
    Queued,
    /// The same request was accepted before: these are its tasks, and nothing was queued now.
    Before(Vec<TaskId>),
    /// A request with the same key asked for something else: nothing was queued.
    Other,
}

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was queued and is `cancelled` now.
    AtOnce,
    /// It runs; its runner will be told, and it never runs again.
    Requested,
    /// It was final and stays as it is.
    WasFinal,
    /// There is no such task.
    Unknown,
}

/// What a heartbeat found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Attempts that are no longer the runner's own.
    pub lost: Vec<Held>,
    /// Attempts whose cancellation was asked for.
    pub cancel: Vec<Held>,
    /// Whether the runner was asked to take no more.
    pub is_draining: bool,
}

/// What a rescue did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Runner sessions found silent.
    pub runners: Vec<RunnerId>,
    /// Tasks taken from them.
    pub tasks: u64,
    /// When the next lease may run out; none: no runner is there.
    pub next_at: Option<Timestamp>,
}

/// Tasks by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Status::ALL.len()]);

impl Counts {
    /// Number of tasks with `status`.
    pub fn get(&self, status: Status) -> u64 {
        self.0[status as usize]
    }

    /// Adds `n` tasks with `status`.
    pub fn add(&mut self, status: Status, n: u64) {
        self.0[status as usize] += n;
    }

    /// Number of tasks.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl std::ops::AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.0.iter_mut().zip(other.0).for_each(|(n, more)| *n += more);
    }
}

impl<'a> std::iter::Sum<&'a Counts> for Counts {
    fn sum<I: Iterator<Item = &'a Counts>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, counts| {
            sum += counts;
            sum
        })
    }
}

/// Number of tasks and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneCounts {
    /// The package.
    pub code: CodeId,
    /// The cluster they go to.
    pub cluster: String,
    /// By status.
    pub counts: Counts,
}

/// The tasks of one package, in whichever cluster they are.
pub fn counts_of(lanes: &[LaneCounts], code: CodeId) -> Counts {
    lanes.iter().filter(|lane| lane.code == code).map(|lane| &lane.counts).sum()
}

/// A set of statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses(u8);

impl Statuses {
    /// Every status.
    pub const ALL: Statuses = Statuses(0xff);
    /// No status.
    pub const NONE: Statuses = Statuses(0);

    /// The set and `status`.
    #[must_use]
    pub fn with(self, status: Status) -> Self {
        Self(self.0 | 1 << status as u8)
    }

    /// Whether `status` is in the set.
    pub fn contains(self, status: Status) -> bool {
        self.0 & 1 << status as u8 != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Status> for Statuses {
    fn from_iter<T: IntoIterator<Item = Status>>(statuses: T) -> Self {
        statuses.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Which tasks to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskQuery {
    /// Of this project only.
    pub project: ProjectId,
    /// Of this package only.
    pub code: Option<CodeId>,
    /// With one of these statuses.
    pub statuses: Statuses,
    /// With this label.
    pub label: Option<String>,
    /// For this cluster.
    pub cluster: Option<String>,
    /// Made by this schedule.
    pub schedule: Option<ScheduleId>,
    /// Queued by the worker of this task.
    pub parent: Option<TaskId>,
    /// Created at or after.
    pub from: Option<Timestamp>,
    /// Created at or before.
    pub to: Option<Timestamp>,
    /// Older than this one: the cursor of a page.
    pub before: Option<Seq>,
    /// Rows to leave out.
    pub skip: usize,
    /// Most rows to return.
    pub limit: usize,
}

impl TaskQuery {
    /// Every task of `project`, the newest `limit` of them.
    pub fn of(project: ProjectId, limit: usize) -> Self {
        Self {
            project,
            code: None,
            statuses: Statuses::ALL,
            label: None,
            cluster: None,
            schedule: None,
            parent: None,
            from: None,
            to: None,
            before: None,
            skip: 0,
            limit,
        }
    }
}

/// A log, or the part of it that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct LogPart {
    /// The attempt it is of.
    pub attempt: u32,
    /// Whether the attempt has ended, so that nothing will be added.
    pub is_whole: bool,
    /// The log: framed bytes or where they are, once it is whole; else the chunks so far after the one asked for.
    pub log: LogBody,
}

/// Where the bytes of a log are.
#[derive(Clone, Debug, PartialEq)]
pub enum LogBody {
    /// Chunks of an attempt that is running.
    Live(Vec<LogChunk>),
    /// The whole log of an attempt that has ended; none if it wrote nothing.
    Whole(Option<Stored>),
}

/// A firing of a schedule, decided, to be written.
#[derive(Clone, Debug)]
pub struct Firing {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The instant it is for: the condition of the write.
    pub due_at: Timestamp,
    /// The task it queues; none where its package is gone and the schedule ends.
    pub task: Option<NewTask>,
    /// The schedule's state afterwards.
    pub state: ScheduleState,
}

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Ended tasks, after the day they were created.
    pub tasks: Duration,
    /// Runner sessions that are over.
    pub runners: Duration,
    /// Keys of [`Store::enqueue_once`](crate::Store::enqueue_once).
    pub keys: Duration,
    /// Sums by the minute.
    pub usage_minutes: Duration,
    /// Sums by the day.
    pub usage_days: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self { tasks: DAY * 30, runners: DAY, keys: DAY, usage_minutes: DAY * 30, usage_days: DAY * 400 }
    }
}

/// What pruning left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Tasks dropped.
    pub tasks: u64,
    /// The partitions that are kept, ascending. Blobs of any other partition before today belong to no task.
    pub kept: Vec<Partition>,
}

/// The part of the store that a task's rows are in: the day of its creation, in days since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub i64);

impl Partition {
    /// The partition of `at`.
    pub fn at(at: Timestamp) -> Self {
        Self(at.as_millis().div_euclid(86_400_000))
    }

    /// The partition of the task.
    pub fn of(task: TaskId) -> Self {
        Self::at(task.seq().created_at())
    }

    /// The first `Seq` of the partition.
    pub fn first(self) -> Seq {
        Seq::at(Timestamp::from_millis(self.0 * 86_400_000))
    }

    /// The partition after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
