//! What may happen in a sequence.

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Exit code 0.
    Succeeds,
    /// Exit code 1.
    Fails,
    /// It ran too long.
    TimesOut,
    /// It was ended on request.
    Dies,
    /// Out of memory.
    OutOfMemory,
    /// It could not be started.
    NotStarted,
}

/// A task to queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStep {
    /// Which package.
    pub code: u8,
    /// Which cluster.
    pub cluster: u8,
    /// 0, 1 or 2.
    pub priority: u8,
    /// Time until it may run; negative: overdue.
    pub delay_s: i16,
    /// Retries after a failure, each a minute later for odd numbers.
    pub retries: u8,
    /// Which label, schedule or parent it has; 0: none.
    pub label: u8,
    /// Bytes of its payload.
    pub payload_bytes: u16,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The clock moves; also backwards.
    Wait(i32),
    /// Days pass.
    WaitDays(u8),
    /// A package is uploaded: project, name, limit (0: none, else one less).
    Upload(u8, u8, u8),
    /// A project demands isolation: project, level.
    Demand(u8, u8),
    /// A package is paused or resumed.
    Pause(u8, bool),
    /// A package is deleted.
    DeleteCode(u8),
    /// A token is made, used or revoked.
    Token(u8),
    /// A cluster is created, changed or deleted.
    Cluster(u8),
    /// A secret is asked for, sometimes after it was replaced.
    Secret(u8),
    /// Tasks are queued.
    Enqueue(Vec<TaskStep>),
    /// Tasks are queued under a key.
    EnqueueOnce(u8, Vec<TaskStep>),
    /// Tasks whose time has come are promoted.
    Promote,
    /// A runner asks for tasks: runner, cluster, how many.
    Claim(u8, u8, u8),
    /// Attempts end: which, how; whether with a log and a result; also ones that are over.
    Finish(Vec<(u8, Ending, bool)>),
    /// An attempt is given a verdict that the platform lost its runner.
    FinishLost(u8),
    /// Output of an attempt: which, first number, how many chunks.
    Append(u8, u8, u8),
    /// Progress: which task, what.
    Progress(u8, Option<u8>, bool),
    /// Tasks are cancelled.
    Cancel(Vec<u8>),
    /// Every task ends: what waits is cancelled, what runs is reported.
    Settle,
    /// A runner registers: instance, cluster, level of isolation.
    Register(u8, u8, u8),
    /// A runner says it is there and holds every attempt from this one on.
    Heartbeat(u8, u8),
    /// A runner gives back: which runner, which attempt, whether it leaves.
    Release(u8, u8, bool),
    /// Silent runners are looked for.
    Rescue,
    /// A runner is asked to drain, or not to.
    Drain(u8, bool),
    /// A schedule is made: package, distance in minutes (0: none), runs; and the limit of the project.
    Schedule(u8, u8, u8, u8),
    /// A schedule is replaced; with an outdated copy if told so.
    Replace(u8, bool),
    /// Due schedules fire; each twice if told so.
    Fire(bool),
    /// What is older than so many days is dropped.
    Prune(u8),
    /// The database is closed and opened again.
    Reopen,
}
