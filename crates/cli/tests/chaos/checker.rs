//! Whether what happened may happen: promises of the service, checked on a history.

use std::collections::{BTreeMap, BTreeSet};

use windlass_model::task::Status;

use crate::history::Event;

/// Longest time until a runner hears of a cancel, or starts what it claimed: it may be frozen or cut off meanwhile.
const LATE_MS: i64 = 20_000;
/// Longest time that an instant of a schedule may have to wait for somebody to be there.
const OUTAGE_MS: i64 = 30_000;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// It was acknowledged, and there is no such task.
    Lost { task: i64 },
    /// It neither ended nor has anybody to end it by some time.
    Stuck { task: i64 },
    /// There are not as many tasks with a key as were asked for once.
    NotOnce { key: String, wanted: usize, there: usize },
    /// More than one attempt was accepted under a fence.
    FenceTwice { fence: i64 },
    /// A task, or an attempt of it, has more than one end.
    EndedTwice { task: i64 },
    /// It is complete, and no worker did it.
    NeverRan { task: i64 },
    /// An attempt was claimed, or a worker began long, after a cancel was acknowledged.
    RanAfterCancel { task: i64 },
    /// It ended otherwise long after a cancel was acknowledged. An attempt that is already under way may do well all the
    /// same: so says the table in docs/lifecycle.md.
    CancelForgotten { task: i64 },
    /// A schedule queued more than one task for an instant.
    FiredTwice { schedule: String, instant: i64 },
    /// A schedule queued none for an instant.
    NotFired { schedule: String, instant: i64 },
    /// A schedule queued a task before its first instant.
    FiredEarly { schedule: String },
    /// Tables do not agree, counters and rows among them, or a call was refused that was right.
    Unsound { problem: String },
}

/// A schedule, and when its tasks were made.
struct Firings<'a> {
    start_at: i64,
    every_ms: Option<i64>,
    schedule: &'a str,
    made: Vec<i64>,
}

/// What a history says of a task.
#[derive(Default)]
struct Seen {
    is_there: bool,
    is_owned: bool,
    ends: Vec<(u8, u32, i64)>,
    /// Numbers of attempts that ended, and when they were claimed.
    attempts: Vec<(u32, i64)>,
    begun: Vec<i64>,
    /// Attempts whose workers came to their end.
    done: BTreeSet<u32>,
    cancelled: Option<i64>,
}

/// All that is wrong with the history; nothing if the service kept its promises.
pub(crate) fn check(history: &[Event]) -> Vec<Violation> {
    let looked = history.iter().rev().find_map(|event| match event {
        Event::Looked { at } => Some(*at),
        _ => None,
    });
    let looked = looked.expect("a history is checked once the database was read");
    let mut violations = keys(history);
    violations.extend(fences(history));
    violations.extend(schedules(history, looked));
    let seen = tasks(history, looked);
    violations.extend(seen.iter().flat_map(|(task, seen)| of_task(*task, seen)));
    violations.extend(history.iter().filter_map(|event| match event {
        Event::Unsound { problem } => Some(Violation::Unsound { problem: problem.clone() }),
        _ => None,
    }));
    violations.sort();
    violations
}

fn tasks(history: &[Event], looked: i64) -> BTreeMap<i64, Seen> {
    let mut tasks: BTreeMap<i64, Seen> = BTreeMap::new();
    for event in history {
        match event {
            Event::Queued { tasks: queued, .. } => {
                for task in queued {
                    tasks.entry(*task).or_default();
                }
            }
            Event::Cancelled { at, task } => tasks.entry(*task).or_default().cancelled = Some(*at),
            Event::Ran { at, task, attempt, is_end } => {
                // Nobody was told of a task that was queued in doubt, but it is in the database then.
                let seen = tasks.entry(*task).or_default();
                if *is_end {
                    seen.done.insert(*attempt);
                } else {
                    seen.begun.push(*at);
                }
            }
            Event::Task { task, .. } => tasks.entry(*task).or_default().is_there = true,
            Event::Ended { task, status, attempts, started, ended, fence } => {
                let seen = tasks.entry(*task).or_default();
                seen.ends.push((*status, *attempts, *ended));
                if let (Some(_), Some(started)) = (fence, started) {
                    seen.attempts.push((*attempts, *started));
                }
            }
            Event::Attempt { task, n, started, .. } => {
                tasks.entry(*task).or_default().attempts.push((*n, *started));
            }
            Event::Waiting { task, run_at } if *run_at > looked => {
                tasks.entry(*task).or_default().is_owned = true;
            }
            Event::Running { task, lease_until: Some(until), .. } if *until > looked => {
                tasks.entry(*task).or_default().is_owned = true;
            }
            _ => {}
        }
    }
    tasks
}

