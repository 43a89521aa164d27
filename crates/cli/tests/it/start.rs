//! The first start, later starts, and starts that must not happen.

use std::os::unix::fs::PermissionsExt as _;

use crate::windlass::{Windlass, binary, run};

#[test]
fn the_first_start_leaves_credentials_that_every_client_reads() {
    let windlass = Windlass::start();
    let path = windlass.data().join("iron.json");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["project_id"].as_str().unwrap().len(), 24);
    assert!(json["token"].as_str().unwrap().len() > 20);
    assert_eq!((&json["scheme"], &json["protocol"]), (&"http".into(), &"http".into()));
    assert_eq!(json["host"], "127.0.0.1");
    assert_eq!(json["api_version"], "2");
    assert!(windlass.url.ends_with(&format!(":{}", json["port"].as_u64().unwrap())));
}

#[test]
fn a_later_start_keeps_the_credentials_and_corrects_the_address() {
    let mut windlass = Windlass::start();
    let read = |w: &Windlass| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(w.data().join("iron.json")).unwrap()).unwrap()
    };
    let before = read(&windlass);
    windlass.kill_and_restart();
    let after = read(&windlass);
    assert_eq!((&before["token"], &before["project_id"]), (&after["token"], &after["project_id"]));
    assert!(windlass.url.ends_with(&format!(":{}", after["port"].as_u64().unwrap())));
    assert_eq!(windlass.json(&["project"])["projects"].as_array().unwrap().len(), 1);
}

#[test]
fn credentials_that_were_deleted_are_made_again() {
    let mut windlass = Windlass::start();
    windlass.kill();
    std::fs::remove_file(windlass.data().join("iron.json")).unwrap();
    windlass.restart();
    assert_eq!(windlass.json(&["project"])["projects"].as_array().unwrap().len(), 1);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let windlass = Windlass::start();
    let mut second = windlass.command(&["serve", "--listen", "127.0.0.1:0"]);
    second.arg("--data").arg(windlass.data());
    let refused = run(second, "");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("in use by another Windlass process"), "{}", refused.err);
    assert_eq!(refused.out, "");
    windlass.ok(&["tasks"]);
}

#[test]
fn an_address_that_is_taken_is_named_with_the_fix() {
    let windlass = Windlass::start();
    let home = tempfile::tempdir().unwrap();
    let address = windlass.url.strip_prefix("http://").unwrap();
    let mut second = binary(home.path());
    second.args(["up", "--listen", address]);
    let refused = run(second, "");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains(address) && refused.err.contains("fix: "), "{}", refused.err);
}

#[test]
fn a_start_takes_no_time_worth_speaking_of() {
    // The figure to reach is 100 ms for a release build on a quiet machine; this build is slower, and so is a machine
    // that runs other tests. What is looked for here is a wait that has no reason: a timeout, a poll.
    let fastest = (0..3).map(|_| Windlass::start().ready_after).min().unwrap();
    assert!(fastest < std::time::Duration::from_millis(1500), "{fastest:?}");
}

#[test]
fn the_runner_of_up_has_a_token_of_its_own_for_as_long_as_it_runs() {
    let mut windlass = Windlass::start();
    let of_runners = |windlass: &Windlass| -> Vec<String> {
        let listed = windlass.json(&["token", "list"]);
        let tokens = listed["tokens"].as_array().unwrap().iter();
        let own = tokens.filter(|token| token["scopes"] == serde_json::json!(["runner"]));
        own.map(|token| token["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = of_runners(&windlass);
    assert_eq!(first.len(), 1);
    windlass.kill_and_restart();
    let second = of_runners(&windlass);
    assert_eq!(second.len(), 1, "what a crash leaves behind is revoked");
    assert_ne!(first, second);
    // Nothing that is done to the token of iron.json stops the tasks.
    windlass.upload("hello", "echo hello", &[]);
    let id = windlass.queue("hello", &["--delay", "1s"]);
    let other = windlass.ok(&["token", "create", "--everywhere", "--scope", "admin"]);
    let tokens = windlass.json(&["token", "list"]);
    let admins = tokens["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["name"].as_str().is_some_and(|name| name.contains("iron.json")));
    for token in admins {
        windlass.ok(&["token", "revoke", token["id"].as_str().unwrap()]);
    }
    let iron = windlass.data().join("iron.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&iron).unwrap()).unwrap();
    json["token"] = other.into();
    std::fs::write(&iron, json.to_string()).unwrap();
    assert_eq!(windlass.task_when(&id, |task| task["status"] == "complete")["status"], "complete");
}

#[test]
fn tasks_have_the_limit_of_open_files_that_the_runner_was_started_with() {
    // Neither what the system has by default, nor a limit of Windlass's own.
    let windlass = Windlass::start_with_open_files(345);
    windlass.upload("limit", "ulimit -Sn", &[]);
    assert_eq!(windlass.run(&["queue", "limit", "--wait"]).ok().trim(), "345");
    assert!(windlass.open_files() > 345, "the server has raised its own");
}
