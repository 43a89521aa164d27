//! What became of a package's tasks lately: from sums that the store keeps, for all packages of a project at once.

use std::collections::HashMap;
use std::time::Duration;

use windlass_model::id::{CodeId, ProjectId};
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain};
use windlass_store::types::Counts;
use windlass_store::usage::Rollup;

use super::show::{is_failure, span_ms};
use super::spark::spark;
use crate::app::App;
use crate::error::ApiError;

/// How far "lately" reaches.
const HOURS: usize = 24;

/// What ended in the last day.
#[derive(Clone, Debug, Default)]
pub(super) struct Lately {
    /// Tasks, by how.
    pub(super) ended: Counts,
    /// What attempts used.
    pub(super) compute: ComputeTime,
    /// The same by the hour, the oldest first.
    hours: [ComputeTime; HOURS],
}

/// Of every package of the project, or of one, in which anything happened.
pub(super) async fn lately(
    app: &App,
    project: ProjectId,
    code: Option<CodeId>,
) -> Result<HashMap<CodeId, Lately>, ApiError> {
    let now = app.now();
    let from = now - Duration::from_secs(HOURS as u64 * 3600);
    let steps = app.store.rollups(project, code, from, now, Grain::Quarter).await?;
    let mut all: HashMap<CodeId, Lately> = HashMap::new();
    for (code, at, rollup) in &steps {
        all.entry(*code).or_default().add(*at, rollup, now);
    }
    Ok(all)
}

impl Lately {
    fn add(&mut self, at: Timestamp, step: &Rollup, now: Timestamp) {
        self.ended += &step.ended;
        self.compute.add(&step.compute);
        let hours_ago = (now.since(at).as_secs() / 3600) as usize;
        // The step that the day began in reaches a little before it.
        self.hours[HOURS - 1 - hours_ago.min(HOURS - 1)].add(&step.compute);
    }

    /// The share that went well; empty if nothing ended.
    pub(super) fn rate(&self) -> String {
        let good = self.ended.get(Status::Complete);
        let failed: u64 = Status::ALL.into_iter().filter(|s| is_failure(*s)).map(|s| self.ended.get(s)).sum();
        // Rounded down: 100 % is said only of those where nothing failed.
        (good * 1000).checked_div(good + failed).map_or(String::new(), |tenths| match tenths {
            1000 => "100 %".to_owned(),
            tenths => format!("{}.{} %", tenths / 10, tenths % 10),
        })
    }

    /// How long an attempt ran on average; empty if none did.
    pub(super) fn mean(&self) -> String {
        mean(&self.compute).map_or(String::new(), |ms| span_ms(ms as u64))
    }

    /// The same over the hours of the day.
    pub(super) fn spark(&self) -> String {
        let means: Vec<Option<f64>> = self.hours.iter().map(mean).collect();
        let there = || means.iter().flatten().copied();
        let words = format!(
            "Mean run time by the hour, last 24 hours: from {} to {}, last {}",
            span_ms(there().fold(f64::MAX, f64::min) as u64),
            span_ms(there().fold(0.0, f64::max) as u64),
            span_ms(there().last().unwrap_or_default() as u64),
        );
        spark(&means, &words)
    }
}

fn mean(used: &ComputeTime) -> Option<f64> {
    (used.attempts > 0).then(|| used.wall_ms as f64 / used.attempts as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_summed_and_kept_by_the_hour() {
        let now = Timestamp::from_secs(100 * 86_400);
        let step = |status: Status, n: u64, wall_ms: u64| {
            let mut rollup = Rollup::default();
            (0..n).for_each(|_| rollup.task(status));
            rollup.compute = ComputeTime { attempts: n, wall_ms, ..ComputeTime::default() };
            rollup
        };
        let mut lately = Lately::default();
        assert_eq!((lately.rate(), lately.mean(), lately.spark()), Default::default());
        lately.add(now - Duration::from_secs(60), &step(Status::Complete, 2, 3_000), now);
        lately.add(now - Duration::from_secs(86_400 + 600), &step(Status::Error, 1, 9_000), now);
        lately.add(now - Duration::from_secs(3_700), &step(Status::Cancelled, 1, 0), now);
        assert_eq!((lately.rate().as_str(), lately.mean().as_str()), ("66.6 %", "3.00 s"));
        assert!(lately.spark().contains("from 0 µs to 9.00 s, last 1.50 s"), "{}", lately.spark());
    }
}
