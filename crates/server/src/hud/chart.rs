//! Charts as SVG: a pure function of numbers. Each bar says its numbers to whoever points at it, and a table says them
//! to whoever cannot see it.

use std::fmt::Write as _;

use windlass_model::time::Timestamp;

use super::show::count;

/// One kind of what a bar is stacked of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// What it is of, in words.
    pub(super) name: &'static str,
    /// Class of its colour.
    pub(super) class: &'static str,
}

/// Bars over time.
#[derive(Debug)]
pub(super) struct Bars<'a, const N: usize> {
    /// What the chart shows, in words.
    pub(super) what: &'a str,
    /// What each bar is stacked of, the lowest first.
    pub(super) parts: [Part; N],
    /// When each bar begins.
    pub(super) begins: &'a [Timestamp],
    /// What each bar is of, in the order of `parts`.
    pub(super) bars: &'a [[u64; N]],
    /// What else each bar says; empty: nothing.
    pub(super) notes: &'a [String],
    /// Height of the highest bar, where the chart is 960 wide.
    pub(super) height: u32,
    /// When the highest bar was as high: empty where it is a sum of all that happened.
    pub(super) most_when: &'a str,
    /// What is written below its end.
    pub(super) end: &'a str,
}

const WIDTH: f64 = 960.0;

/// The chart and its table.
pub(super) fn draw<const N: usize>(chart: &Bars<'_, N>) -> String {
    let height = f64::from(chart.height);
    let most = chart.bars.iter().map(|bar| bar.iter().sum::<u64>()).max().unwrap_or(0);
    let step = WIDTH / chart.bars.len().max(1) as f64;
    let what = chart.what;
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{what}\">",
        height + 16.0,
    );
    let mut table = String::new();
    for (at, (begin, bar)) in chart.begins.iter().zip(chart.bars).enumerate() {
        let time = clock(*begin);
        let x = at as f64 * step;
        let _ = write!(svg, "<g><title>{time} UTC: ");
        for (n, (number, part)) in bar.iter().zip(chart.parts).enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            let _ = write!(svg, "{comma}{} {}", count(*number), part.name);
        }
        if let Some(note) = chart.notes.get(at).filter(|note| !note.is_empty()) {
            let _ = write!(svg, ": {}", escaped(note));
        }
        let _ = write!(
            svg,
            "</title><rect class=\"back\" x=\"{x:.1}\" y=\"0\" width=\"{step:.1}\" height=\"{height}\"/>"
        );
        let mut y = height;
        for (&number, part) in bar.iter().zip(chart.parts).filter(|(number, _)| **number > 0) {
            // What is there must be seen, however little it is.
            let tall = (number as f64 / most as f64 * height).max(2.0);
            y = (y - tall).max(0.0);
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"/>",
                part.class,
                x + 0.5,
                step - 1.0
            );
        }
        svg.push_str("</g>");
        if bar.iter().any(|number| *number > 0) {
            let _ = write!(table, "<tr><th scope=\"row\">{time}</th>");
            bar.iter().for_each(|number| {
                let _ = write!(table, "<td>{number}</td>");
            });
            table.push_str("</tr>");
        }
    }
    let base = height + 13.0;
    let first = chart.begins.first().map_or(String::new(), |at| clock(*at));
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"{base}\">{first}</text><text x=\"{WIDTH}\" y=\"{base}\" text-anchor=\"end\">{}</text>\
         <text x=\"{}\" y=\"{base}\" text-anchor=\"middle\">at most {}{}</text></svg>",
        chart.end,
        WIDTH / 2.0,
        count(most),
        chart.most_when
    );
    let mut head = "<th scope=\"col\">Time, UTC</th>".to_owned();
    for part in chart.parts {
        let _ = write!(head, "<th scope=\"col\">{}</th>", part.name);
    }
    format!(
        "{svg}<div class=\"hidden\"><table><caption>{what}</caption><thead><tr>{head}</tr></thead><tbody>{table}</tbody></table></div>"
    )
}

/// Day and time of day, in UTC: `11-24 14:05`.
fn clock(at: Timestamp) -> String {
    at.to_string().get(5..16).unwrap_or_default().replace('T', " ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [Part; 2] =
        [Part { name: "failed", class: "failed" }, Part { name: "complete", class: "good" }];

    #[test]
    fn a_chart_says_its_numbers() {
        let begins = [0, 60, 120].map(Timestamp::from_secs);
        let notes = ["", "a <b> & c", ""].map(str::to_owned);
        let bars = [[0, 0], [7, 7_000], [1, 0]];
        let chart = Bars {
            what: "Ended",
            parts: PARTS,
            begins: &begins,
            bars: &bars,
            notes: &notes,
            height: 50,
            most_when: " at its end",
            end: "now",
        };
        let svg = draw(&chart);
        assert!(svg.contains(
            "<title>01-01 00:01 UTC: 7 failed, 7\u{202f}000 complete: a &lt;b&gt; &amp; c</title>"
        ));
        assert!(svg.contains("<th scope=\"row\">01-01 00:01</th><td>7</td><td>7000</td>"));
        assert!(svg.contains("height=\"2.0\""), "what is there is seen");
        assert_eq!((svg.matches("<g>").count(), svg.matches("<tr>").count()), (3, 3));
        let empty = draw(&Bars { bars: &[[0, 0]; 3], ..chart });
        assert!(!empty.contains("NaN") && empty.contains("at most 0 at its end<"), "{empty}");
    }
}
