//! Clusters: named sets of runners, and how many slots one should have.
//!
//! A cluster's runners come and go; what wants to know how many there should be asks for [`Pace::desired`]. It is made of
//! what is needed now and of what was needed of late: so it rises at once and falls slowly.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::ClusterId;
use crate::time::Timestamp;

/// Time constant of the average that is shown as `ewma`.
pub const SHORT: Duration = Duration::from_secs(60);
/// Time constant of that which is shown as `ewma_beta`, and by which the wanted slots fall: an hour's worth of idle machines
/// costs less than starting them again every few minutes does.
pub const LONG: Duration = Duration::from_secs(300);

/// Memory of a task where nobody said, in MB, as IronWorker has it.
pub const DEFAULT_MEMORY_MB: u32 = 512;
/// Disk of a task where nobody said, in GB, likewise.
pub const DEFAULT_DISK_GB: u32 = 10;

/// A named set of runners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id. Tasks may name it instead of the name.
    pub id: ClusterId,
    /// What tasks and runners name; no other cluster has it, and it never changes.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Memory of a task in MB, as clients of IronWorker set it: what is kept for them and shown. Packages have limits.
    pub memory_mb: u32,
    /// Disk of a task in GB, likewise.
    pub disk_gb: u32,
    /// Share of the processors, likewise.
    pub cpu_share: u32,
    /// How many slots it should have.
    pub scaling: Scaling,
}

impl Cluster {
    /// One with nothing set.
    pub fn new(id: ClusterId, name: String, created_at: Timestamp) -> Self {
        Self {
            id,
            name,
            created_at,
            memory_mb: DEFAULT_MEMORY_MB,
            disk_gb: DEFAULT_DISK_GB,
            cpu_share: 0,
            scaling: Scaling::default(),
        }
    }
}

/// The bounds within which a cluster should grow and shrink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaling {
    /// Never fewer slots.
    pub min_slots: u32,
    /// Never more, unless more are busy.
    pub max_slots: u32,
    /// What is queued is to be begun within this time, in seconds; at least 1.
    pub target_s: u32,
}

impl Default for Scaling {
    fn default() -> Self {
        Self { min_slots: 0, max_slots: 1000, target_s: 60 }
    }
}

/// How much a cluster has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Tasks that wait and could run.
    pub queued: u64,
    /// Tasks that run.
    pub running: u64,
    /// How long an attempt takes of late, in seconds; none: nothing has ended yet.
    pub mean_s: Option<f64>,
}

impl Scaling {
    /// The slots that a cluster needs now: one for each task that runs, and as many as it takes to begin what is queued
    /// within the target time, if attempts go on taking as long as they did: `queued × mean / target`. Where nobody knows
    /// how long they take, one for each task.
    ///
    /// Never more than there are tasks, never less than run, and else within the bounds.
    pub fn needed(&self, load: &Load) -> u32 {
        let whole = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let (queued, running) = (whole(load.queued), whole(load.running));
        let waiting = match load.mean_s {
            Some(mean_s) => {
                let slots = load.queued as f64 * mean_s.max(0.0) / f64::from(self.target_s.max(1));
                // `as` saturates.
                (slots.ceil() as u32).min(queued)
            }
            None => queued,
        };
        self.bound(running.saturating_add(waiting.max(queued.min(1))), running)
    }

    fn bound(&self, slots: u32, running: u32) -> u32 {
        slots.max(self.min_slots).min(self.max_slots).max(running)
    }
}

/// An average that forgets: the weight of what was there falls to `1/e` in its time constant.
///
/// With samples at uneven times the share of a new one is `1 - e^(-dt/τ)`, as load averages of Unix have it for even ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ewma {
    value: f64,
    at: Timestamp,
}

impl Ewma {
    /// Begins with `value`.
    pub fn new(value: f64, at: Timestamp) -> Self {
        Self { value, at }
    }

    /// The average with another sample.
    #[must_use]
    pub fn with(self, sample: f64, at: Timestamp, constant: Duration) -> Self {
        let since = at.since(self.at).as_secs_f64();
        let share = 1.0 - (-since / constant.as_secs_f64().max(f64::MIN_POSITIVE)).exp();
        Self { value: self.value + share * (sample - self.value), at: self.at.max(at) }
    }

    /// Its value.
    pub fn value(self) -> f64 {
        self.value
    }
}

/// How a cluster has been doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    short: Ewma,
    long: Ewma,
    needed: Ewma,
    now: u32,
    running: u32,
}

impl Pace {
    /// Begins: nobody knows what was before, so the `slots` that are there were needed.
    pub fn new(load: &Load, slots: u32, scaling: &Scaling, at: Timestamp) -> Self {
        let (queued, now) = (load.queued as f64, scaling.needed(load));
        Self {
            short: Ewma::new(queued, at),
            long: Ewma::new(queued, at),
            needed: Ewma::new(f64::from(slots.min(scaling.max_slots)), at),
            now,
            running: u32::try_from(load.running).unwrap_or(u32::MAX),
        }
    }

    /// Goes on with how it is now.
    #[must_use]
    pub fn with(self, load: &Load, scaling: &Scaling, at: Timestamp) -> Self {
        let (queued, now) = (load.queued as f64, scaling.needed(load));
        let needed = self.needed.with(f64::from(now), at, LONG);
        Self {
            short: self.short.with(queued, at, SHORT),
            long: self.long.with(queued, at, LONG),
            // What is needed now is not to be waited for.
            needed: if needed.value < f64::from(now) { Ewma::new(f64::from(now), at) } else { needed },
            now,
            running: u32::try_from(load.running).unwrap_or(u32::MAX),
        }
    }

