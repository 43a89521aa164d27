//! Sums that outlive the tasks they are of: what ended and how the queue changed over time, what was used by the day.

use std::collections::HashMap;
use std::time::Duration;

use windlass_model::exit::Usage;
use windlass_model::id::{CodeId, ScheduleId};
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Histogram, day, minute};

use crate::run::Run;
use crate::types::Counts;

/// What happened in a minute or a longer step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// Tasks, by the final status.
    pub ended: Counts,
    /// What attempts used.
    pub compute: ComputeTime,
    /// How long attempts ran, as far as that was reported.
    pub ran: Histogram,
    /// How long attempts were due before they started.
    pub waited: Histogram,
    /// By how much the number of queued tasks rose; below zero: it fell. With the number now, which is exact, the
    /// number at the end of any step before is the number now less what it rose by since.
    pub queued: i64,
}

impl Rollup {
    /// A task ended.
    pub fn task(&mut self, status: Status) {
        self.ended.add(status, 1);
    }

    /// An attempt ended that had waited for so long.
    pub fn attempt(&mut self, waited: Duration, usage: Option<Usage>) {
        self.compute.add(&ComputeTime::of(usage));
        self.waited.count(waited);
        if let Some(usage) = usage {
            self.ran.count(Duration::from_millis(usage.wall_ms));
        }
    }

    /// Adds what ended at another time or for another reason.
    pub fn add(&mut self, other: &Self) {
        self.ended += &other.ended;
        self.compute.add(&other.compute);
        self.ran.add(&other.ran);
        self.waited.add(&other.waited);
        self.queued += other.queued;
    }
}

/// What a sum is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsageOf {
    /// A package, which may be deleted.
    Code(CodeId),
    /// The tasks of a package that a schedule made.
    Schedule(CodeId, ScheduleId),
    /// A day, since the epoch.
    Day(i64),
}

/// What a group of writes adds; packages by their numbers in the database.
#[derive(Debug, Default)]
pub(crate) struct Deltas {
    pub(crate) minutes: HashMap<(usize, i64), Rollup>,
    pub(crate) schedules: HashMap<(usize, i64, ScheduleId), ComputeTime>,
}

impl Deltas {
    /// A task of the package ended.
    pub(crate) fn task_ended(&mut self, package: usize, status: Status, now: Timestamp) {
        self.minutes.entry((package, minute(now))).or_default().task(status);
    }

    /// The number of queued tasks of the package changed by so much.
    pub(crate) fn queued(&mut self, package: usize, by: i64, now: Timestamp) {
        self.minutes.entry((package, minute(now))).or_default().queued += by;
    }

    /// The attempt, of the package, ended.
    pub(crate) fn attempt_ended<L>(
        &mut self,
        package: usize,
        run: &Run<L>,
        usage: Option<Usage>,
        now: Timestamp,
    ) {
        let waited = run.state.started_at.map(|at| at.since(run.state.run_at)).unwrap_or_default();
        self.minutes.entry((package, minute(now))).or_default().attempt(waited, usage);
        if let Some(schedule) = run.schedule {
            let used = ComputeTime::of(usage);
            self.schedules.entry((package, day(now), schedule)).or_default().add(&used);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.minutes.is_empty()
    }
}
