//! Sums that outlive the tasks they are of: what ended and how the queue changed over time, what was used by the day.

use std::time::Duration;

use windlass_model::exit::Usage;
use windlass_model::id::{CodeId, ScheduleId};
use windlass_model::task::Status;
use windlass_model::usage::{ComputeTime, Histogram};

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
