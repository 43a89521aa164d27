//! When a schedule fires: on a grid anchored at its start, never early, without drift.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{CodeId, ProjectId, ScheduleId};
use crate::task::Priority;
use crate::time::Timestamp;

/// Shortest time between two runs of a schedule.
pub const MIN_RUN_EVERY_S: u32 = 60;

/// When a schedule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// First firing, and the anchor of the grid.
    pub start_at: Timestamp,
    /// Distance of the grid points; none: it fires once.
    pub run_every_s: Option<u32>,
    /// Most firings; none: no limit.
    pub run_times: Option<u32>,
    /// No firing is due after it.
    pub end_at: Option<Timestamp>,
}

/// Where a schedule stands, in IronWorker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleStatus {
    /// It will fire again.
    Scheduled,
    /// It fires no more until it is resumed.
    Paused,
    /// It has fired for the last time.
    Complete,
    /// A user ended it, or its code was deleted.
    Cancelled,
}

impl ScheduleStatus {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ScheduleStatus::Scheduled => "scheduled",
            ScheduleStatus::Paused => "paused",
            ScheduleStatus::Complete => "complete",
            ScheduleStatus::Cancelled => "cancelled",
        }
    }

    /// Whether it has ended.
    pub const fn is_over(self) -> bool {
        matches!(self, ScheduleStatus::Complete | ScheduleStatus::Cancelled)
    }
}

/// What a schedule makes of its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The package its tasks run, in the revision that is newest at the firing.
    pub code: CodeId,
    /// Payload of its tasks.
    pub payload: Vec<u8>,
    /// Priority of its tasks; none: the package's default.
    pub priority: Option<Priority>,
    /// Timeout of its tasks.
    pub timeout_s: u32,
    /// Delay of its tasks after the firing.
    pub task_delay_s: u32,
    /// Cluster of its tasks.
    pub cluster: String,
    /// Label of its tasks.
    pub label: Option<String>,
    /// Asked for by some clients; kept and shown.
    pub max_concurrency: Option<u32>,
}

/// A schedule and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Who owns it.
    pub project: ProjectId,
    /// What people call it; may be empty and need not be unique.
    pub name: String,
    /// When it fires.
    pub timing: Timing,
    /// What it queues.
    pub template: Template,
    /// Where it stands.
    pub state: ScheduleState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a user or a firing last changed it.
    pub updated_at: Timestamp,
}

/// The changing part of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleState {
    /// Where it stands.
    pub status: ScheduleStatus,
    /// Why it ended, in words.
    pub msg: String,
    /// The instant of its next firing; none unless `Scheduled`.
    pub next_at: Option<Timestamp>,
    /// When it last fired, by the clock.
    pub last_run_at: Option<Timestamp>,
    /// Firings so far.
    pub run_count: u32,
}

impl ScheduleState {
    /// The state of a schedule that has never fired.
    pub fn first(timing: &Timing) -> Self {
        let fresh = Self {
            status: ScheduleStatus::Scheduled,
            msg: String::new(),
            next_at: None,
            last_run_at: None,
            run_count: 0,
        };
        fresh.aimed_at(timing, Some(timing.start_at))
    }

    /// The state after a firing that was due at `next_at` and happened at `now`: one firing stands for every grid
    /// point that was missed up to `now`, then the grid goes on.
    pub fn fired(&self, timing: &Timing, now: Timestamp) -> Self {
        let run_count = self.run_count + 1;
        let fired = Self { run_count, last_run_at: Some(now), ..self.clone() };
        let instant = self.next_at.unwrap_or(now).max(now);
        fired.aimed_at(timing, first_grid_point_after(timing, instant))
    }

    /// The state after its timing was changed at `now`: what was already run is not run again. One that is paused
    /// stays so.
    pub fn retimed(&self, timing: &Timing, now: Timestamp) -> Self {
        if self.status == ScheduleStatus::Paused {
            return self.clone();
        }
        self.aimed_after(timing, now)
    }

    /// The state of a schedule that fires no more until it is resumed; one that has ended stays as it is.
    pub fn paused(&self) -> Self {
        if self.status != ScheduleStatus::Scheduled {
            return self.clone();
        }
        Self { status: ScheduleStatus::Paused, next_at: None, ..self.clone() }
    }

    /// The state after it was resumed at `now`. Instants that passed meanwhile are left out; one without a grid that
    /// has not fired fires now. One that was not paused stays as it is.
    pub fn resumed(&self, timing: &Timing, now: Timestamp) -> Self {
        if self.status != ScheduleStatus::Paused {
            return self.clone();
        }
        match timing.run_every_s {
            Some(_) => self.aimed_after(timing, now),
            None => Self { status: ScheduleStatus::Scheduled, ..self.clone() }
                .aimed_at(timing, Some(timing.start_at)),
        }
    }

    fn aimed_after(&self, timing: &Timing, now: Timestamp) -> Self {
        let next = if timing.start_at >= now && self.last_run_at.is_none_or(|last| last < timing.start_at) {
            Some(timing.start_at)
        } else {
            first_grid_point_after(timing, now)
        };
        Self { status: ScheduleStatus::Scheduled, msg: String::new(), ..self.clone() }.aimed_at(timing, next)
    }

    /// The state of a schedule that was ended for `reason`.
    pub fn cancelled(&self, reason: &str) -> Self {
        Self { status: ScheduleStatus::Cancelled, msg: reason.to_owned(), next_at: None, ..self.clone() }
    }

