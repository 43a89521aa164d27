//! Servers on a PostgreSQL of the test's own.

use windlass_scratch::Postgres;

use crate::windlass::{Windlass, binary, run};

fn database() -> Postgres {
    Postgres::start(&["listen_addresses=", "fsync=off", "shared_buffers=32MB"]).unwrap()
}

#[test]
fn two_servers_on_one_database_are_one_service() {
    let database = database();
    let url = database.url("postgres");
    let key = "00".repeat(32);
    let variables = [("WINDLASS_STORE", url.as_str()), ("WINDLASS_SECRET_KEY", key.as_str())];
    let one = Windlass::start_as(&variables, &[]);
    one.upload("hello", "echo hello from $CODE_NAME", &[]);
    let first = one.queue("hello", &[]);
    one.task_when(&first, |task| task["status"] == "complete");
    assert!(!one.data().join("windlass.db").exists());

    let blobs = one.data().join("blobs");
    let two = Windlass::start_as(&variables, &["--blobs", blobs.to_str().unwrap()]);
    // What one changed the other knows, and each has a runner that waits for whatever is queued.
    let second = two.queue("hello", &[]);
    one.task_when(&second, |task| task["status"] == "complete");
    let late = one.ok(&["token", "create", "--scope", "read,queue", "--name", "late"]);
    let known = std::fs::read_to_string(two.data().join("iron.json")).unwrap();
    let known: serde_json::Value = serde_json::from_str(&known).unwrap();
    let project = known["project_id"].as_str().unwrap();
    let third =
        two.run(&["queue", "hello", "--url", &two.url, "--project-id", project, "--token", &late]).ok();
    two.task_when(third.trim(), |task| task["status"] == "complete");
    assert_eq!(one.ok(&["logs", third.trim()]), "hello from hello");
    drop(two);
    let last = one.queue("hello", &[]);
    one.task_when(&last, |task| task["status"] == "complete");
}

#[test]
fn the_schema_is_looked_at_and_brought_up_to_date_without_a_server() {
    let database = database();
    let home = tempfile::tempdir().unwrap();
    let migrate = |more: &[&str]| {
        let mut command = binary(home.path());
        command.arg("migrate").args(more).env("WINDLASS_STORE", database.url("postgres"));
        run(command, "")
    };
    let missing = migrate(&["--check"]);
    assert!(missing.code == 2 && missing.out.contains("the database is empty"), "{missing:?}");
    assert!(migrate(&[]).ok().contains("now the database has schema"));
    assert!(migrate(&["--check"]).ok().contains("nothing is to be done"));
    assert!(migrate(&[]).ok().contains("nothing is to be done"));
}

#[test]
fn everything_in_an_embedded_store_moves_to_a_database() {
    let database = database();
    let url = database.url("postgres");
    let mut before = Windlass::start();
    before.upload("hello", "echo hello from $CODE_NAME", &[]);
    let done = before.queue("hello", &[]);
    before.task_when(&done, |task| task["status"] == "complete");
    let delayed = before.queue("hello", &["--delay", "3600"]);
    before.ok(&["schedule", "create", "hello", "--every", "1h", "--payload", "often"]);
    let blobs = before.home().join("elsewhere");
    let data = before.data();
    let flags = [
        "migrate-store",
        "--data",
        data.to_str().unwrap(),
        "--store",
        &url,
        "--blobs",
        blobs.to_str().unwrap(),
    ];
    let refused = before.run(&flags);
    assert!(
        refused.code == 1 && refused.err.contains("is in use by another Windlass process"),
        "{}",
        refused.err
    );
    before.kill();
    let moved = before.ok(&flags);
    assert!(moved.contains("moved, read back and compared: 1 projects"), "{moved}");
    assert!(moved.contains("1 packages, 1 schedules"), "{moved}");
    let again = before.run(&flags);
    assert!(again.code == 1 && again.err.contains("is in use: choose an empty one"), "{}", again.err);

    let key = std::fs::read_to_string(data.join("secret.key")).unwrap();
    let known = std::fs::read_to_string(data.join("iron.json")).unwrap();
    let known: serde_json::Value = serde_json::from_str(&known).unwrap();
    let [project, token] = ["project_id", "token"].map(|key| known[key].as_str().unwrap());
    let variables = [("WINDLASS_STORE", url.as_str()), ("WINDLASS_SECRET_KEY", key.trim())];
    let after = Windlass::start_as(&variables, &["--blobs", blobs.to_str().unwrap()]);
    let as_before = ["--url", &after.url, "--project-id", project, "--token", token];
    let ask = |command: &[&str]| after.ok(&[command, &as_before].concat());
    assert_eq!(ask(&["logs", &done]), "hello from hello");
    let task = |id: &str| after.run(&[&["task", id, "--json"], &as_before[..]].concat()).json();
    assert_eq!(task(&done)["status"], "complete");
    assert_eq!(task(&delayed)["explain"]["cause"], "delayed");
    let new = ask(&["queue", "hello"]);
    ask(&["task", new.trim(), "--wait"]);
    assert_eq!(task(new.trim())["status"], "complete");
}

#[test]
fn a_database_that_cannot_be_reached_stops_the_start_with_the_fix() {
    let home = tempfile::tempdir().unwrap();
    let mut command = binary(home.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--store", "postgres://u:secret@127.0.0.1:1/d"]);
    let failed = run(command, "");
    assert_eq!(failed.code, 1);
    assert!(
        failed.err.contains("open the database d on 127.0.0.1") && failed.err.contains("fix: "),
        "{}",
        failed.err
    );
    assert!(!failed.err.contains("secret"), "{}", failed.err);
}

#[test]
fn every_part_of_the_benchmark_of_servers_has_figures() {
    let parts = [
        ("rates", "claim + finish"),
        ("full", "claim + finish, 2000 queued + 20000 finished"),
        ("snapshot", "dead rows of ready"),
        ("runners", "database, 100 tasks/s"),
        ("servers", "claim + finish, three servers"),
    ];
    for (part, wanted) in parts {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = binary(folder.path());
        bench.args(["bench", "--store", "postgres", "--part", part, "--quick", "--json"]);
        let output = bench.output().unwrap();
        assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_wanted = |figure: &serde_json::Value| {
            figure["name"].as_str().is_some_and(|name| name.starts_with(wanted))
                && figure["windlass"].as_f64().is_some_and(|n| n > 0.0)
        };
        assert!(report["figures"].as_array().unwrap().iter().any(is_wanted), "{part}: {report:#}");
    }
}
