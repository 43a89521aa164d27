//! Sea sentences: `Seas 3 to 5 ft, building to 5 to 8 ft after midnight`, and wave trains.

use super::{
    phrase::{Found, amount, direction, rest, steps, whole_amount, words},
    types::{Height, Range, Surface, Swell},
};

const FEET: [&str; 4] = ["ft", "feet", "foot", "feet."];
const SECONDS: [&str; 4] = ["second", "seconds", "sec", "s"];
const MILES: [&str; 4] = ["nm", "mile", "miles", "nautical"];

/// Reads a sentence about the height of the sea; `None` if it is about something else.
pub(super) fn sea(sentence: &str) -> Option<Vec<Height>> {
    let words = words(sentence);
    let (surface, skip) = match (words.first()?.as_str(), words.get(1).map_or("", String::as_str)) {
        ("seas", _) => (Surface::Seas, 1),
        ("combined", "seas") => (Surface::Seas, 2),
        ("waves", _) => (Surface::Waves, 1),
        ("wind", "waves") => (Surface::WindWaves, 2),
        _ => return None,
    };
    let mut heights: Vec<Height> = Vec::new();
    for step in steps(&words[skip..]) {
        match whole_amount(step, &FEET) {
            Some(Found { amount, start, end }) => {
                let when = rest(&[&step[..start], &step[end..]]);
                heights.push(Height { surface, height_ft: amount, when });
            }
            // "subsiding after midnight" says when, not what.
            None => {
                let last = heights.last_mut()?;
                let when: Vec<String> = last.when.take().into_iter().chain(rest(&[step])).collect();
                last.when = Some(when.join(" "));
            }
        }
    }
    (!heights.is_empty()).then_some(heights)
}

/// Reads `Wave Detail: SW 4 ft at 8 seconds and E 2 ft at 5 seconds`, or `NW swell 5 ft at 12 seconds`.
pub(super) fn swell(sentence: &str) -> Option<Vec<Swell>> {
    let words = words(sentence);
    let mut rest = words.strip_prefix(&["wave".to_owned(), "detail".to_owned()]).unwrap_or(&words);
    let mut trains = Vec::new();
    while !rest.is_empty() {
        let from = direction(&rest[0])?;
        rest = &rest[1..];
        rest = rest.strip_prefix(&["swell".to_owned()]).unwrap_or(rest);
        let height = whole_amount(rest, &FEET).filter(|height| height.start == 0)?;
        rest = &rest[height.end..];
        let period = whole_amount(rest, &SECONDS).filter(|period| period.start == 1 && rest[0] == "at")?;
        rest = &rest[period.end..];
        rest = rest.strip_prefix(&["and".to_owned()]).unwrap_or(rest);
        trains.push(Swell { from, height_ft: height.amount, period_s: period.amount.max });
    }
    (!trains.is_empty()).then_some(trains)
}

/// The visibility a sentence mentions, and whether it is about nothing else.
pub(super) fn visibility(sentence: &str) -> Option<(Range<f64>, bool)> {
    let words = words(sentence);
    let at = words.iter().position(|word| matches!(word.as_str(), "vsby" | "visibility" | "visibilities"))?;
    Some((amount(&words[at..], &MILES)?.amount, at == 0))
}
