//! The text of one period: which sentence is about what.

use super::{
    casing::sentence_case,
    sea::{sea, swell, visibility},
    types::{Period, Range},
    wind::{gusts, wind},
};

/// Reads a period's text, its lines already joined. Whatever is not understood is kept as weather.
pub(super) fn period(name: &str, text: &str, is_upper: bool) -> Period {
    let mut period = Period {
        name: name.to_uppercase(),
        wind: Vec::new(),
        sea: Vec::new(),
        swell: Vec::new(),
        visibility_nm: None,
        weather: Vec::new(),
    };
    for sentence in sentences(text) {
        if let Some(wind) = wind(&sentence) {
            period.wind.extend(wind);
        } else if let Some(sea) = sea(&sentence) {
            period.sea.extend(sea);
        } else if let Some(swell) = swell(&sentence) {
            period.swell.extend(swell);
        } else if let Some(gusts) = gusts(&sentence).filter(|_| !period.wind.is_empty()) {
            if let Some(last) = period.wind.last_mut() {
                last.gusts = Some(gusts);
            }
        } else {
            let mut is_weather = true;
            if let Some((seen, is_alone)) = visibility(&sentence) {
                period.visibility_nm = Some(lower(period.visibility_nm, seen));
                is_weather = !is_alone;
            }
            if is_weather {
                period.weather.push(if is_upper { sentence_case(&sentence) } else { sentence });
            }
        }
    }
    period
}

/// Splits text at full stops that end a word. Three in a row are a comma: so pages were written by teletype.
pub(super) fn sentences(text: &str) -> Vec<String> {
    let text = text.replace("...", ", ");
    let mut sentences = Vec::new();
    for sentence in format!("{text} ").split(". ") {
        let words: Vec<&str> = sentence.split_whitespace().collect();
        let sentence = words.join(" ");
        let sentence = sentence.trim_matches([',', ' ']);
        if !sentence.is_empty() {
            sentences.push(sentence.to_owned());
        }
    }
    sentences
}

fn lower(old: Option<Range<f64>>, new: Range<f64>) -> Range<f64> {
    old.filter(|old| (old.min, old.max) <= (new.min, new.max)).unwrap_or(new)
}