fn of_task(task: i64, seen: &Seen) -> Vec<Violation> {
    if !seen.is_there {
        return vec![Violation::Lost { task }];
    }
    let mut violations = Vec::new();
    if seen.ends.is_empty() && !seen.is_owned {
        violations.push(Violation::Stuck { task });
    }
    let numbers: BTreeSet<u32> = seen.attempts.iter().map(|(n, _)| *n).collect();
    let is_both = !seen.ends.is_empty() && seen.is_owned;
    if seen.ends.len() > 1 || numbers.len() < seen.attempts.len() || is_both {
        violations.push(Violation::EndedTwice { task });
    }
    let was_done = |(status, attempts, _): &(u8, u32, i64)| {
        *status != Status::Complete as u8 || seen.done.contains(attempts)
    };
    if !seen.ends.iter().all(was_done) {
        violations.push(Violation::NeverRan { task });
    }
    if let Some(cancelled) = seen.cancelled {
        let claimed_late = seen.attempts.iter().any(|(_, started)| *started > cancelled);
        if claimed_late || seen.begun.iter().any(|begun| *begun > cancelled + LATE_MS) {
            violations.push(Violation::RanAfterCancel { task });
        }
        let otherwise = |(status, _, ended): &(u8, u32, i64)| {
            *status != Status::Cancelled as u8 && *ended > cancelled + LATE_MS
        };
        if seen.ends.iter().any(otherwise) {
            violations.push(Violation::CancelForgotten { task });
        }
    }
    violations
}

/// Tasks carry the key of their request as their label: repeated or not, it has queued them once, or never.
fn keys(history: &[Event]) -> Vec<Violation> {
    let mut there: BTreeMap<&str, usize> = BTreeMap::new();
    for event in history {
        if let Event::Task { label: Some(label), .. } = event {
            *there.entry(label).or_default() += 1;
        }
    }
    let wrong = history.iter().filter_map(|event| {
        let (key, wanted, may_be_none) = match event {
            Event::Queued { key, tasks, .. } => (key, tasks.len(), false),
            Event::Doubtful { key, wanted } => (key, *wanted, true),
            _ => return None,
        };
        let there = there.get(key.as_str()).copied().unwrap_or(0);
        let is_right = there == wanted || (may_be_none && there == 0);
        (!is_right).then(|| Violation::NotOnce { key: key.clone(), wanted, there })
    });
    wrong.collect()
}

fn fences(history: &[Event]) -> Vec<Violation> {
    let mut known = BTreeSet::new();
    let all = history.iter().filter_map(|event| match event {
        Event::Attempt { fence, .. } | Event::Running { fence, .. } => Some(*fence),
        Event::Ended { fence, .. } => *fence,
        _ => None,
    });
    all.filter(|fence| !known.insert(*fence)).map(|fence| Violation::FenceTwice { fence }).collect()
}

fn schedules(history: &[Event], looked: i64) -> Vec<Violation> {
    let mut all: BTreeMap<&str, Firings<'_>> = BTreeMap::new();
    for event in history {
        if let Event::Scheduled { schedule, start_at, every_s } = event {
            let every_ms = every_s.map(|s| i64::from(s) * 1000);
            let firings = Firings { start_at: *start_at, every_ms, schedule, made: Vec::new() };
            all.insert(schedule, firings);
        }
    }
    for event in history {
        if let Event::Task { schedule: Some(schedule), created, .. } = event
            && let Some(firings) = all.get_mut(schedule.as_str())
        {
            firings.made.push(*created);
        }
    }
    all.values().flat_map(|firings| of_schedule(firings, looked)).collect()
}

