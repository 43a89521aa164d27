//! A task that grows beyond its memory, from the upload to what is shown of it.

use std::io::Write as _;

use crate::windlass::Windlass;

/// A server whose runner isolates and limits; `None`, and said, where this host cannot limit memory.
fn limiting() -> Option<Windlass> {
    let windlass = Windlass::start_as(&[("WINDLASS_SANDBOX_POLICY", "degrade")], &[]);
    let runners = windlass.json(&["runners"]);
    let isolation = &runners["runners"][0]["isolation"];
    let level = isolation["level"].as_str().unwrap_or_default();
    if level.starts_with("namespaces+cgroups") {
        return Some(windlass);
    }
    let is_required = std::env::var_os("WINDLASS_TEST_REQUIRE_SANDBOX").is_some_and(|value| value != "0");
    assert!(!is_required, "memory cannot be limited here: {isolation}");
    let _ = writeln!(std::io::stderr(), "\n*** NOT TESTED: memory cannot be limited here: {isolation} ***\n");
    None
}

#[test]
fn a_task_that_grows_beyond_its_memory_is_shown_with_limit_and_peak() {
    let Some(windlass) = limiting() else { return };
    // It is its child that grows, and it takes no notice.
    windlass.upload("grows", "tail /dev/zero | wc -c; echo went on", &["--memory", "32M", "--retries", "0"]);
    let waited = windlass.run(&["queue", "grows", "--wait"]);
    assert_ne!(waited.code, 0, "{}", waited.err);
    let line = windlass.ok(&["tasks"]);
    let id = line.split('\t').next().unwrap();
    let task = windlass.task(id);
    assert_eq!((&task["status"], &task["error_class"]), (&"error".into(), &"Out Of Memory".into()), "{task}");
    let peak = task["attempts"][0]["usage"]["peak_memory_bytes"].as_u64().unwrap();
    assert!((30 << 20..40 << 20).contains(&peak), "{peak}");
    let shown = windlass.ok(&["task", id]);
    for part in ["Out Of Memory", "out of memory: the limit is 32 MiB, the peak was 32 MiB"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    let log = windlass.ok(&["logs", id]);
    assert!(log.contains("went on"), "its parent ended well, and that is not what counts: {log}");
}
