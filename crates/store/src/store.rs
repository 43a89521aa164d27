//! `trait Store`: what is kept, in the order of a task's life.
//!
//! Rules of the seam: batch in, batch out; `now` and new ids are arguments; no transaction crosses it; conditional
//! writes name their condition. Whatever a method writes is durable when it returns `Ok`, unless it says otherwise.
//! A method that returned [`StoreError::Unavailable`] or [`StoreError::Full`] changed nothing, unless it says
//! otherwise. Each batch is written as a whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use windlass_model::cluster::Cluster;
use windlass_model::code::{Code, Revision, Upload};
use windlass_model::id::{ClusterId, CodeId, ProjectId, RunnerId, ScheduleId, Seq, TaskId, TokenId};
use windlass_model::isolation::Level;
use windlass_model::project::{Project, TokenRecord};
use windlass_model::runner::{AttemptLog, Held, RunnerRecord};
use windlass_model::schedule::Schedule;
use windlass_model::secret::Sealed;
use windlass_model::task::{Attempt, NewTask, Stored, Task};
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain, UsageBy};
use windlass_model::wire::Page;

use crate::error::StoreError;
use crate::signals::Signals;
use crate::types::{
    Cancelled, Claimed, Claiming, Counts, Finish, Finished, Firing, LaneCounts, Lead, Leased, LogPart, Once,
    OnceKey, Pruned, Pulse, Rescued, Retention, TaskQuery,
};
use crate::usage::{Rollup, UsageOf};