/// A firing belongs to the newest instant that had come when it was made; no outage is as long as the time between two.
fn of_schedule(firings: &Firings<'_>, looked: i64) -> Vec<Violation> {
    let schedule = || firings.schedule.to_owned();
    let mut violations = Vec::new();
    let mut instants = BTreeSet::new();
    for made in &firings.made {
        if *made < firings.start_at {
            violations.push(Violation::FiredEarly { schedule: schedule() });
            continue;
        }
        let since = firings.every_ms.map_or(0, |every| (made - firings.start_at) / every * every);
        let instant = firings.start_at + since;
        if !instants.insert(instant) {
            violations.push(Violation::FiredTwice { schedule: schedule(), instant });
        }
    }
    let mut instant = firings.start_at;
    while instant <= looked - OUTAGE_MS {
        if !instants.contains(&instant) {
            violations.push(Violation::NotFired { schedule: schedule(), instant });
        }
        let Some(every) = firings.every_ms else { break };
        instant += every;
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: u8 = Status::Complete as u8;
    const CANCELLED: u8 = Status::Cancelled as u8;

    fn task(task: i64, label: &str) -> Event {
        Event::Task { task, label: Some(label.to_owned()), schedule: None, created: 10 }
    }

    fn firing(of: i64, created: i64) -> Event {
        Event::Task { task: of, label: None, schedule: Some("s".to_owned()), created }
    }

    fn ended(task: i64, status: u8, fence: i64) -> Event {
        Event::Ended { task, status, attempts: 1, started: Some(20), ended: 30, fence: Some(fence) }
    }

    fn ran(task: i64, at: i64, is_end: bool) -> Event {
        Event::Ran { at, task, attempt: 1, is_end }
    }

    fn queued(tasks: &[i64], key: &str) -> Event {
        Event::Queued { at: 10, key: key.to_owned(), tasks: tasks.to_vec() }
    }

    /// Two tasks that were queued, run and ended, at 100 seconds.
    fn good() -> Vec<Event> {
        vec![
            Event::Began { at: 0, seed: 1 },
            queued(&[1, 2], "a"),
            ran(1, 21, false),
            ran(1, 29, true),
            ran(2, 21, false),
            ran(2, 29, true),
            Event::Looked { at: 100_000 },
            task(1, "a"),
            task(2, "a"),
            ended(1, COMPLETE, 7),
            ended(2, COMPLETE, 8),
        ]
    }

    /// What is found when this happens as well.
    fn with(more: &[Event]) -> Vec<Violation> {
        check(&[good(), more.to_vec()].concat())
    }

    /// What is found when the events for which `is_so` holds did not happen.
    fn without(is_so: impl Fn(&Event) -> bool) -> Vec<Violation> {
        check(&good().into_iter().filter(|event| !is_so(event)).collect::<Vec<_>>())
    }

    #[test]
    fn a_good_history_has_nothing_wrong_with_it() {
        assert_eq!(check(&good()), []);
        let doubtful = Event::Doubtful { key: "b".to_owned(), wanted: 2 };
        assert_eq!(with(&[doubtful]), []);
    }

    #[test]
    fn a_task_that_was_acknowledged_and_is_gone_is_found() {
        let lost = without(|event| matches!(event, Event::Task { task: 2, .. }));
        assert_eq!(
            lost,
            [Violation::Lost { task: 2 }, Violation::NotOnce { key: "a".to_owned(), wanted: 2, there: 1 }]
        );
    }

    #[test]
    fn a_task_that_nobody_will_end_is_found() {
        let more = |how: Event| with(&[queued(&[3], "b"), task(3, "b"), how]);
        let stuck = [Violation::Stuck { task: 3 }];
        assert_eq!(with(&[queued(&[3], "b"), task(3, "b")]), stuck);
        assert_eq!(more(Event::Waiting { task: 3, run_at: 50 }), stuck);
        assert_eq!(more(Event::Running { task: 3, fence: 9, lease_until: None }), stuck);
        assert_eq!(more(Event::Running { task: 3, fence: 9, lease_until: Some(99_000) }), stuck);
        assert_eq!(more(Event::Running { task: 3, fence: 9, lease_until: Some(101_000) }), []);
        assert_eq!(more(Event::Waiting { task: 3, run_at: 101_000 }), []);
    }

    #[test]
    fn a_request_that_was_queued_twice_is_found() {
        let twice = |wanted, there| [Violation::NotOnce { key: "b".to_owned(), wanted, there }];
        let end =
            Event::Ended { task: 3, status: CANCELLED, attempts: 0, started: None, ended: 30, fence: None };
        let other =
            Event::Ended { task: 4, status: CANCELLED, attempts: 0, started: None, ended: 30, fence: None };
        let both = [task(3, "b"), task(4, "b"), end, other];
        assert_eq!(with(&[&[queued(&[3], "b")], &both[..]].concat()), twice(1, 2));
        let doubtful = Event::Doubtful { key: "b".to_owned(), wanted: 3 };
        assert_eq!(with(&[&[doubtful], &both[..]].concat()), twice(3, 2));
    }

    #[test]
    fn two_ends_of_one_attempt_or_task_are_found() {
        let attempt = |n, fence| Event::Attempt { task: 1, n, fence, started: 15, ended: 18 };
        assert_eq!(with(&[attempt(7, 8)]), [Violation::FenceTwice { fence: 8 }]);
        assert_eq!(with(&[attempt(1, 9)]), [Violation::EndedTwice { task: 1 }]);
        assert_eq!(with(&[ended(1, COMPLETE, 9)]), [Violation::EndedTwice { task: 1 }]);
        let again = Event::Waiting { task: 1, run_at: 101_000 };
        assert_eq!(with(&[again]), [Violation::EndedTwice { task: 1 }]);
    }

    #[test]
    fn success_without_work_is_found() {
        let never = without(|event| matches!(event, Event::Ran { task: 1, is_end: true, .. }));
        assert_eq!(never, [Violation::NeverRan { task: 1 }]);
    }

    #[test]
    fn work_after_a_cancel_is_found() {
        let cancelled = |at| Event::Cancelled { at, task: 1 };
        assert_eq!(with(&[cancelled(31)]), [], "it was too late");
        assert_eq!(with(&[cancelled(25)]), [], "it was under way");
        assert_eq!(with(&[cancelled(15)]), [Violation::RanAfterCancel { task: 1 }]);
        assert_eq!(with(&[cancelled(31), ran(1, 40_000, false)]), [Violation::RanAfterCancel { task: 1 }]);
    }

    #[test]
    fn a_cancel_that_nobody_told_the_runner_of_is_found() {
        let ended = |status| Event::Ended {
            task: 3,
            status,
            attempts: 1,
            started: Some(20),
            ended: 60_000,
            fence: Some(9),
        };
        let cancelled = Event::Cancelled { at: 25, task: 3 };
        let done = Event::Ran { at: 59_000, task: 3, attempt: 1, is_end: true };
        let run =
            |status| with(&[queued(&[3], "b"), task(3, "b"), cancelled.clone(), done.clone(), ended(status)]);
        assert_eq!(run(CANCELLED), []);
        assert_eq!(run(COMPLETE), [Violation::CancelForgotten { task: 3 }]);
    }

    #[test]
    fn instants_that_fired_twice_or_never_or_early_are_found() {
        let start_at = 5_000;
        let of = |every_s, created: &[i64]| {
            let schedule = Event::Scheduled { schedule: "s".to_owned(), start_at, every_s };
            let fired = created.iter().zip(3..).flat_map(|(created, n)| {
                let end = Event::Ended {
                    task: n,
                    status: CANCELLED,
                    attempts: 0,
                    started: None,
                    ended: 9,
                    fence: None,
                };
                [firing(n, *created), end]
            });
            with(&std::iter::once(schedule).chain(fired).collect::<Vec<_>>())
        };
        let schedule = || "s".to_owned();
        assert_eq!(of(None, &[5_010]), []);
        assert_eq!(of(Some(60), &[5_010, 65_020]), []);
        assert_eq!(of(Some(60), &[5_010]), [Violation::NotFired { schedule: schedule(), instant: 65_000 }]);
        assert_eq!(of(None, &[]), [Violation::NotFired { schedule: schedule(), instant: start_at }]);
        let twice = [Violation::FiredTwice { schedule: schedule(), instant: start_at }];
        assert_eq!(of(None, &[5_010, 5_020]), twice);
        assert_eq!(of(Some(60), &[5_010, 5_900, 65_000]), twice);
        assert_eq!(of(None, &[4_999, 5_020]), [Violation::FiredEarly { schedule: schedule() }]);
    }

    #[test]
    fn tables_that_do_not_agree_are_told_of() {
        let problem = "a counter is off by 1".to_owned();
        let unsound = Event::Unsound { problem: problem.clone() };
        assert_eq!(with(&[unsound]), [Violation::Unsound { problem }]);
    }
}
