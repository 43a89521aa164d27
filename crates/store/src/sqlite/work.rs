//! What an operation works with inside a group: statements, the writer's memory, and what is to be told after commit.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, params};
use windlass_model::exit::Usage;
use windlass_model::id::{Seq, TaskId};
use windlass_model::isolation::Level;
use windlass_model::lease::Fence;
use windlass_model::runner::Held;
use windlass_model::task::{Status, TaskState};
use windlass_model::time::Timestamp;

use super::counters::Deltas;
use super::partition::{self, Tables};
use super::rows::{Run, int, status_number};
use super::state::{Shared, State};
use crate::error::StoreError;
use crate::signals::Signals;
use crate::types::Partition;
use crate::usage::Deltas as UsageDeltas;

/// Why an operation did not go through.
#[derive(Debug)]
pub(super) enum Stop {
    /// It wrote nothing and this is its answer; the rest of its group goes on.
    Refused(StoreError),
    /// Its group must be rolled back.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Stop::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Refused(error)
    }
}

/// How much a commit must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// The death of the process: no sync.
    Process,
    /// A power failure.
    Power,
}

/// What a group did that others must learn of after its commit.
#[derive(Debug, Default)]
pub(super) struct Effects {
    counts: Deltas,
    usage: UsageDeltas,
    running: Vec<(i64, Option<Arc<Run>>)>,
    view_changed: bool,
    ready: Vec<(Arc<str>, Level)>,
    tasks: Vec<TaskId>,
    cancels: bool,
    deadlines: bool,
}

impl Effects {
    /// Shows readers the state after the commit, then wakes who waits for it.
    pub(super) fn publish(self, state: &State, shared: &Shared, signals: &Signals) {
        if self.view_changed {
            *shared.view.write() = Arc::new(state.view.clone());
        }
        if !self.counts.is_empty() {
            let mut counters = shared.counters.write();
            for (key, n) in self.counts {
                counters.add(key, n);
            }
        }
        if !self.running.is_empty() {
            let mut running = shared.running.write();
            for (seq, run) in self.running {
                match run {
                    Some(run) => running.insert(seq, run),
                    None => running.remove(&seq),
                };
            }
        }
        shared.set_newest(state.newest);
        self.tasks.into_iter().for_each(|task| signals.task_changed(task));
        self.ready.iter().for_each(|(cluster, needs)| signals.ready(cluster, *needs));
        if self.cancels {
            signals.cancel_requested();
        }
        if self.deadlines {
            signals.deadline_moved();
        }
    }
}

