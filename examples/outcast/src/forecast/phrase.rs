//! The words of a wind or sea sentence, the steps they form, and the amounts in them.

use super::types::{Direction, Range};

/// Words that begin what a wind or sea becomes.
const CHANGES: [&str; 14] = [
    "becoming",
    "increasing",
    "diminishing",
    "decreasing",
    "easing",
    "rising",
    "building",
    "subsiding",
    "shifting",
    "veering",
    "backing",
    "turning",
    "falling",
    "then",
];

const DIRECTIONS: [(&str, Direction); 24] = [
    ("n", Direction::N),
    ("nne", Direction::NNE),
    ("ne", Direction::NE),
    ("ene", Direction::ENE),
    ("e", Direction::E),
    ("ese", Direction::ESE),
    ("se", Direction::SE),
    ("sse", Direction::SSE),
    ("s", Direction::S),
    ("ssw", Direction::SSW),
    ("sw", Direction::SW),
    ("wsw", Direction::WSW),
    ("w", Direction::W),
    ("wnw", Direction::WNW),
    ("nw", Direction::NW),
    ("nnw", Direction::NNW),
    ("north", Direction::N),
    ("northeast", Direction::NE),
    ("east", Direction::E),
    ("southeast", Direction::SE),
    ("south", Direction::S),
    ("southwest", Direction::SW),
    ("west", Direction::W),
    ("northwest", Direction::NW),
];

/// The words of a sentence in lower case, commas and colons dropped.
pub(super) fn words(sentence: &str) -> Vec<String> {
    sentence
        .split_whitespace()
        .map(|word| word.trim_matches([',', ';', ':']).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// Splits a sentence where the wind or sea changes. Each step has lost the words that announce the change.
pub(super) fn steps(words: &[String]) -> Vec<&[String]> {
    let mut steps = Vec::new();
    for (nth, step) in words.split(|word| CHANGES.contains(&word.as_str())).enumerate() {
        let step = step.strip_suffix(&["and".to_owned()]).unwrap_or(step);
        // "winds to 25 kt" bounds the wind, "increasing to 25 kt" does not.
        let step = step.strip_prefix(&["to".to_owned()]).filter(|_| nth > 0).unwrap_or(step);
        if !step.is_empty() {
            steps.push(step);
        }
    }
    steps
}

/// The direction a word names, written out or abbreviated.
pub(super) fn direction(word: &str) -> Option<Direction> {
    DIRECTIONS.iter().find(|(name, _)| *name == word).map(|(_, direction)| *direction)
}

/// An amount found among words, and the words it takes.
pub(super) struct Found<T> {
    pub(super) amount: Range<T>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The first amount in one of `units`: `5 to 10 kt`, `2 ft or less`, `less than 10 kt`, `to 25 kt`, `around 4 ft`.
pub(super) fn amount(words: &[String], units: &[&str]) -> Option<Found<f64>> {
    (0..words.len()).find_map(|at| amount_at(words, at, units))
}

/// As [`amount`], of whole numbers.
pub(super) fn whole_amount(words: &[String], units: &[&str]) -> Option<Found<u16>> {
    let Found { amount, start, end } = amount(words, units)?;
    Some(Found { amount: Range { min: whole(amount.min)?, max: whole(amount.max)? }, start, end })
}

fn amount_at(words: &[String], at: usize, units: &[&str]) -> Option<Found<f64>> {
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let (first, second, unit_at) = if let Some((first, second)) = word(at).split_once('-') {
        (number(first)?, Some(number(second)?), at + 1)
    } else {
        let joined = matches!(word(at + 1), "to" | "or" | "and").then(|| number(word(at + 2))).flatten();
        (number(word(at))?, joined, if joined.is_some() { at + 3 } else { at + 1 })
    };
    if !units.contains(&word(unit_at)) {
        return None;
    }
    let (mut min, max) = (first, second.unwrap_or(first));
    let (mut start, mut end) = (at, unit_at + 1);
    if word(end) == "or" && word(end + 1) == "less" {
        min = 0.0;
        end += 2;
    }
    // What stands before the number says whether it is a bound or a middle.
    let before = |back: usize| at.checked_sub(back).map_or("", word);
    let (words_before, is_bound) = match (before(2), before(1)) {
        ("less", "than") | ("up", "to") => (2, true),
        (_, "to") => (1, true),
        (_, "around" | "near" | "about") => (1, false),
        _ => (0, false),
    };
    start -= words_before;
    if is_bound && second.is_none() {
        min = 0.0;
    }
    (min <= max).then_some(Found { amount: Range { min, max }, start, end })
}

/// A number of at most four digits, or a fraction such as `1/4`.
fn number(word: &str) -> Option<f64> {
    let digits = |text: &str| {
        let is_short = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_short { text.parse::<u16>().ok() } else { None }
    };
    match word.split_once('/') {
        None => digits(word).map(f64::from),
        Some((above, below)) => {
            let below = digits(below).filter(|below| *below > 0)?;
            Some(f64::from(digits(above)?) / f64::from(below))
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked in the same line")]
fn whole(number: f64) -> Option<u16> {
    (number.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&number)).then_some(number as u16)
}

/// Words as text again; `None` if there are none.
pub(super) fn rest(words: &[&[String]]) -> Option<String> {
    let text = words.concat().join(" ");
    (!text.is_empty()).then_some(text)
}