    /// Tasks that waited, on average over about a minute and over about five.
    pub fn queued(&self) -> (f64, f64) {
        (self.short.value, self.long.value)
    }

    /// The slots that are needed now.
    pub fn needed(&self) -> u32 {
        self.now
    }

    /// The slots that the cluster should have: those needed now, or those of late if they were more.
    pub fn desired(&self, scaling: &Scaling) -> u32 {
        // An average comes ever nearer to what is needed and never there; half a slot is none.
        let of_late = (self.needed.value - 0.5).ceil().max(0.0) as u32;
        scaling.bound(self.now.max(of_late), self.running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load() -> impl Strategy<Value = Load> {
        (0..100_000u64, 0..5_000u64, prop::option::of(0.001..10_000.0f64))
            .prop_map(|(queued, running, mean_s)| Load { queued, running, mean_s })
    }

    fn scaling() -> impl Strategy<Value = Scaling> {
        (0..50u32, 0..2_000u32, 1..600u32).prop_map(|(min_slots, more, target_s)| Scaling {
            min_slots,
            max_slots: min_slots + more,
            target_s,
        })
    }

    proptest! {
        #[test]
        fn what_runs_is_never_left_without_a_slot(load in load(), scaling in scaling()) {
            prop_assert!(u64::from(scaling.needed(&load)) >= load.running);
        }

        #[test]
        fn the_bounds_hold_unless_more_runs(load in load(), scaling in scaling()) {
            let needed = scaling.needed(&load);
            prop_assert!(needed >= scaling.min_slots);
            prop_assert!(needed <= scaling.max_slots.max(load.running as u32));
        }

        #[test]
        fn what_is_queued_is_begun_in_time_where_the_bounds_allow(load in load(), scaling in scaling()) {
            let needed = scaling.needed(&load);
            if needed < scaling.max_slots {
                let spare = f64::from(needed) - load.running as f64;
                let mean = load.mean_s.unwrap_or(0.0);
                let is_one_each = spare >= load.queued as f64;
                prop_assert!(is_one_each || spare * f64::from(scaling.target_s) >= load.queued as f64 * mean);
                prop_assert!(load.queued == 0 || spare >= 1.0);
            }
        }

        #[test]
        fn there_are_no_more_slots_than_tasks(load in load(), scaling in scaling()) {
            let most = (load.queued + load.running).max(u64::from(scaling.min_slots));
            prop_assert!(u64::from(scaling.needed(&load)) <= most);
        }

        /// Whatever happens: what is wanted is at least what is needed and within the bounds, rises at once, and falls by
        /// no more than the average does.
        #[test]
        fn what_is_wanted_rises_at_once_and_falls_slowly(
            steps in prop::collection::vec((load(), 0..400u64), 1..40), slots in 0..300u32, scaling in scaling()
        ) {
            let mut at = Timestamp::from_secs(1_000);
            let mut pace = Pace::new(&steps[0].0, slots, &scaling, at);
            for (load, after) in steps {
                let before = f64::from(pace.desired(&scaling));
                at = at + Duration::from_secs(after);
                pace = pace.with(&load, &scaling, at);
                let (needed, desired) = (scaling.needed(&load), pace.desired(&scaling));
                prop_assert!(desired >= needed);
                prop_assert!(desired <= scaling.max_slots.max(load.running as u32));
                let left = (-(after as f64) / LONG.as_secs_f64()).exp();
                let fallen_to = f64::from(needed) + (before.min(f64::from(scaling.max_slots)) - f64::from(needed)) * left;
                prop_assert!(f64::from(desired) >= (fallen_to - 1.0).min(f64::from(scaling.max_slots)).floor(),
                    "{before} -> {desired}, {fallen_to}");
            }
        }
    }

    #[test]
    fn an_idle_cluster_comes_to_its_least() {
        let scaling = Scaling { min_slots: 2, ..Scaling::default() };
        let idle = Load::default();
        let mut at = Timestamp::from_secs(0);
        let mut pace = Pace::new(&idle, 100, &scaling, at);
        assert_eq!(pace.desired(&scaling), 100);
        let mut seen = Vec::new();
        for _ in 0..60 {
            at = at + Duration::from_secs(60);
            pace = pace.with(&idle, &scaling, at);
            seen.push(pace.desired(&scaling));
        }
        assert!(seen.is_sorted_by(|a, b| a >= b), "{seen:?}");
        // After five minutes a little more than a third is left, after an hour none.
        assert!((35..40).contains(&seen[4]), "{seen:?}");
        assert_eq!(seen.last(), Some(&2));
    }

    #[test]
    fn averages_do_not_depend_on_how_often_they_are_asked() {
        let mut often = Ewma::new(10.0, Timestamp::from_secs(0));
        for second in 1..=60 {
            often = often.with(0.0, Timestamp::from_secs(second), SHORT);
        }
        let once = Ewma::new(10.0, Timestamp::from_secs(0)).with(0.0, Timestamp::from_secs(60), SHORT);
        assert!((often.value() - once.value()).abs() < 1e-9);
        assert!((once.value() - 10.0 / std::f64::consts::E).abs() < 1e-9);
    }
}