/// One group at work: a transaction that begins with its first write.
pub(super) struct Work<'a> {
    conn: &'a Connection,
    pub(super) state: &'a mut State,
    pub(super) effects: Effects,
    durability: Durability,
    /// What the connection is set to.
    level: &'a mut Option<Durability>,
    has_begun: bool,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        state: &'a mut State,
        durability: Durability,
        level: &'a mut Option<Durability>,
    ) -> Self {
        Self { conn, state, effects: Effects::default(), durability, level, has_begun: false }
    }

    /// A statement that reads.
    pub(super) fn read(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.conn.prepare_cached(sql)
    }

    /// A statement that writes: the transaction begins before the first one.
    pub(super) fn write(&mut self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.begin()?;
        self.conn.prepare_cached(sql)
    }

    /// Statements without arguments that write.
    pub(super) fn batch(&mut self, sql: &str) -> rusqlite::Result<()> {
        self.begin()?;
        self.conn.execute_batch(sql)
    }

    /// Where reads can go that the helpers of readers do.
    pub(super) fn conn(&self) -> &'a Connection {
        self.conn
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if !self.has_begun {
            if *self.level != Some(self.durability) {
                // Between transactions only: SQLite refuses it inside of one.
                self.conn.execute_batch(match self.durability {
                    Durability::Process => "PRAGMA synchronous=NORMAL",
                    Durability::Power => "PRAGMA synchronous=FULL",
                })?;
                *self.level = Some(self.durability);
            }
            self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.has_begun = true;
        }
        Ok(())
    }

    /// Ends the group. Afterwards everything it did is in the database.
    pub(super) fn commit(mut self) -> rusqlite::Result<Effects> {
        if !self.effects.counts.is_empty() {
            self.effects.counts.retain(|_, n| *n != 0);
            let mut add = self.write(include_str!("sql/add_counter.sql"))?;
            for (&(lane, status), n) in &self.effects.counts {
                add.execute(params![lane, status, n])?;
            }
        }
        if !self.effects.usage.is_empty() {
            self.begin()?;
            self.effects.usage.write(self.conn)?;
        }
        if self.has_begun {
            self.conn.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(self.effects)
    }

    /// The tables of `partition`, if they are there.
    pub(super) fn tables(&self, partition: Partition) -> Option<Arc<Tables>> {
        self.state.view.partitions.get(&partition).cloned()
    }

    /// The tables of `partition`, made if they are not there.
    pub(super) fn tables_or_create(&mut self, partition: Partition) -> rusqlite::Result<Arc<Tables>> {
        if let Some(tables) = self.tables(partition) {
            return Ok(tables);
        }
        self.begin()?;
        let tables = partition::create(self.conn, partition)?;
        self.state.view.partitions.insert(partition, tables.clone());
        self.effects.view_changed = true;
        Ok(tables)
    }

    /// Packages, lanes or partitions were changed in memory.
    pub(super) fn view_changed(&mut self) {
        self.effects.view_changed = true;
    }

    /// The lane of the package for the cluster, made if it is not there.
    pub(super) fn lane_or_create(&mut self, package: usize, cluster: &str) -> rusqlite::Result<usize> {
        if let Some(lane) = self.state.view.catalog.lane_for(package, cluster) {
            return Ok(lane);
        }
        let number = self.state.view.catalog.next_lane();
        self.write("INSERT INTO lane(id, code, cluster) VALUES (?1, ?2, ?3)")?
            .execute(params![number, package, cluster])?;
        let lane = self.state.view.catalog.add_lane(package, cluster);
        let cluster = self.state.view.catalog.lanes()[lane].cluster.clone();
        self.state.windows.put_lane(lane, package, &cluster, true);
        self.effects.view_changed = true;
        Ok(lane)
    }

    /// A task of the lane has another status from `now` on.
    pub(super) fn count(
        &mut self,
        lane: usize,
        before: Option<Status>,
        after: Option<Status>,
        now: Timestamp,
    ) {
        for (status, n) in [(before, -1), (after, 1)] {
            let Some(status) = status else { continue };
            self.count_many(lane, status, n);
            if status == Status::Queued {
                let package = self.state.view.catalog.lanes()[lane].package;
                self.effects.usage.queued(package, n, now);
            }
        }
    }

    /// `n` more tasks of the lane have `status`.
    pub(super) fn count_many(&mut self, lane: usize, status: Status, n: i64) {
        let key = (lane, status_number(status));
        *self.effects.counts.entry(key).or_default() += n;
        self.state.counters.add(key, n);
    }

    /// A task of the package ended.
    pub(super) fn task_ended(&mut self, package: usize, status: Status, now: Timestamp) {
        self.effects.usage.task_ended(package, status, now);
    }

    /// An attempt, of the package, ended.
    pub(super) fn attempt_ended(&mut self, package: usize, run: &Run, usage: Option<Usage>, now: Timestamp) {
        self.effects.usage.attempt_ended(package, run, usage, now);
    }

    /// The task is running like this, in memory.
    pub(super) fn keep_running(&mut self, run: Run) {
        let (seq, run) = (run.task.seq().0, Arc::new(run));
        self.state.running.insert(seq, run.clone());
        self.effects.running.push((seq, Some(run)));
    }

    /// The task is not running any more, in memory. `None`: it was not.
    pub(super) fn forget_running(&mut self, seq: Seq) -> Option<Arc<Run>> {
        let run = self.state.running.remove(&seq.0)?;
        self.effects.running.push((seq.0, None));
        Some(run)
    }

    /// The attempt, if it is the current one of its task.
    pub(super) fn current(&self, held: Held) -> Option<Arc<Run>> {
        self.state.running.get(&held.task.seq().0).filter(|run| run.is(held)).cloned()
    }

    /// A fence that no attempt had and none will have.
    pub(super) fn mint_fence(&mut self, now: Timestamp) -> rusqlite::Result<Fence> {
        const STEP: Duration = Duration::from_secs(600);
        let fence = self.state.fences.next(now).0;
        if fence >= self.state.fence_mark {
            let mark = fence + Seq::at(Timestamp::default() + STEP).0;
            self.write("UPDATE fence SET mark = ?1")?.execute([mark])?;
            self.state.fence_mark = mark;
        }
        Ok(Fence(fence))
    }

    /// An id with this `seq` is in the store.
    pub(super) fn note_seq(&mut self, seq: Seq) {
        self.state.newest = self.state.newest.max(seq);
    }

    /// Writes how a queued task stands that is not as it was when it was first queued.
    pub(super) fn put_waiting(&mut self, seq: Seq, state: &TaskState) -> rusqlite::Result<()> {
        self.write(include_str!("sql/put_waiting.sql"))?.execute(params![
            seq.0,
            state.run_at.as_millis(),
            state.attempts,
            state.retries,
            state.losses,
            state.started_at.map(Timestamp::as_millis),
            state.updated_at.as_millis(),
            state.percent,
            state.msg,
            state.runner.map(|id| super::rows::IdBytes(id.0)),
            int(state.log_size_bytes),
        ])?;
        Ok(())
    }

    /// Tasks of `cluster` became claimable that need this isolation.
    pub(super) fn signal_ready(&mut self, cluster: &Arc<str>, needs: Level) {
        let ready = &mut self.effects.ready;
        if !ready.iter().any(|(known, level)| known == cluster && *level == needs) {
            ready.push((cluster.clone(), needs));
        }
    }

    /// Tasks of the package may have become claimable.
    pub(super) fn signal_package(&mut self, package: usize) {
        let clusters: Vec<Arc<str>> = self.state.windows.claimable_in(package).cloned().collect();
        let needs = self.state.windows.needs(package);
        clusters.iter().for_each(|cluster| self.signal_ready(cluster, needs));
    }

    /// The task or its log changed.
    pub(super) fn signal_task(&mut self, task: TaskId) {
        self.effects.tasks.push(task);
    }

    /// A running task was asked to be cancelled.
    pub(super) fn signal_cancel(&mut self) {
        self.effects.cancels = true;
    }

    /// Something is due earlier than was known.
    pub(super) fn signal_deadline(&mut self) {
        self.effects.deadlines = true;
    }
}
