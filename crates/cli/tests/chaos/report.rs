//! How long the service was below its rate after each fault.

use std::fmt::Write as _;

use crate::history::Event;

/// Tasks are counted in windows of this length …
const WINDOW_MS: i64 = 2_000;
/// … that begin this far apart.
const STEP_MS: i64 = 100;
/// What the first seconds of the run are left out of the usual rate for.
const START_MS: i64 = 2_000;

/// What came of a fault.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recovery {
    /// Which.
    pub(crate) what: String,
    /// When it began, in milliseconds since the beginning of the run.
    pub(crate) began_ms: i64,
    /// From its beginning until it was healed.
    pub(crate) lasted_ms: i64,
    /// From its beginning until 95 % of the usual rate was reached again, before the next fault began; 0 if the rate
    /// never fell below that.
    pub(crate) recovered_after_ms: Option<i64>,
}

/// The usual rate in tasks a second, and what came of each fault. The usual rate is that before the first one.
pub(crate) fn recoveries(history: &[Event]) -> (f64, Vec<Recovery>) {
    let mut ends: Vec<i64> = history.iter().filter_map(ended).collect();
    ends.sort_unstable();
    let count =
        |from: i64, to: i64| ends.partition_point(|at| *at < to) - ends.partition_point(|at| *at < from);
    let begun = history.iter().find_map(|event| match event {
        Event::Began { at, .. } => Some(*at),
        _ => None,
    });
    let faults: Vec<(usize, i64, &str)> = history
        .iter()
        .enumerate()
        .filter_map(|(n, event)| match event {
            Event::Fault { at, what } => Some((n, *at, what.as_str())),
            _ => None,
        })
        .collect();
    let (Some(begun), Some(first)) = (begun, faults.first()) else { return (0.0, Vec::new()) };
    let usual_from = begun + START_MS;
    let per_ms = count(usual_from, first.1) as f64 / (first.1 - usual_from).max(1) as f64;
    let enough = per_ms * WINDOW_MS as f64 * 0.95;
    let is_enough = |from: i64| count(from, from + WINDOW_MS) as f64 >= enough;
    let calm = history.iter().find_map(|event| match event {
        Event::Calm { at } => Some(*at),
        _ => None,
    });
    let all = faults.iter().enumerate().map(|(n, (place, at, what))| {
        let next = faults.get(n + 1).map(|(_, at, _)| *at).or(calm).unwrap_or(i64::MAX / 2);
        let healed = history[*place..].iter().find_map(|event| match event {
            Event::Healed { at } => Some(*at),
            _ => None,
        });
        let windows = (*at..=(next - WINDOW_MS).max(*at)).step_by(STEP_MS as usize);
        let mut below = windows.skip_while(|from| is_enough(*from));
        let recovered_after_ms = match below.next() {
            None => Some(0),
            Some(_) => below.find(|from| is_enough(*from)).map(|from| from - at),
        };
        let lasted_ms = healed.unwrap_or(next) - at;
        Recovery { what: (*what).to_owned(), began_ms: at - begun, lasted_ms, recovered_after_ms }
    });
    (per_ms * 1000.0, all.collect())
}

fn ended(event: &Event) -> Option<i64> {
    match event {
        Event::Ended { ended, .. } => Some(*ended),
        _ => None,
    }
}

/// The recoveries as a table, the worst of each kind last.
pub(crate) fn table(rate: f64, recoveries: &[Recovery]) -> String {
    let seconds = |ms: i64| format!("{:.1} s", ms as f64 / 1000.0);
    let mut text = format!("usual rate: {rate:.1} tasks/s\n  begins    lasts   95 % after  fault\n");
    for recovery in recoveries {
        let after = recovery.recovered_after_ms.map_or_else(|| "not before the next".to_owned(), seconds);
        let (began, lasted) = (seconds(recovery.began_ms), seconds(recovery.lasted_ms));
        let _ = writeln!(text, "{began:>8} {lasted:>8} {after:>12}  {}", recovery.what);
    }
    let known: Vec<i64> = recoveries.iter().filter_map(|r| r.recovered_after_ms).collect();
    let soon = known.iter().filter(|ms| **ms <= 5_000).count();
    let _ = writeln!(text, "within 5 s: {soon} of {}", recoveries.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task ends every 100 ms for 40 s, except in `silence`.
    fn with_silence(silence: std::ops::Range<i64>) -> Vec<Event> {
        let ends = (0..400).map(|n| n * 100).filter(|at| !silence.contains(at));
        let ended =
            |at| Event::Ended { task: at, status: 3, attempts: 1, started: Some(at), ended: at, fence: None };
        let mut history: Vec<Event> = ends.map(ended).collect();
        history.push(Event::Began { at: 0, seed: 1 });
        history.push(Event::Fault { at: 10_000, what: "x".to_owned() });
        history.push(Event::Healed { at: 13_000 });
        history.push(Event::Calm { at: 35_000 });
        history
    }

    fn recovered(silence: std::ops::Range<i64>) -> Option<i64> {
        let (rate, recoveries) = recoveries(&with_silence(silence));
        assert!((rate - 10.0).abs() < 0.1, "{rate}");
        assert_eq!((recoveries.len(), recoveries[0].lasted_ms), (1, 3_000));
        recoveries[0].recovered_after_ms
    }

    #[test]
    fn a_rate_that_never_fell_has_recovered_at_once() {
        assert_eq!(recovered(0..0), Some(0));
    }

    #[test]
    fn the_time_is_from_the_fault_to_the_first_full_window() {
        let after = recovered(11_000..16_000).unwrap();
        assert!((5_900..=6_000).contains(&after), "{after}");
    }

    #[test]
    fn a_rate_that_stays_away_has_not_recovered() {
        assert_eq!(recovered(11_000..40_000), None);
    }
}
