//! What server and runner can be set to, and what is said of mistakes.

use crate::windlass::{Windlass, binary, run};

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("windlass-data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("windlass.toml"), "[tasks]\npayload = \"1KiB\"\npayloads = 3\n").unwrap();
    for command in ["up", "config"] {
        let mut command = {
            let mut c = binary(home.path());
            c.arg(command);
            c
        };
        command.env("WINDLASS_LISTEN", "127.0.0.1:0");
        let refused = run(command, "");
        assert_eq!(refused.code, 1);
        let expected = "windlass.toml:3: there is no setting \"tasks.payloads\"";
        assert!(refused.err.contains(expected), "{}", refused.err);
    }
}

#[test]
fn every_setting_says_where_it_was_set() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("mine.toml");
    std::fs::write(&file, "[runner]\nslots = 3\n").unwrap();
    let mut command = binary(home.path());
    command.env("WINDLASS_TASKS_RETENTION", "2d");
    command.args(["config", "--json", "--set", "lease.ttl=40s", "--config"]).arg(&file);
    let json = run(command, "").json();
    assert!(json["runner.slots"]["from"].as_str().unwrap().ends_with("mine.toml:2"));
    assert_eq!(json["tasks.retention"]["from"], "WINDLASS_TASKS_RETENTION");
    assert_eq!(json["lease.ttl"]["from"], "--set");
    assert_eq!(json["listen"], serde_json::json!({ "value": "127.0.0.1:8080", "from": "default" }));
    assert_eq!(json["client.token"]["from"], "nowhere");
}

#[test]
fn a_limit_that_was_set_is_kept_to() {
    let windlass = Windlass::start_with(&["--set", "tasks.payload=10"]);
    windlass.upload("w", "true", &[]);
    let refused = windlass.run(&["queue", "w", "--payload", "12345678901"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("payload: is 11 bytes, the limit is 10"), "{}", refused.err);
}
