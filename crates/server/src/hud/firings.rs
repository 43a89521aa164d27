//! What schedules will do: their next firings, and how many there are in each quarter of the next day.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_model::schedule::{Schedule, first_grid_point_after};
use windlass_model::time::Timestamp;
use windlass_model::usage::Grain;

use super::chart::{self, Bars, Part};
use super::schedules::name_of;
use super::show::count;

/// Quarters of an hour in a day.
const QUARTERS: usize = 96;

/// Schedules that a bar names.
const NAMED: usize = 4;

/// The next firings of a schedule, at most `most`.
pub(super) fn ahead(schedule: &Schedule, most: usize) -> Vec<Timestamp> {
    let timing = &schedule.timing;
    let most = most.min(left(schedule).try_into().unwrap_or(usize::MAX));
    std::iter::successors(schedule.state.next_at, |&at| first_grid_point_after(timing, at))
        .take_while(|&at| timing.end_at.is_none_or(|end| at <= end))
        .take(most)
        .collect()
}

/// The next firings of all of them, at most `most`, and whose they are.
pub(super) fn ahead_of_all(schedules: &[Schedule], most: usize) -> Vec<(Timestamp, &Schedule)> {
    let all =
        schedules.iter().flat_map(|schedule| ahead(schedule, most).into_iter().map(move |at| (at, schedule)));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(at, schedule)| (*at, schedule.id));
    all.truncate(most);
    all
}

/// How often it may still fire.
fn left(schedule: &Schedule) -> u64 {
    schedule.timing.run_times.map_or(u64::MAX, |most| most.saturating_sub(schedule.state.run_count).into())
}

/// How often it fires before `before`, without counting each.
fn firings_before(schedule: &Schedule, before: Timestamp) -> u64 {
    let Some(next) = schedule.state.next_at.filter(|next| *next < before) else { return 0 };
    let end = schedule.timing.end_at.map_or(before, |end| before.min(end + Duration::from_millis(1)));
    let span = end.since(next).as_millis() as u64;
    let every = schedule.timing.run_every_s.map_or(u64::MAX, |s| u64::from(s.max(1)) * 1000);
    span.div_ceil(every).min(left(schedule))
}

/// The next day as a strip of its quarters, from the one that holds `now`.
pub(super) fn strip(schedules: &[Schedule], now: Timestamp) -> String {
    let first = Grain::Quarter.step(now);
    let begins: Vec<_> = (0..QUARTERS as i64).map(|n| Grain::Quarter.begin(first + n)).collect();
    let mut bars = vec![[0]; QUARTERS];
    let mut names: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new(); QUARTERS];
    for schedule in schedules {
        // What is overdue fires now.
        let mut before = 0;
        for (at, bar) in bars.iter_mut().enumerate() {
            let until = firings_before(schedule, Grain::Quarter.begin(first + at as i64 + 1));
            if until > before {
                bar[0] += until - before;
                *names[at].entry(name_of(schedule)).or_default() += until - before;
            }
            before = until;
        }
    }
    let notes: Vec<String> = names.iter().map(said).collect();
    chart::draw(&Bars {
        what: "Firings in the next 24 hours",
        parts: [Part { name: "to fire", class: "fires" }],
        begins: &begins,
        bars: &bars,
        notes: &notes,
        height: 40,
        most_when: "",
        end: "in 24 h",
    })
}

fn said(names: &BTreeMap<String, u64>) -> String {
    let mut said: Vec<String> = names
        .iter()
        .take(NAMED)
        .map(|(name, n)| if *n == 1 { name.clone() } else { format!("{name} × {}", count(*n)) })
        .collect();
    if names.len() > NAMED {
        said.push(format!("{} more", names.len() - NAMED));
    }
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::id::{CodeId, ProjectId, ScheduleId, Seq};
    use windlass_model::schedule::{ScheduleState, Template, Timing};

    fn schedule(every: Option<u32>, times: Option<u32>, end: Option<i64>) -> Schedule {
        let timing = Timing {
            start_at: Timestamp::from_secs(1_000),
            run_every_s: every,
            run_times: times,
            end_at: end.map(Timestamp::from_secs),
        };
        Schedule {
            id: ScheduleId::new(Seq(1), 0),
            project: ProjectId::new(Seq(1), 0),
            name: "nightly".to_owned(),
            timing,
            template: Template {
                code: CodeId::new(Seq(1), 0),
                payload: Vec::new(),
                priority: None,
                timeout_s: 1,
                task_delay_s: 0,
                cluster: String::new(),
                label: None,
                max_concurrency: None,
            },
            state: ScheduleState::first(&timing),
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
        }
    }

    #[test]
    fn counting_firings_is_listing_them() {
        let all = [
            schedule(None, None, None),
            schedule(Some(60), None, None),
            schedule(Some(60), Some(3), None),
            schedule(Some(90), None, Some(1_180)),
            schedule(Some(7_000), Some(9), Some(50_000)),
        ];
        for schedule in all {
            for before in [999, 1_000, 1_001, 1_060, 1_061, 1_180, 1_181, 9_000, 80_000] {
                let before = Timestamp::from_secs(before);
                let listed = ahead(&schedule, 5_000).into_iter().filter(|at| *at < before).count();
                assert_eq!(
                    firings_before(&schedule, before),
                    listed as u64,
                    "{before} of {:?}",
                    schedule.timing
                );
            }
        }
    }

    #[test]
    fn the_strip_names_who_fires() {
        let svg =
            strip(&[schedule(Some(300), None, None), schedule(None, None, None)], Timestamp::from_secs(950));
        assert!(svg.contains("<title>01-01 00:15 UTC: 4 to fire: nightly × 4</title>"), "{svg}");
        assert!(svg.contains("<title>01-01 00:30 UTC: 3 to fire: nightly × 3</title>"), "{svg}");
        let both = [schedule(Some(60), None, None), schedule(None, None, None)];
        let next: Vec<_> = ahead_of_all(&both, 3).iter().map(|(at, _)| at.as_millis() / 1000).collect();
        assert_eq!(next, [1_000, 1_000, 1_060]);
    }
}
