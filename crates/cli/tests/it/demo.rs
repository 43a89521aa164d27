//! The newcomer's first command, and a short look at the benchmark.

use std::process::Command;

fn windlass(arguments: &[&str], folder: &std::path::Path) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_windlass")).args(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_demo_tells_its_story_and_names_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    let told = windlass(&["demo", "--once"], folder.path());
    assert!(told.contains("472 (465 complete, 7 failed)"), "{told}");
    assert!(told.contains("4 tasks succeeded on a retry"), "{told}");
    assert!(told.contains("no UGC line") && told.contains("answered 404"), "{told}");
    let level =
        if std::env::var_os("WINDLASS_TEST_REQUIRE_SANDBOX").is_some() { "namespaces+cgroups" } else { "" };
    assert!(told.contains(&format!("isolation     {level}")), "{told}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
}

#[test]
fn a_short_benchmark_measures_everything() {
    let folder = tempfile::tempdir().unwrap();
    let report: serde_json::Value =
        serde_json::from_str(&windlass(&["bench", "--quick", "--json"], folder.path())).unwrap();
    let figures = report["figures"].as_array().unwrap();
    for wanted in [
        "fdatasync",
        "64 connections",
        "arrays of 1,000",
        "end to end",
        "idle pickup",
        "idle memory",
        "full beside empty",
    ] {
        let found = figures.iter().any(|f| {
            f["name"].as_str().is_some_and(|name| name.contains(wanted))
                && f["windlass"].as_f64().is_some_and(|n| n > 0.0)
        });
        assert!(found, "nothing was measured for {wanted}: {report:#}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
}
