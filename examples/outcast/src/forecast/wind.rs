//! Wind sentences: `SW winds 10 to 15 kt with gusts up to 25 kt, becoming W after midnight`.

use super::{
    phrase::{Found, direction, rest, steps, whole_amount, words},
    types::{Direction, Gust, Range, Wind},
};

const KNOTS: [&str; 4] = ["kt", "kts", "knots", "knot"];
/// Words that say that this is about wind, and nothing else that the speed does not say.
const NOUNS: [&str; 4] = ["wind", "winds", "gales", "gale"];
const FILLERS: [&str; 8] = ["the", "from", "mainly", "mostly", "storm", "hurricane", "force", "light"];

/// Reads a sentence about wind; `None` if it is about something else.
pub(super) fn wind(sentence: &str) -> Option<Vec<Wind>> {
    let words = words(sentence);
    let is_light = words.starts_with(&["light".into(), "and".into(), "variable".into()]);
    if !is_light && !words.iter().take(6).any(|word| NOUNS.contains(&word.as_str())) {
        return None;
    }
    let mut winds: Vec<Wind> = Vec::new();
    for words in steps(&words) {
        let step = Step::read(words);
        match winds.last_mut() {
            None => {
                let from = step.from?;
                if step.speed_kt.is_none() && !from.is_empty() {
                    // "Southwest winds aloft" tells no wind at the surface.
                    return None;
                }
                winds.push(Wind { from, speed_kt: step.speed_kt, gusts: step.gusts, when: step.when });
            }
            // "diminishing after midnight" says when, not what.
            Some(last) if step.from.is_none() && step.speed_kt.is_none() => {
                last.gusts = step.gusts.or(last.gusts.take());
                last.when = match (last.when.take(), step.when) {
                    (Some(a), Some(b)) => Some(format!("{a} {b}")),
                    (a, b) => a.or(b),
                };
            }
            // What a change does not mention stays as it was.
            Some(last) => {
                let next = Wind {
                    from: step.from.unwrap_or_else(|| last.from.clone()),
                    // "becoming light and variable" gives up the speed with the direction.
                    speed_kt: step.speed_kt.or(last.speed_kt.filter(|_| !step.is_light)),
                    gusts: step.gusts,
                    when: step.when,
                };
                winds.push(next);
            }
        }
    }
    Some(winds)
}

/// Reads a sentence of its own about gusts, `Gusts up to 30 kt in the evening`.
pub(super) fn gusts(sentence: &str) -> Option<Gust> {
    let words = words(sentence);
    if !words.first().is_some_and(|word| is_gust(word)) {
        return None;
    }
    let Found { amount, start, end } = whole_amount(&words, &KNOTS)?;
    Some(Gust { max_kt: amount.max, when: rest(&[&words[1..start.max(1)], &words[end..]]) })
}

struct Step {
    from: Option<Vec<Direction>>,
    speed_kt: Option<Range<u16>>,
    gusts: Option<Gust>,
    when: Option<String>,
    is_light: bool,
}

impl Step {
    fn read(words: &[String]) -> Self {
        let is_light = words.iter().any(|word| word == "light");
        let (words, after, gusts) = split_gusts(words);
        let (from, at) = leading_directions(words);
        let words = &words[at..];
        let (speed_kt, when) = match whole_amount(words, &KNOTS) {
            Some(Found { amount, start, end }) => {
                (Some(amount), rest(&[&words[..start], &words[end..], after]))
            }
            None => (None, rest(&[words, after])),
        };
        Self { from, speed_kt, gusts, when, is_light }
    }
}

/// Cuts `with gusts up to 30 kt` out: what stands before, what stands after, and the gusts.
fn split_gusts(words: &[String]) -> (&[String], &[String], Option<Gust>) {
    let found = words.iter().position(|word| is_gust(word)).and_then(|at| {
        let Found { amount, end, .. } = whole_amount(&words[at..], &KNOTS)?;
        let start = if at > 0 && matches!(words[at - 1].as_str(), "with" | "and") { at - 1 } else { at };
        Some((start, at + end, amount.max))
    });
    match found {
        Some((start, end, max_kt)) => (&words[..start], &words[end..], Some(Gust { max_kt, when: None })),
        None => (words, &[], None),
    }
}

/// The directions a step begins with, and the place of the first word after them and their noun.
fn leading_directions(words: &[String]) -> (Option<Vec<Direction>>, usize) {
    let is_filler = |word: &str| FILLERS.contains(&word) || NOUNS.contains(&word);
    let (mut from, mut is_variable, mut at, mut end) = (Vec::new(), false, 0, 0);
    while let Some(word) = words.get(at) {
        let is_joint = matches!(word.as_str(), "to" | "and" | "or");
        let next = words.get(at + 1).map_or("", String::as_str);
        if let Some(direction) = direction(word) {
            from.push(direction);
        } else if word == "variable" {
            is_variable = true;
        } else if is_joint && (direction(next).is_some() || next == "variable") {
            // The next round reads what it joins.
        } else if !is_filler(word) {
            // So is "to" here: it belongs to the amount, as in "winds to 30 knots".
            break;
        }
        at += 1;
        end = at;
    }
    if is_variable {
        from.clear();
    }
    ((is_variable || !from.is_empty()).then_some(from), end)
}

fn is_gust(word: &str) -> bool {
    matches!(word, "gust" | "gusts" | "gusting")
}
