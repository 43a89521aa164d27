//! Sums of what happened.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_model::exit::Usage;
use windlass_model::id::{CodeId, ScheduleId};
use windlass_model::task::{Status, Task};
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain, UsageBy, day};

use crate::types::{Counts, Retention};
use crate::usage::{Rollup, UsageOf};

/// Every sum that is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    rollups: BTreeMap<(Grain, CodeId, i64), Rollup>,
    days: BTreeMap<(CodeId, i64), ComputeTime>,
    schedules: BTreeMap<(CodeId, i64, ScheduleId), ComputeTime>,
}

impl Sums {
    pub(super) fn task_ended(&mut self, code: CodeId, status: Status, now: Timestamp) {
        self.each(code, now, |rollup| rollup.task(status));
    }

    /// The number of queued tasks of the package changed by so much.
    pub(super) fn queued(&mut self, code: CodeId, by: i64, now: Timestamp) {
        self.each(code, now, |rollup| rollup.queued += by);
    }

    fn each(&mut self, code: CodeId, now: Timestamp, add: impl Fn(&mut Rollup)) {
        for grain in Grain::ALL {
            add(self.rollups.entry((grain, code, grain.step(now))).or_default());
        }
    }

    /// The attempt that `task` is in the midst of ended.
    pub(super) fn attempt_ended(&mut self, task: &Task, usage: Option<Usage>, now: Timestamp) {
        let code = task.new.code;
        let waited = task.state.started_at.map_or(Duration::ZERO, |at| at.since(task.state.run_at));
        self.each(code, now, |rollup| rollup.attempt(waited, usage));
        let used = ComputeTime::of(usage);
        self.days.entry((code, day(now))).or_default().add(&used);
        if let Some(schedule) = task.new.schedule {
            self.schedules.entry((code, day(now), schedule)).or_default().add(&used);
        }
    }

    pub(super) fn put_step(&mut self, grain: Grain, code: CodeId, step: i64, rollup: Rollup) {
        self.rollups.insert((grain, code, step), rollup);
    }

    /// Of the package, or of one of its schedules.
    pub(super) fn put_day(
        &mut self,
        code: CodeId,
        day: i64,
        schedule: Option<ScheduleId>,
        used: ComputeTime,
    ) {
        match schedule {
            Some(schedule) => self.schedules.insert((code, day, schedule), used),
            None => self.days.insert((code, day), used),
        };
    }

    pub(super) fn ended_between(&self, code: CodeId, from: Timestamp, to: Timestamp) -> Counts {
        let minutes = self.rollups(|of| of == code, from, to, Grain::Minute);
        minutes.iter().map(|(_, _, rollup)| &rollup.ended).sum()
    }

    pub(super) fn rollups(
        &self,
        is_wanted: impl Fn(CodeId) -> bool,
        from: Timestamp,
        to: Timestamp,
        grain: Grain,
    ) -> Vec<(CodeId, Timestamp, Rollup)> {
        let steps = grain.step(from)..=grain.step(to);
        let kept = self.rollups.iter().filter(|((of, code, step), rollup)| {
            *of == grain && is_wanted(*code) && steps.contains(step) && **rollup != Rollup::default()
        });
        kept.map(|((_, code, step), rollup)| (*code, grain.begin(*step), *rollup)).collect()
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
        self.rollups.retain(|(grain, _, step), _| *step >= grain.step(now - retention.usage_minutes));
        self.days.retain(|(_, at), _| *at >= oldest);
        self.schedules.retain(|(_, at, _), _| *at >= oldest);
    }
}