    fn aimed_at(self, timing: &Timing, next: Option<Timestamp>) -> Self {
        let limit = timing.run_times.or(if timing.run_every_s.is_none() { Some(1) } else { None });
        let done = |msg: &str| Self {
            status: ScheduleStatus::Complete,
            msg: msg.to_owned(),
            next_at: None,
            ..self.clone()
        };
        if limit.is_some_and(|limit| self.run_count >= limit) {
            return done("Ran max times.");
        }
        match next {
            None => done("Ran max times."),
            Some(at) if timing.end_at.is_some_and(|end| at > end) => done("Reached its end."),
            Some(at) => Self { next_at: Some(at), ..self },
        }
    }
}

/// The first grid point after `instant`; none where the schedule has no grid and has passed its start.
pub fn first_grid_point_after(timing: &Timing, instant: Timestamp) -> Option<Timestamp> {
    if instant < timing.start_at {
        return Some(timing.start_at);
    }
    let every = i64::from(timing.run_every_s?.max(1)) * 1000;
    let steps = (instant.as_millis() - timing.start_at.as_millis()) / every + 1;
    Some(timing.start_at + Duration::from_millis((steps * every) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every(seconds: u32) -> Timing {
        Timing {
            start_at: Timestamp::from_secs(1_000),
            run_every_s: Some(seconds),
            run_times: None,
            end_at: None,
        }
    }

    fn secs(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn without_a_grid_it_fires_once() {
        let timing = Timing { run_every_s: None, ..every(60) };
        let first = ScheduleState::first(&timing);
        assert_eq!(first.next_at, Some(secs(1_000)));
        let done = first.fired(&timing, secs(1_001));
        assert_eq!(
            (done.status, done.msg.as_str(), done.next_at),
            (ScheduleStatus::Complete, "Ran max times.", None)
        );
    }

    #[test]
    fn run_times_counts_firings() {
        let timing = Timing { run_times: Some(2), ..every(60) };
        let once = ScheduleState::first(&timing).fired(&timing, secs(1_000));
        assert_eq!(once.next_at, Some(secs(1_060)));
        assert_eq!(once.fired(&timing, secs(1_060)).status, ScheduleStatus::Complete);
    }

    #[test]
    fn nothing_is_due_after_the_end() {
        let timing = Timing { end_at: Some(secs(1_060)), ..every(60) };
        let once = ScheduleState::first(&timing).fired(&timing, secs(1_000));
        assert_eq!(once.next_at, Some(secs(1_060)), "the end itself is still inside");
        assert_eq!(once.fired(&timing, secs(1_060)).msg, "Reached its end.");
    }

    #[test]
    fn what_was_missed_runs_once_and_the_grid_goes_on() {
        let timing = every(60);
        let late = ScheduleState::first(&timing).fired(&timing, secs(1_330));
        assert_eq!((late.run_count, late.next_at), (1, Some(secs(1_360))));
    }

    #[test]
    fn a_pause_leaves_out_what_passes_meanwhile() {
        let timing = Timing { run_times: Some(3), ..every(60) };
        let paused = ScheduleState::first(&timing).fired(&timing, secs(1_000)).paused();
        assert_eq!((paused.status, paused.next_at), (ScheduleStatus::Paused, None));
        assert_eq!(paused.retimed(&every(90), secs(1_100)), paused, "it stays paused, whatever is changed");
        let resumed = paused.resumed(&timing, secs(1_130));
        assert_eq!((resumed.status, resumed.next_at), (ScheduleStatus::Scheduled, Some(secs(1_180))));
        assert_eq!(resumed.run_count, 1);
        assert_eq!(resumed.resumed(&timing, secs(9_000)), resumed);
        let once = Timing { run_every_s: None, ..every(60) };
        let late = ScheduleState::first(&once).paused().resumed(&once, secs(2_000));
        assert_eq!(late.next_at, Some(secs(1_000)), "its one firing is overdue, not lost");
        let over = ScheduleState::first(&once).fired(&once, secs(1_000));
        assert_eq!(over.paused(), over);
    }

    #[test]
    fn a_changed_grid_does_not_repeat_what_ran() {
        let once = ScheduleState::first(&every(60)).fired(&every(60), secs(1_000));
        assert_eq!(once.retimed(&every(90), secs(1_010)).next_at, Some(secs(1_090)));
        let moved = Timing { start_at: secs(5_000), ..every(60) };
        assert_eq!(once.retimed(&moved, secs(1_010)).next_at, Some(secs(5_000)));
    }

    proptest! {
        #[test]
        fn never_early_never_off_the_grid_never_backwards(
            seconds in 60u32..100_000,
            late in proptest::collection::vec(0i64..1_000_000_000, 1..20),
        ) {
            let timing = every(seconds);
            let mut state = ScheduleState::first(&timing);
            for late_ms in late {
                let due = state.next_at.unwrap();
                let now = due + Duration::from_millis(late_ms as u64);
                state = state.fired(&timing, now);
                let next = state.next_at.unwrap();
                prop_assert!(next > now, "never in the past");
                prop_assert!(next.since(now) <= Duration::from_secs(u64::from(seconds)), "no point is left out");
                prop_assert_eq!((next.as_millis() - timing.start_at.as_millis()) % (i64::from(seconds) * 1000), 0);
            }
        }
    }
}
