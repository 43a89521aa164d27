//! Charts as SVG: a pure function of numbers. Each bar says its numbers to whoever points at it, and a table says them
//! to whoever cannot see it.

use std::fmt::Write as _;
use std::time::Duration;

use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::usage::Grain;
use windlass_store::usage::Rollup;

use super::show::{count, is_failure};

/// What a chart reaches over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    Hour,
    Day,
    Week,
}

impl Range {
    pub(super) const ALL: [Range; 3] = [Range::Hour, Range::Day, Range::Week];

    /// Its name in the address.
    pub(super) fn name(self) -> &'static str {
        match self {
            Range::Hour => "hour",
            Range::Day => "day",
            Range::Week => "week",
        }
    }

    /// The range that the address names; the last hour if it names none.
    pub(super) fn named(name: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|range| Some(range.name()) == name).unwrap_or(Range::Hour)
    }

    /// How fine the sums are that its bars are made of.
    pub(super) fn grain(self) -> Grain {
        match self {
            Range::Hour => Grain::Minute,
            Range::Day | Range::Week => Grain::Quarter,
        }
    }

    /// How many bars it has and what each stands for.
    fn bars(self) -> (usize, Duration) {
        const MINUTE: u64 = 60;
        match self {
            Range::Hour => (60, Duration::from_secs(MINUTE)),
            Range::Day => (96, Duration::from_secs(15 * MINUTE)),
            Range::Week => (84, Duration::from_secs(120 * MINUTE)),
        }
    }

    /// When its first bar begins, so that the last one holds `now`.
    pub(super) fn begin(self, now: Timestamp) -> Timestamp {
        let (bars, width) = self.bars();
        let width_ms = width.as_millis() as i64;
        let last = now.as_millis().div_euclid(width_ms) * width_ms;
        Timestamp::from_millis(last - (bars as i64 - 1) * width_ms)
    }
}

/// A bar: what ended well and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bar {
    good: u64,
    failed: u64,
    other: u64,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 96.0;

/// What ended over the range, as stacked bars.
pub(super) fn ended(range: Range, minutes: &[(Timestamp, Rollup)], now: Timestamp) -> String {
    let (bars, begin) = (bars(range, minutes, now), range.begin(now));
    let (_, width) = range.bars();
    let most = bars.iter().map(|b| b.good + b.failed + b.other).max().unwrap_or(0).max(1);
    let step = WIDTH / bars.len() as f64;
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Tasks that ended in the last {}\">",
        HEIGHT + 16.0,
        range.name()
    );
    let mut table = String::new();
    for (at, bar) in bars.iter().enumerate() {
        let time = begin + width * at as u32;
        let words = format!(
            "{}: {} complete, {} failed, {} cancelled",
            clock(time),
            count(bar.good),
            count(bar.failed),
            count(bar.other)
        );
        let x = at as f64 * step;
        let _ = write!(
            svg,
            "<g><title>{words}</title><rect class=\"back\" x=\"{x:.1}\" y=\"0\" width=\"{step:.1}\" height=\"{HEIGHT}\"/>"
        );
        let mut y = HEIGHT;
        for (n, class) in [(bar.failed, "failed"), (bar.other, "other"), (bar.good, "good")] {
            if n == 0 {
                continue;
            }
            // What is there must be seen, however little it is.
            let height = (n as f64 / most as f64 * HEIGHT).max(2.0);
            y = (y - height).max(0.0);
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                x + 0.5,
                step - 1.0
            );
        }
        svg.push_str("</g>");
        if *bar != Bar::default() {
            let _ = write!(
                table,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
                clock(time),
                bar.good,
                bar.failed,
                bar.other
            );
        }
    }
    let (first, last) = (clock(begin), "now");
    let base = HEIGHT + 13.0;
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"{base}\">{first}</text><text x=\"{WIDTH}\" y=\"{base}\" text-anchor=\"end\">{last}</text>\
         <text x=\"{}\" y=\"{base}\" text-anchor=\"middle\">{} at most in a bar</text></svg>",
        WIDTH / 2.0,
        count(if bars.iter().all(|b| *b == Bar::default()) { 0 } else { most })
    );
    let head = "<thead><tr><th scope=\"col\">Time, UTC</th><th scope=\"col\">complete</th><th scope=\"col\">failed</th><th scope=\"col\">cancelled</th></tr></thead>";
    format!(
        "{svg}<div class=\"hidden\"><table><caption>Tasks that ended in the last {}</caption>{head}<tbody>{table}</tbody></table></div>",
        range.name()
    )
}

fn bars(range: Range, minutes: &[(Timestamp, Rollup)], now: Timestamp) -> Vec<Bar> {
    let (n, width) = range.bars();
    let begin = range.begin(now);
    let mut bars = vec![Bar::default(); n];
    for (at, rollup) in minutes {
        let index = (at.as_millis() - begin.as_millis()).div_euclid(width.as_millis() as i64);
        let Some(bar) = usize::try_from(index).ok().and_then(|index| bars.get_mut(index)) else { continue };
        for status in Status::ALL {
            let n = rollup.ended.get(status);
            match status {
                Status::Complete => bar.good += n,
                status if is_failure(status) => bar.failed += n,
                _ => bar.other += n,
            }
        }
    }
    bars
}

/// Day and time of day, in UTC: `11-24 14:05`.
fn clock(at: Timestamp) -> String {
    at.to_string().get(5..16).unwrap_or_default().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollup(status: Status, n: u64) -> Rollup {
        let mut rollup = Rollup::default();
        (0..n).for_each(|_| rollup.task(status));
        rollup
    }

    #[test]
    fn minutes_fall_into_their_bars() {
        let now = Timestamp::from_secs(100 * 86_400 + 3_725);
        let minutes = [
            (Timestamp::from_secs(100 * 86_400 + 3_720), rollup(Status::Complete, 3)),
            (Timestamp::from_secs(100 * 86_400 + 3_660), rollup(Status::Timeout, 2)),
            (Timestamp::from_secs(99 * 86_400), rollup(Status::Cancelled, 1)),
        ];
        let hour = bars(Range::Hour, &minutes, now);
        assert_eq!((hour[59].good, hour[58].failed, hour.len()), (3, 2, 60));
        assert_eq!(hour.iter().map(|b| b.other).sum::<u64>(), 0, "it is older than the hour");
        let week = bars(Range::Week, &minutes, now);
        assert_eq!((week[83].good, week[83].failed, week.iter().map(|b| b.other).sum::<u64>()), (3, 2, 1));
    }

    #[test]
    fn a_chart_says_its_numbers() {
        let now = Timestamp::from_secs(3_600 * 24 * 20_000 + 30);
        let svg =
            ended(Range::Hour, &[(Timestamp::from_secs(3_600 * 24 * 20_000), rollup(Status::Error, 7))], now);
        assert!(svg.contains("0 complete, 7 failed, 0 cancelled") && svg.contains("<td>7</td>"));
        assert!(svg.contains("height=\"96.0\""), "the highest bar fills the chart");
        assert_eq!(svg.matches("<g>").count(), 60);
        assert!(!ended(Range::Day, &[], now).contains("NaN"));
    }
}
