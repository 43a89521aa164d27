//! Finds warnings, watches and advisories in headlines.

use super::types::{Hazard, Phenomenon, Significance};

use Phenomenon::{
    BriskWind, DenseFog, DenseSmoke, FreezingSpray, Gale, HazardousSeas, HeavyFreezingSpray, Hurricane,
    HurricaneForceWind, LowWater, RoughBar, SmallCraft, Storm, TropicalStorm,
};

/// Longer phrases first: a tropical storm warning is not also a storm warning.
const PHENOMENA: [(&[&str], Phenomenon); 15] = [
    (&["HURRICANE", "FORCE", "WIND"], HurricaneForceWind),
    (&["HEAVY", "FREEZING", "SPRAY"], HeavyFreezingSpray),
    (&["FREEZING", "SPRAY"], FreezingSpray),
    (&["TROPICAL", "STORM"], TropicalStorm),
    (&["SMALL", "CRAFT"], SmallCraft),
    (&["HAZARDOUS", "SEAS"], HazardousSeas),
    (&["HAZARDOUS", "SEA"], HazardousSeas),
    (&["BRISK", "WIND"], BriskWind),
    (&["DENSE", "FOG"], DenseFog),
    (&["DENSE", "SMOKE"], DenseSmoke),
    (&["ROUGH", "BAR"], RoughBar),
    (&["LOW", "WATER"], LowWater),
    (&["HURRICANE"], Hurricane),
    (&["STORM"], Storm),
    (&["GALE"], Gale),
];

/// The hazards one headline (in upper case) names, in its order.
pub(super) fn hazards_in(headline: &str) -> Vec<Hazard> {
    let words: Vec<&str> = headline.split([' ', ',', '.']).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if let Some((hazard, length)) = hazard_at(&words[at..]) {
            found.push(hazard);
            at += length;
        } else {
            at += 1;
        }
    }
    found
}

fn hazard_at(words: &[&str]) -> Option<(Hazard, usize)> {
    PHENOMENA.iter().find_map(|(phrase, phenomenon)| {
        if !words.starts_with(phrase) {
            return None;
        }
        let significance = match *words.get(phrase.len())? {
            "WARNING" => Significance::Warning,
            "ADVISORY" => Significance::Advisory,
            "WATCH" => Significance::Watch,
            _ => return None,
        };
        Some((Hazard { phenomenon: *phenomenon, significance }, phrase.len() + 1))
    })
}
