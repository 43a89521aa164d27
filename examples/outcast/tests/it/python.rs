//! The same workers in Python: their parser must find the same.

use std::{path::PathBuf, process::Command};

use outcast::{forecast::parse, site::Site};

/// How to run one of the Python workers.
pub(crate) fn command(file: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../outcast-python");
    vec!["python3".into(), folder.join(file)]
}

#[test]
fn both_parsers_find_the_same_on_every_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    let mut pages: Vec<PathBuf> = Vec::new();
    // A winter evening and a summer morning; good pages and bad ones.
    for issued_at in ["2026-11-24T21:15:00Z", "2027-07-05T09:40:00Z"] {
        let site = Site::new(issued_at.parse().unwrap());
        for zone in site.zones() {
            let Some(page) = site.page(&zone.id, 1) else { continue };
            let path = dir.path().join(format!("{}-{}.txt", zone.id, pages.len()));
            std::fs::write(&path, &page).unwrap();
            pages.push(path);
            expected.push(match parse(&page) {
                Ok(forecast) => serde_json::to_value(&forecast).unwrap(),
                Err(error) => serde_json::json!({"error": error.to_string()}),
            });
        }
    }
    let command = command("zone.py");
    let output = Command::new(&command[0]).args(&command[1..]).arg("--parse").args(&pages).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(found.len(), expected.len());
    for ((found, expected), page) in found.iter().zip(&expected).zip(&pages) {
        assert_eq!(found, expected, "{}", std::fs::read_to_string(page).unwrap_or_default());
    }
}
