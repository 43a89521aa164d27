//! Sums of what ended.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_model::exit::Usage;
use windlass_model::id::{CodeId, ScheduleId};
use windlass_model::task::{Status, Task};
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, UsageBy, day, minute};

use crate::types::{Counts, Retention};
use crate::usage::{Rollup, UsageOf};

/// Every sum that is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    minutes: BTreeMap<(CodeId, i64), Rollup>,
    days: BTreeMap<(CodeId, i64), ComputeTime>,
    schedules: BTreeMap<(CodeId, i64, ScheduleId), ComputeTime>,
}

impl Sums {
    pub(super) fn task_ended(&mut self, code: CodeId, status: Status, now: Timestamp) {
        self.minutes.entry((code, minute(now))).or_default().task(status);
    }

    /// The attempt that `task` is in the midst of ended.
    pub(super) fn attempt_ended(&mut self, task: &Task, usage: Option<Usage>, now: Timestamp) {
        let code = task.new.code;
        let waited = task.state.started_at.map_or(Duration::ZERO, |at| at.since(task.state.run_at));
        self.minutes.entry((code, minute(now))).or_default().attempt(waited, usage);
        let used = ComputeTime::of(usage);
        self.days.entry((code, day(now))).or_default().add(&used);
        if let Some(schedule) = task.new.schedule {
            self.schedules.entry((code, day(now), schedule)).or_default().add(&used);
        }
    }

    pub(super) fn ended_between(&self, code: CodeId, from: Timestamp, to: Timestamp) -> Counts {
        self.minutes(|of| of == code, from, to).iter().fold(Rollup::default(), plus).ended
    }

    pub(super) fn minutes(
        &self,
        is_wanted: impl Fn(CodeId) -> bool,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<(Timestamp, Rollup)> {
        let mut sums: BTreeMap<i64, Rollup> = BTreeMap::new();
        for (&(code, at), rollup) in &self.minutes {
            if is_wanted(code) && (minute(from)..=minute(to)).contains(&at) {
                sums.entry(at).or_default().add(rollup);
            }
        }
        sums.into_iter().map(|(at, rollup)| (Timestamp::from_millis(at * 60_000), rollup)).collect()
    }

    pub(super) fn usage(
        &self,
        is_wanted: impl Fn(CodeId) -> bool,
        from: Timestamp,
        to: Timestamp,
        by: UsageBy,
    ) -> Vec<(UsageOf, ComputeTime)> {
        let by_day = self.days.iter().map(|(&(code, at), used)| match by {
            UsageBy::Day => (code, at, UsageOf::Day(at), used),
            _ => (code, at, UsageOf::Code(code), used),
        });
        let by_schedule = self
            .schedules
            .iter()
            .map(|(&(code, at, schedule), used)| (code, at, UsageOf::Schedule(code, schedule), used));
        let mut sums: BTreeMap<UsageOf, ComputeTime> = BTreeMap::new();
        let mut add = |(code, at, of, used): (CodeId, i64, UsageOf, &ComputeTime)| {
            if is_wanted(code) && (day(from)..=day(to)).contains(&at) {
                sums.entry(of).or_default().add(used);
            }
        };
        match by {
            UsageBy::Schedule => by_schedule.for_each(&mut add),
            UsageBy::Code | UsageBy::Day => by_day.for_each(&mut add),
        }
        sums.into_iter().collect()
    }

    pub(super) fn prune(&mut self, retention: Retention, now: Timestamp) {
        let oldest = day(now - retention.usage_days);
        self.minutes.retain(|(_, at), _| *at >= minute(now - retention.usage_minutes));
        self.days.retain(|(_, at), _| *at >= oldest);
        self.schedules.retain(|(_, at, _), _| *at >= oldest);
    }
}

fn plus(mut sum: Rollup, (_, rollup): &(Timestamp, Rollup)) -> Rollup {
    sum.add(rollup);
    sum
}
