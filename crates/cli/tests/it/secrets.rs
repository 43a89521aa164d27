//! Secrets at rest, in the data directory of the shipped binary.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::windlass::{Windlass, run};

const SECRET: &str = "correct-horse-battery-staple";

/// The same as its worker shows it without showing it: each letter 13 further.
const SHOWN: &str = "pbeerpg-ubefr-onggrel-fgncyr";

/// The files below `folder` that hold `text`.
fn holding(folder: &Path, text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if std::fs::read(&path).unwrap_or_default().windows(text.len()).any(|w| w == text) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// What a start of the server on the same directory is refused with.
fn refusal(windlass: &Windlass, flags: &[&str], key: Option<&str>) -> String {
    let mut command = windlass.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.args(flags).envs(key.map(|key| ("WINDLASS_SECRET_KEY", key)));
    let refused = run(command, "");
    assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{}", refused.err);
    assert!(refused.err.contains("fix: "), "{}", refused.err);
    refused.err
}

#[test]
fn a_secret_reaches_its_worker_and_lies_nowhere() {
    let mut windlass = Windlass::start();
    let key = windlass.data().join("secret.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    windlass.upload("w", "printf %s \"$KEY\" | tr a-z n-za-m", &["--env", &format!("KEY={SECRET}")]);
    let worker = |windlass: &Windlass| {
        let id = windlass.queue("w", &[]);
        assert_eq!(windlass.json(&["task", &id, "--wait"])["status"], "complete");
        windlass.ok(&["logs", &id])
    };
    assert_eq!(worker(&windlass), SHOWN);
    // The uploaded options are changed with what the API shows of them.
    windlass.upload("w", "printf %s \"$KEY\" | tr a-z n-za-m", &["--env", "KEY=***"]);
    windlass.kill_and_restart();
    assert_eq!(worker(&windlass), SHOWN);
    windlass.kill();
    assert!(!holding(&windlass.data(), SHOWN.as_bytes()).is_empty(), "what is looked for would be found");
    assert_eq!(holding(windlass.home(), SECRET.as_bytes()), Vec::<String>::new());
}

#[test]
fn without_its_key_a_server_does_not_start_unless_told_to_forget() {
    let mut windlass = Windlass::start();
    windlass.upload("w", "echo \"$KEY\"", &["--env", "KEY=value"]);
    windlass.kill();
    let file = windlass.data().join("secret.key");
    let right = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(refusal(&windlass, &[], None).contains("is missing"));
    assert!(!file.exists(), "no wrong one is left in its place");
    let other = "0f".repeat(32);
    assert!(refusal(&windlass, &[], Some(&other)).contains("the key in WINDLASS_SECRET_KEY is not the one"));
    assert!(refusal(&windlass, &[], Some("secret")).contains("is not 64 hexadecimal digits"));
    let nowhere = refusal(&windlass, &["--set", "secret_key_file=nowhere.key"], None);
    assert!(nowhere.contains("nowhere.key"), "{nowhere}");

    std::fs::write(windlass.home().join("mine.key"), &right).unwrap();
    windlass.restart_with(&["--set", "secret_key_file=mine.key"]);
    let id = windlass.queue("w", &[]);
    assert_eq!(windlass.json(&["task", &id, "--wait"])["status"], "complete");
    windlass.kill();

    windlass.restart_with(&["--forget-secrets"]);
    assert!(file.exists());
    let id = windlass.queue("w", &[]);
    let failed = windlass.json(&["task", &id, "--wait"]);
    assert_eq!(failed["status"], "error");
    assert!(failed["msg"].as_str().unwrap().contains("KEY cannot be read"), "{failed}");
    windlass.upload("w", "echo \"$KEY\"", &["--env", "KEY=again"]);
    windlass.kill_and_restart();
    let id = windlass.queue("w", &[]);
    assert_eq!(windlass.json(&["task", &id, "--wait"])["status"], "complete");
    assert_eq!(windlass.ok(&["logs", &id]), "again");
}
