//! How commands find their server, and what they say when they do not.

use crate::windlass::{Windlass, binary, run};

#[test]
fn iron_json_and_variables_are_read_in_the_documented_order() {
    let windlass = Windlass::start();
    let other = tempfile::tempdir().unwrap();
    let credentials = std::fs::read_to_string(windlass.data().join("iron.json")).unwrap();
    let good: serde_json::Value = serde_json::from_str(&credentials).unwrap();
    let tasks = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = binary(other.path());
        command.arg("tasks").args(flags).envs(variables.iter().copied());
        run(command, "")
    };
    let none = tasks(&[], &[]);
    assert_eq!(none.code, 1);
    assert!(none.err.contains("no token") && none.err.contains("fix: "), "{}", none.err);

    std::fs::write(other.path().join(".iron.json"), &credentials).unwrap();
    tasks(&[], &[]).ok();
    let wrong = tasks(&[("IRON_TOKEN", "wrong")], &[]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("401") && wrong.err.contains("windlass config"), "{}", wrong.err);
    let token = good["token"].as_str().unwrap();
    tasks(&[("IRON_TOKEN", "wrong"), ("IRON_WORKER_TOKEN", token)], &[]).ok();
    std::fs::write(other.path().join("iron.json"), r#"{"token":"wrong"}"#).unwrap();
    assert_eq!(tasks(&[("IRON_WORKER_TOKEN", token)], &[]).code, 1);
    tasks(&[], &["--token", token]).ok();
    let named = other.path().join("named.json");
    std::fs::write(&named, &credentials).unwrap();
    tasks(&[], &["--config", named.to_str().unwrap()]).ok();
}

#[test]
fn a_server_that_is_not_there_is_named_with_the_fix() {
    let home = tempfile::tempdir().unwrap();
    let mut command = binary(home.path());
    command.args([
        "tasks",
        "--url",
        "http://127.0.0.1:1",
        "--token",
        "t",
        "--project-id",
        "0123456789abcdef01234567",
    ]);
    let failed = run(command, "");
    assert_eq!(failed.code, 1);
    assert!(
        failed.err.starts_with("windlass: list tasks: cannot reach http://127.0.0.1:1"),
        "{}",
        failed.err
    );
    assert!(failed.err.contains("fix: start a server with `windlass up`"), "{}", failed.err);
    assert_eq!(
        run(
            {
                let mut c = binary(home.path());
                c.arg("no-such-command");
                c
            },
            ""
        )
        .code,
        2
    );
}

#[test]
fn every_json_output_is_json() {
    let windlass = Windlass::start();
    windlass.upload("w", "echo hello; echo '{\"n\":1}' > $RESULT_FILE", &[]);
    let id = windlass.json(&["queue", "w"])["tasks"][0]["id"].as_str().unwrap().to_owned();
    windlass.json(&["task", &id, "--wait"]);
    let schedule = windlass.json(&["schedule", "create", "w", "--every", "10m", "--start", "1h"]);
    let schedule = schedule["schedules"][0]["id"].as_str().unwrap().to_owned();
    let token = windlass.json(&["token", "create", "--scope", "read,queue", "--name", "ci"]);
    let token_id = token["id"].as_str().unwrap().to_owned();
    for arguments in [
        &["tasks"][..],
        &["tasks", "--status", "complete", "--limit", "1"],
        &["task", &id],
        &["logs", &id],
        &["retry", &id],
        &["cancel", &id],
        &["cancel", "--all", "--code", "w"],
        &["retry", "--all", "--code", "w", "--status", "error"],
        &["codes"],
        &["codes", "show", "w"],
        &["codes", "revisions", "w"],
        &["codes", "pause", "w"],
        &["codes", "resume", "w"],
        &["schedule"],
        &["schedule", "show", &schedule],
        &["schedule", "update", &schedule, "--every", "20m"],
        &["schedule", "cancel", &schedule],
        &["runners"],
        &["token"],
        &["token", "revoke", &token_id],
        &["project"],
        &["project", "create", "second"],
        &["config"],
        &["doctor"],
        &["codes", "delete", "w"],
    ] {
        assert!(windlass.json(arguments).is_object(), "{arguments:?}");
    }
}

#[test]
fn the_binary_is_also_the_workers_of_the_example() {
    let home = tempfile::tempdir().unwrap();
    for worker in ["coordinator", "zone"] {
        let mut command = binary(home.path());
        command.args(["outcast", worker]);
        let done = run(command, "");
        assert_eq!(done.code, 1);
        assert!(done.err.starts_with(&format!("outcast-{worker}: bad payload")), "{}", done.err);
    }
}

#[test]
fn completions_know_the_commands() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let mut command = binary(home.path());
        command.args(["completions", shell]);
        let script = run(command, "").ok();
        assert!(script.contains("schedule") && !script.contains("spawner"), "{shell}");
    }
}