/// What a store answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The seam between Windlass and its databases.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The signals of this store. A signal is sent after the commit that it tells of.
    fn signals(&self) -> &Arc<Signals>;

    /// The highest [`Seq`] of any id in the store: what is minted from now on must be above it.
    async fn newest_seq(&self) -> Result<Seq>;

    /// Which of the processes this is that have the store open at the same time: no two mint the same ids. `None`: there
    /// can be no other.
    fn node(&self) -> Option<u8> {
        None
    }

    /// Leads for as long as `lease` from now, if this server leads already or nobody does; and is there for the others at
    /// `url`, if there is one. Returns who leads and who else is there.
    ///
    /// The duties of the leader are [`Store::rescue`], [`Store::fire_if_due`] and [`Store::prune`]: by another server, or
    /// by one that leads no more when it comes to write, they change nothing, whatever it believes and however late.
    async fn lead(&self, _lease: Duration, _url: Option<&str>) -> Result<Lead> {
        Ok(Lead::alone())
    }

    /// The secret kept under `name`; the first call keeps `fresh` and returns it.
    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]>;

    /// Keeps `value` under `name` from now on, whatever was there.
    async fn replace_secret(&self, name: &str, value: [u8; 32]) -> Result<()>;

    // Projects and tokens.

    /// Keeps a new project.
    async fn create_project(&self, project: Project) -> Result<()>;

    /// Every project, oldest first.
    async fn projects(&self) -> Result<Vec<Project>>;

    /// Sets the weakest isolation that the project's tasks may run in. After `Ok(true)` no claim hands out any of them to
    /// a runner that registered with less; what runs goes on. `Ok(false)`: there is no such project.
    async fn set_min_isolation(&self, project: ProjectId, level: Level) -> Result<bool>;

    /// Sets or takes away the project's login to a registry of images. `Ok(false)`: there is no such project.
    async fn set_registry(&self, project: ProjectId, registry: &str, login: Option<Sealed>) -> Result<bool>;

    /// Keeps a new token.
    async fn create_token(&self, token: TokenRecord) -> Result<()>;

    /// Every token that was not revoked, newest first, also expired ones.
    async fn tokens(&self) -> Result<Vec<TokenRecord>>;

    /// Forgets the token. `false`: there was none.
    async fn revoke_token(&self, id: TokenId) -> Result<bool>;

    /// Notes when tokens were last used. Ids that are not there are ignored. Need not survive a crash.
    async fn note_tokens_used(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<()>;

    // Clusters of runners. Few.

    /// Keeps a new cluster. `false`: there is one with this name.
    async fn create_cluster(&self, cluster: Cluster) -> Result<bool>;

    /// Every cluster that was created, oldest first.
    async fn clusters(&self) -> Result<Vec<Cluster>>;

    /// Replaces what is kept of the cluster with this id, whose name stays as it is. `false`: there is none.
    async fn change_cluster(&self, cluster: Cluster) -> Result<bool>;

    /// Forgets the cluster. Tasks and runners that name it stay as they are. `false`: there was none.
    async fn delete_cluster(&self, id: ClusterId) -> Result<bool>;

    // Codes. Few and asked for with every request: answered from memory.

    /// Makes a new package or a new revision of the one with the same name in the project, by
    /// [`revise`](windlass_model::code::revise). Returns the package afterwards.
    ///
    /// # Errors
    /// [`StoreError::NothingToRun`] for a first upload with neither a zip nor an image.
    async fn upload(&self, upload: Upload) -> Result<Code>;

    /// The package, also a deleted one.
    async fn code(&self, id: CodeId) -> Result<Option<Code>>;

    /// The package with this name that is not deleted. Shared, as every request that queues asks for it.
    async fn code_named(&self, project: ProjectId, name: &str) -> Result<Option<Arc<Code>>>;

    /// Packages of the project that are not deleted, newest change first.
    async fn codes(&self, project: ProjectId, page: Page) -> Result<Vec<Code>>;

    /// One revision of the package.
    async fn revision(&self, code: CodeId, rev: u32) -> Result<Option<Revision>>;

    /// Revisions of the package, first first.
    async fn revisions(&self, code: CodeId, page: Page) -> Result<Vec<Revision>>;

    /// Keeps the package's tasks from starting, or lets them again. `Some(true)`: that changed something; `None`:
    /// there is no such package.
    async fn set_paused(&self, code: CodeId, paused: bool, now: Timestamp) -> Result<Option<bool>>;

    /// Deletes the package: its queued tasks are `cancelled` with a message that says why, its schedules end, running
    /// tasks go on. `false`: there is none, or it is deleted already.
    ///
    /// May be done in several transactions; a call that failed may have cancelled some tasks, and is safe to repeat.
    async fn delete_code(&self, code: CodeId, now: Timestamp) -> Result<bool>;

    // A task's life.

    /// Queues the tasks, all or none. They are claimable, in order of priority and age, from their `run_at` on.
    ///
    /// Every task's package and revision must exist. Repeating a call that succeeded is an error of the caller: ids
    /// are unique.
    async fn enqueue(&self, tasks: Vec<NewTask>) -> Result<()>;

    /// Queues the tasks as [`Store::enqueue`] does, unless a call with the same key was accepted for the project
    /// before: then nothing is queued, and the answer says what it was. Keys are forgotten by [`Store::prune`].
    async fn enqueue_once(&self, project: ProjectId, key: &OnceKey, tasks: Vec<NewTask>) -> Result<Once>;

    /// Makes delayed tasks that are due at `now` claimable. Returns when the next one falls due.
    ///
    /// A task keeps its place by age: it is claimed before younger ones of its priority.
    async fn promote(&self, now: Timestamp) -> Result<Option<Timestamp>>;

    /// Hands out up to `want` claimable tasks of the cluster: highest priority first, oldest first among equals; none
    /// of a paused package, none of a project that demands more isolation than the runner registered with, and never
    /// more of a package at once than its `max_concurrency`. Tasks that are held back by this hold back no others.
    ///
    /// After `Ok`, each is `running`, held by the runner under a new fence. No task is in two answers. An empty answer
    /// means that nothing is claimable, not that nothing is queued. The claim need not survive a power failure: its
    /// task is then queued as before. A call that failed may still have claimed; what it claimed is rescued.
    ///
    /// # Errors
    /// [`StoreError::SessionOver`] if the runner's session is unknown or over.
    async fn claim(&self, claiming: Claiming, now: Timestamp) -> Result<Vec<Claimed>>;

    /// What must be known to conclude the attempts, in the order asked for; `None` where the lease is lost.
    async fn leased(&self, attempts: &[Held]) -> Result<Vec<Option<Leased>>>;

    /// Adds chunks to the logs of running attempts. A chunk whose number is already there is ignored. Returns the
    /// attempts that are not the current ones of their tasks; their chunks are dropped. Chunks survive the death of
    /// the process, not a power failure.
    async fn append_logs(&self, logs: Vec<AttemptLog>) -> Result<Vec<Held>>;

    /// Sets percent and message of a task that has not ended, each if given. `false`: it has, or there is none.
    async fn progress(
        &self,
        task: TaskId,
        percent: Option<u8>,
        msg: Option<String>,
        now: Timestamp,
    ) -> Result<bool>;

    /// Writes the ends of attempts, each only if the attempt is still the current one of its task; answers in order.
    ///
    /// After [`Finished::Now`], the attempt is in [`Store::attempts`] with its log, and the task is final or queued
    /// again as the verdict says. A verdict to run again is written as `cancelled` if a cancel was accepted in the
    /// meantime. Repeating a call that succeeded answers [`Finished::LeaseLost`] and changes nothing.
    async fn finish_if_leased(&self, finishes: Vec<Finish>, now: Timestamp) -> Result<Vec<Finished>>;

    /// Cancels the tasks, each unless it has ended; answers in order.
    async fn cancel_unless_final(&self, tasks: &[TaskId], now: Timestamp) -> Result<Vec<Cancelled>>;

    // Runners and their leases.

    /// Keeps a runner session with a lease until `lease_until`. Sessions of the same `instance` are over from now on,
    /// and what they held is lost as [`Store::rescue`] has it.
    async fn register_runner(&self, runner: RunnerRecord, lease_until: Timestamp) -> Result<()>;

    /// Extends the lease of everything the runner holds to `lease_until`, and compares what it says it holds to what
    /// is known. An attempt that the store has given to it and that is not in `holds` is left alone: the answer that
    /// told of it may still be on its way.
    ///
    /// # Errors
    /// [`StoreError::SessionOver`] if the session is unknown or over.
    async fn heartbeat(
        &self,
        runner: RunnerId,
        holds: &[Held],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Pulse>;

    /// Takes back attempts that a runner returns unfinished: their tasks are queued again (or `cancelled`, where that
    /// was asked for) without a loss being counted. With `leave` the session is over, and everything else that it
    /// held is returned, too. Attempts that are not current are ignored.
    async fn release(&self, runner: RunnerId, holds: &[Held], leave: bool, now: Timestamp) -> Result<()>;

    /// Ends the sessions whose lease ran out before `now`. Each of their attempts becomes an attempt with the outcome
    /// `Lost`, keeps the log it has, and its task is queued again, `killed` or `cancelled` by
    /// [`conclude`](windlass_model::lifecycle::conclude).
    ///
    /// # Errors
    /// [`StoreError::NotLeading`]: see [`Store::lead`].
    async fn rescue(&self, now: Timestamp) -> Result<Rescued>;

    /// Asks the runner to take no more tasks, or to take them again. `false`: there is no such live session.
    async fn set_draining(&self, runner: RunnerId, draining: bool) -> Result<bool>;

    /// Every session that is kept with the number of tasks it holds, newest first.
    async fn runners(&self) -> Result<Vec<(RunnerRecord, u32)>>;

    // Schedules.

    /// Keeps new schedules, all or none.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`] if the project would have more than `limit` schedules that have not ended.
    async fn create_schedules(&self, schedules: Vec<Schedule>, limit: usize) -> Result<()>;

    /// The schedule.
    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>>;

    /// Schedules of the project, newest first.
    async fn schedules(&self, project: ProjectId, page: Page) -> Result<Vec<Schedule>>;

    /// Replaces a schedule if it is still as `before`; `false`: it has changed, look again.
    async fn replace_schedule_if_unchanged(&self, before: &Schedule, after: Schedule) -> Result<bool>;

    /// Schedules due at `now`, the longest overdue first, at most `limit`; and when the next one after them is due.
    async fn due_schedules(&self, now: Timestamp, limit: usize)
    -> Result<(Vec<Schedule>, Option<Timestamp>)>;

    /// Writes firings, each only if its schedule is still due at exactly that instant, with its task in the same
    /// transaction; answers in order whether it was written. So a firing happens once, whoever else tries.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`]: see [`Store::lead`].
    async fn fire_if_due(&self, firings: Vec<Firing>, now: Timestamp) -> Result<Vec<bool>>;

    // Reading.

    /// The task.
    async fn task(&self, id: TaskId) -> Result<Option<Task>>;

    /// Tasks, newest created first.
    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<Task>>;

    /// Ended attempts of the task, first first.
    async fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>>;

    /// The log of one attempt, the newest if none is named; of a running one the chunks after number `after`. `None`:
    /// no such task or attempt, or none has started.
    async fn log(&self, task: TaskId, attempt: Option<u32>, after: u32) -> Result<Option<LogPart>>;

    /// What the task's worker left as its result.
    async fn result(&self, task: TaskId) -> Result<Option<Stored>>;

    /// Tasks by package, cluster and status, of one project or of all. Exact.
    async fn counts(&self, project: Option<ProjectId>) -> Result<Vec<LaneCounts>>;

    /// Tasks of the package that ended from the minute of `from` to the minute of `to`, by final status.
    async fn ended_between(&self, code: CodeId, from: Timestamp, to: Timestamp) -> Result<Counts>;

    /// What happened in the steps from that of `from` to that of `to`, by package, of one or of all of the project, each
    /// with when its step begins; ascending. Steps in which nothing happened are left out.
    async fn rollups(
        &self,
        project: ProjectId,
        code: Option<CodeId>,
        from: Timestamp,
        to: Timestamp,
        grain: Grain,
    ) -> Result<Vec<(CodeId, Timestamp, Rollup)>>;

    /// The newest task of each package, in their order; `None` where none is kept.
    ///
    /// This one asks package by package; a database that can do better does it in one reading.
    async fn newest_of(&self, project: ProjectId, codes: &[CodeId]) -> Result<Vec<Option<Task>>> {
        let mut newest = Vec::with_capacity(codes.len());
        for &code in codes {
            let of_code = TaskQuery { code: Some(code), ..TaskQuery::of(project, 1) };
            newest.push(self.tasks(&of_code).await?.pop());
        }
        Ok(newest)
    }

    /// What attempts of the project used that ended on the days from that of `from` to that of `to`, in UTC; ascending.
    /// Exact, and independent of how long tasks are kept. A sum by schedule is of the tasks that it made.
    async fn usage(
        &self,
        project: ProjectId,
        from: Timestamp,
        to: Timestamp,
        by: UsageBy,
    ) -> Result<Vec<(UsageOf, ComputeTime)>>;

    /// How many claimable tasks of its cluster would be claimed before this one by any runner that may take it, counted
    /// up to `limit`: those whose projects demand more isolation are left out. `None` unless the task itself is claimable.
    async fn ahead_of(&self, task: TaskId, limit: usize) -> Result<Option<usize>>;

    /// How many tasks of the cluster could be claimed now if there were slots, counted up to `limit`: none of a paused
    /// package, and of one with a `max_concurrency` no more than it allows beside those that run.
    async fn claimable(&self, cluster: &str, limit: usize) -> Result<usize>;

    /// When the oldest claimable task was created, of one project or of all.
    async fn oldest_ready(&self, project: Option<ProjectId>) -> Result<Option<Timestamp>>;

    // Upkeep.

    /// Drops partitions that are older than the retention and hold no task that has not ended, runner sessions that have
    /// been over for longer, and sums of minutes and days before.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`]: see [`Store::lead`]. Days may have been dropped before.
    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned>;

    /// Whether the store can be written to right now: after a write that failed, not before there is room again.
    async fn check(&self) -> Result<()>;

    /// Writes everything that is still on its way, gives up the lead, then closes. Calls after it fail.
    async fn close(&self);
}
