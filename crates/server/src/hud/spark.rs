//! A line of values, as small as a word: a pure function of numbers.

use std::fmt::Write as _;

const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 20.0;
const MARGIN: f64 = 2.0;

/// The values along a line, with gaps where there is none; `words` say what they are to whoever points at them or
/// cannot see them, free of markup. Empty if there is no value at all.
pub(super) fn spark(values: &[Option<f64>], words: &str) -> String {
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    if values.iter().all(Option::is_none) {
        return String::new();
    }
    let step = (WIDTH - 2.0 * MARGIN) / (values.len().max(2) - 1) as f64;
    let height = |value: f64| {
        let share = if most > 0.0 { value / most } else { 0.0 };
        HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN)
    };
    let mut svg = format!(
        "<svg class=\"spark\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{words}\"><title>{words}</title>"
    );
    let (mut path, mut is_drawing) = (String::new(), false);
    for (at, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let (x, y) = (MARGIN + at as f64 * step, height(*value));
        // A value between gaps is a dot: a line of no length with round ends.
        let verb = if is_drawing { "L" } else { "M" };
        let _ = write!(path, "{verb}{x:.1} {y:.1}");
        if !is_drawing {
            path.push_str("h0");
        }
        is_drawing = true;
    }
    let _ = write!(svg, "<path d=\"{path}\"/></svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_along_a_line_with_gaps() {
        let svg = spark(&[Some(1.0), Some(2.0), None, Some(0.0)], "run time");
        assert!(svg.contains("d=\"M2.0 10.0h0L32.7 2.0M94.0 18.0h0\""), "{svg}");
        assert!(svg.contains("<title>run time</title>"));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(spark(&[None, None], ""), "");
        assert!(!spark(&[Some(0.0)], "").contains("NaN"));
    }
}
