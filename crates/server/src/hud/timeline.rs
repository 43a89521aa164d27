//! The attempts of a task along time, as SVG: a pure function. What it shows is also in the table below it.

use std::fmt::Write as _;
use std::time::Duration;

use windlass_model::time::Timestamp;

use super::show::span;

/// A stretch of time.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// Which attempt.
    pub(super) n: u32,
    /// A class for its colour, such as `error`.
    pub(super) class: &'static str,
    /// What it came to, free of markup.
    pub(super) words: String,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

const WIDTH: f64 = 960.0;
const TOP: f64 = 4.0;
const HEIGHT: f64 = 18.0;

/// What is there must be seen, however short it was.
const NARROWEST: f64 = 4.0;

/// The attempts between `from`, when the task was queued, and `to`.
pub(super) fn timeline(from: Timestamp, to: Timestamp, attempts: &[Stretch]) -> String {
    let whole = to.since(from).max(Duration::from_millis(1));
    let at = |time: Timestamp| time.since(from).as_secs_f64() / whole.as_secs_f64() * WIDTH;
    let base = TOP + HEIGHT + 15.0;
    let mut svg = format!(
        "<svg class=\"timeline\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{} over {}\">\
         <rect class=\"track\" x=\"0\" y=\"{TOP}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"4\"/>",
        base + 4.0,
        if attempts.len() == 1 { "One attempt".to_owned() } else { format!("{} attempts", attempts.len()) },
        span(whole)
    );
    for attempt in attempts {
        let width = (at(attempt.to) - at(attempt.from)).clamp(NARROWEST, WIDTH);
        let x = at(attempt.from).min(WIDTH - width).max(0.0);
        let Stretch { n, class, words, .. } = attempt;
        let (after, took) = (span(attempt.from.since(from)), span(attempt.to.since(attempt.from)));
        let _ = write!(
            svg,
            "<g class=\"is-{class}\"><title>Attempt {n}: {words}, {took}, {after} after it was queued</title>\
             <rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{HEIGHT}\" rx=\"2\"/>"
        );
        if width > 24.0 {
            let middle = x + width / 2.0;
            let _ = write!(
                svg,
                "<text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">{n}</text>",
                TOP + HEIGHT - 5.0
            );
        }
        svg.push_str("</g>");
    }
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"{base}\">queued</text><text x=\"{WIDTH}\" y=\"{base}\" text-anchor=\"end\">{} later</text></svg>",
        span(whole)
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(n: u32, from: i64, to: i64) -> Stretch {
        let (from, to) = (Timestamp::from_millis(from), Timestamp::from_millis(to));
        Stretch { n, class: "error", words: "exit 3".to_owned(), from, to }
    }

    #[test]
    fn attempts_are_where_they_were() {
        let svg = timeline(
            Timestamp::from_millis(1_000),
            Timestamp::from_millis(11_000),
            &[attempt(1, 2_000, 3_000), attempt(2, 8_000, 11_000)],
        );
        assert!(svg.contains("x=\"96.0\" y=\"4\" width=\"96.0\"") && svg.contains("x=\"672.0\""), "{svg}");
        assert!(svg.contains("Attempt 2: exit 3, 3.00 s, 7.00 s after it was queued"), "{svg}");
        assert!(svg.contains("10.0 s later") && svg.contains("2 attempts over"), "{svg}");
    }

    #[test]
    fn nothing_leaves_the_picture() {
        let now = Timestamp::from_millis(5);
        let svg = timeline(now, now, &[attempt(1, 5, 5), attempt(2, 0, 90_000)]);
        assert!(!svg.contains("NaN") && !svg.contains("x=\"-") && svg.contains("width=\"4.0\""), "{svg}");
    }
}
