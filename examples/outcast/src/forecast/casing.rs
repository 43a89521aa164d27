//! Gives text in upper case its lower case back, so that old pages and new ones read the same.

/// Words that stay small within a name.
const SMALL: [&str; 12] = ["and", "at", "de", "from", "in", "near", "of", "off", "or", "out", "the", "to"];
/// Words that are written in capitals within a name: the nautical mile and the states ashore.
const CAPITALS: [&str; 25] = [
    "AK", "AL", "CA", "CT", "DC", "DE", "FL", "GA", "IL", "MA", "MD", "MI", "MN", "MS", "NC", "NJ", "NM",
    "NY", "OH", "RI", "SC", "TX", "VA", "WA", "WI",
];
/// Words that keep their capital within a sentence.
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A zone's name from upper case: `LYNN TO CAPE ANN OUT 20 NM` is `Lynn to Cape Ann out 20 NM`.
pub(crate) fn title_case(upper: &str) -> String {
    let mut title = String::with_capacity(upper.len());
    for word in upper.split_inclusive([' ', '-', '/']) {
        let bare = word.trim_end_matches([' ', '-', '/', ',']);
        let lower = word.to_lowercase();
        let is_first = title.is_empty();
        if CAPITALS.contains(&bare) && !(bare == "DE" && word.ends_with(' ')) {
            title.push_str(word);
        } else if SMALL.contains(&bare.to_lowercase().as_str()) && !is_first {
            title.push_str(&lower);
        } else {
            title.push_str(&capitalised(&lower));
        }
    }
    title
}

/// A sentence from upper case: `RAIN UNTIL TUESDAY` is `Rain until Tuesday`.
pub(crate) fn sentence_case(upper: &str) -> String {
    let words: Vec<String> = upper
        .split(' ')
        .map(|word| {
            let lower = word.to_lowercase();
            if DAYS.contains(&lower.trim_end_matches([',', '.'])) { capitalised(&lower) } else { lower }
        })
        .collect();
    capitalised(&words.join(" "))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
