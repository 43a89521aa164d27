//! What an operation works with: its transaction, what it adds to sums, and what is to be told after its commit.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use windlass_model::exit::Usage;
use windlass_model::id::{ScheduleId, TaskId};
use windlass_model::isolation::Level;
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain};

use super::fault::Stop;
use super::param::{Param, params};
use super::rows::{Lane, Run};
use super::state::State;
use super::tx::Tx;
use super::usage;
use crate::encoding::status_number;
use crate::signals::Signals;
use crate::usage::{Deltas, Rollup};

/// What a transaction did that others must learn of after its commit.
#[derive(Debug, Default)]
pub(super) struct Effects {
    ready: Vec<(String, Level)>,
    tasks: Vec<TaskId>,
    cancels: bool,
    deadlines: bool,
}

impl Effects {
    /// Wakes who waits for it.
    pub(super) fn publish(self, signals: &Signals) {
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

/// One transaction at work.
pub(super) struct Work<'a> {
    pub(super) state: &'a State,
    pub(super) tx: Tx,
    shard: i16,
    effects: Effects,
    counts: BTreeMap<(i32, i32, i16), i64>,
    usage: Deltas,
}

impl<'a> Work<'a> {
    /// `writer`: which of the process's writers this is, as no two add to the same rows.
    pub(super) fn new(state: &'a State, tx: Tx, writer: i16) -> Self {
        let shard = state.shard(writer);
        Self {
            state,
            tx,
            shard,
            effects: Effects::default(),
            counts: BTreeMap::new(),
            usage: Deltas::default(),
        }
    }

    pub(super) async fn query(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Row>, Stop> {
        self.tx.query(sql, params).await
    }

    pub(super) async fn query_opt(&mut self, sql: &str, params: Vec<Param>) -> Result<Option<Row>, Stop> {
        self.tx.query_opt(sql, params).await
    }

    /// A statement whose answer nobody needs.
    pub(super) fn later(&mut self, sql: &'static str, params: Vec<Param>) {
        self.tx.later(sql, params);
    }

    /// The same on the tables of a day.
    pub(super) fn later_on(&mut self, sql: &str, params: Vec<Param>) {
        self.tx.later(sql.to_owned(), params);
    }

    /// Ends the transaction. Afterwards everything it did is in the database; who waits is yet to be told.
    pub(super) async fn commit(mut self) -> Result<Effects, Stop> {
        self.counts.retain(|_, n| *n != 0);
        if !self.counts.is_empty() {
            // Sorted, as everything that several transactions write: they cannot wait for each other in a circle.
            let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for (&(code, cluster, status), &n) in &self.counts {
                columns.0.push(code);
                columns.1.push(cluster);
                columns.2.push(status);
                columns.3.push(n);
            }
            let (codes, clusters, statuses, ns) = columns;
            self.tx.later(
                include_str!("sql/add_counter.sql"),
                params![self.shard, codes, clusters, statuses, ns],
            );
        }
        usage::write(&self.usage, self.shard, &mut self.tx);
        self.tx.commit().await?;
        Ok(self.effects)
    }

    /// `n` more tasks of the lane have `status` from `now` on.
    pub(super) fn count(&mut self, lane: Lane, status: Status, n: i64, now: Timestamp) {
        self.count_kept(lane, status, n);
        if status == Status::Queued {
            self.usage.queued(lane.code as usize, n, now);
        }
    }

    /// `n` more tasks of the lane with `status` are kept.
    pub(super) fn count_kept(&mut self, lane: Lane, status: Status, n: i64) {
        *self.counts.entry((lane.code, lane.cluster, i16::from(status_number(status)))).or_default() += n;
    }

    /// More happened in a step of the package.
    pub(super) fn add_step(&mut self, grain: Grain, code: i32, step: i64, sum: &Rollup) {
        usage::add_step(&mut self.tx, self.shard, (grain.minutes() as i16, code, step), sum);
    }

    /// More was used on a day by attempts of the package, or, as a part of that, of tasks that a schedule made.
    pub(super) fn add_day(&mut self, code: i32, day: i64, schedule: Option<ScheduleId>, used: &ComputeTime) {
        usage::add_day(&mut self.tx, self.shard, (code, day, schedule), used);
    }

    /// A task of the package ended.
    pub(super) fn task_ended(&mut self, code: i32, status: Status, now: Timestamp) {
        self.usage.task_ended(code as usize, status, now);
    }

    /// An attempt of the package ended.
    pub(super) fn attempt_ended(&mut self, run: &Run, usage: Option<Usage>, now: Timestamp) {
        self.usage.attempt_ended(run.lane.code as usize, run, usage, now);
    }

    /// Tasks of `cluster` became claimable that need this isolation.
    pub(super) fn signal_ready(&mut self, cluster: &str, needs: Level) {
        if !self.effects.ready.iter().any(|(known, level)| known == cluster && *level == needs) {
            self.effects.ready.push((cluster.to_owned(), needs));
        }
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
