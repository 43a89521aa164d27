//! What was accepted survives the death of the process at any moment.

use std::collections::BTreeMap;

use crate::windlass::{Windlass, until};

/// Ids of all tasks by status.
fn by_status(windlass: &Windlass) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for line in windlass.ok(&["tasks", "--limit", "1000"]).lines() {
        let mut cells = line.split('\t').map(str::to_owned);
        let (id, status) = (cells.next().unwrap(), cells.next().unwrap());
        all.entry(status).or_default().push(id);
    }
    all
}

#[test]
fn nothing_accepted_is_lost_and_nothing_finishes_twice() {
    let mut windlass = Windlass::start();
    // Each run leaves a line: so every start is seen, also of attempts that died with the process.
    let runs = windlass.home().join("runs");
    let script = format!("echo $TASK_ID $ATTEMPT >> {}; sleep 0.05", runs.display());
    windlass.upload("w", &script, &[]);
    let mut accepted: Vec<String> = Vec::new();
    for _ in 0..4 {
        accepted.extend(windlass.queue("w", &["-n", "30"]).lines().map(str::to_owned));
        until(
            || by_status(&windlass).get("complete").map_or(0, Vec::len) > accepted.len() - 29,
            || "some of the tasks".to_owned(),
        );
        windlass.kill_and_restart();
    }
    until(
        || by_status(&windlass).get("complete").map_or(0, Vec::len) == accepted.len(),
        || {
            format!(
                "every task; now {:?}",
                by_status(&windlass).iter().map(|(s, t)| (s.clone(), t.len())).collect::<Vec<_>>()
            )
        },
    );
    let mut kept: Vec<String> = by_status(&windlass).into_values().flatten().collect();
    kept.sort();
    accepted.sort();
    assert_eq!(kept, accepted);

    // Of the attempts of each task, exactly one ended well, and it was the last.
    for id in &accepted {
        let task = windlass.task(id);
        let outcomes: Vec<&str> =
            task["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
        let (last, before) = outcomes.split_last().unwrap();
        assert_eq!(*last, "complete", "{id}: {outcomes:?}");
        assert!(before.iter().all(|o| *o == "lost"), "{id}: {outcomes:?}");
    }
    let lines = std::fs::read_to_string(&runs).unwrap();
    let started: std::collections::BTreeSet<&str> =
        lines.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(started.len(), accepted.len());
}

#[test]
fn a_task_that_was_running_runs_again_at_once() {
    let mut windlass = Windlass::start();
    let gate = windlass.home().join("gate");
    let script = format!("echo attempt $ATTEMPT; while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    windlass.upload("w", &script, &[]);
    let id = windlass.queue("w", &[]);
    windlass.task_when(&id, |t| t["status"] == "running");
    windlass.kill_and_restart();
    let task = windlass.task_when(&id, |t| t["status"] == "running" && t["run_times"] == 2);
    assert_eq!(task["attempts"][0]["outcome"], "lost");
    std::fs::write(&gate, "").unwrap();
    let task = windlass.json(&["task", &id, "--wait"]);
    assert_eq!((&task["status"], &task["retry_count"]), (&"complete".into(), &0.into()));
}
