//! The same workers in Python: their parser must find the same.

use std::{path::PathBuf, process::Command};

use outcast::{forecast::parse, site::Site};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

/// How to run one of the Python workers.
pub(crate) fn command(file: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../outcast-python");
    vec!["python3".into(), folder.join(file)]
}

/// Reads pages with both parsers, all in one Python process, and compares.
fn compare(pages: &[Vec<u8>]) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..pages.len()).map(|nth| dir.path().join(nth.to_string())).collect();
    for (path, page) in paths.iter().zip(pages) {
        std::fs::write(path, page).unwrap();
    }
    let command = command("zone.py");
    let output = Command::new(&command[0]).args(&command[1..]).arg("--parse").args(&paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), pages.len());
    for (found, page) in found.iter().zip(pages) {
        let expected = match parse(page) {
            Ok(forecast) => serde_json::to_value(&forecast).unwrap(),
            Err(error) => json!({"error": error.to_string()}),
        };
        assert_eq!(*found, expected, "{}", String::from_utf8_lossy(page));
    }
}

#[test]
fn both_parsers_find_the_same_on_every_page() {
    // A winter evening and a summer morning; good pages and bad ones.
    for issued_at in ["2026-11-24T21:15:00Z", "2027-07-05T09:40:00Z"] {
        let site = Site::new(issued_at.parse().unwrap());
        let pages: Vec<_> = site.zones().iter().filter_map(|zone| site.page(&zone.id, 1)).collect();
        compare(&pages);
    }
}

#[test]
fn both_parsers_find_the_same_in_nonsense() {
    let words = prop::sample::select(vec![
        "SW",
        "N",
        "to",
        "to",
        "winds",
        "wind",
        "gales",
        "10",
        "15",
        "20-25",
        "1/4",
        "1/0",
        "2.5",
        "99999",
        "kt",
        "kt",
        "ft",
        "feet",
        "nm",
        "seconds",
        "becoming",
        "increasing",
        "then",
        "gusts",
        "with",
        "up",
        "or",
        "less",
        "than",
        "around",
        "Seas",
        "Waves",
        "combined",
        "swell",
        "wave",
        "detail:",
        "at",
        "and",
        "variable",
        "light",
        "vsby",
        "Rain",
        "late.",
        "kt.",
        "ft.",
        ".",
        "...",
        ", ",
        "\n",
        "\n.TUE...",
        "\n.",
        "\n...",
        "\n$$",
        "BAY,",
        "RI",
        "Wednesday",
    ]);
    let text = prop::collection::vec(words, 1..40).prop_map(|words| words.join(" "));
    let headline = prop::sample::select(vec![
        "",
        "...GALE WARNING...\n",
        "...STORM\nWATCH...TROPICAL STORM WATCH...\n",
        "...GALE\n\n",
        "text\n",
    ]);
    let ugc = prop::sample::select(vec![
        "ANZ230-",
        "ANZ230>233-",
        "ANZ230-251>253-AMZ001-",
        "ANZ230>2-",
        "ANZ232>230-",
        "ANZ230-x-",
    ]);
    let page = (text, headline, ugc, any::<bool>()).prop_map(|(text, headline, ugc, is_upper)| {
        let page = format!(
            "415 PM EST Tue Nov 24 2026\n{ugc}250515-\nBoston Harbor-\n\n{headline}.TONIGHT...S winds 5 kt {text}\n$$\n"
        );
        if is_upper { page.to_uppercase() } else { page }.into_bytes()
    });
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let pages: Vec<_> = (0..2000).map(|_| page.new_tree(&mut runner).unwrap().current()).collect();
    compare(&pages);
}
