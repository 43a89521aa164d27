//! What was accepted survives the death of the process at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::windlass::{Windlass, binary, run, until};

/// Ids of all tasks by status.
fn by_status(windlass: &Windlass) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for line in windlass.ok(&["tasks", "--limit", "100000"]).lines() {
        let mut cells = line.split('\t').map(str::to_owned);
        let (id, status) = (cells.next().unwrap(), cells.next().unwrap());
        all.entry(status).or_default().push(id);
    }
    all
}

/// Queues five tasks again and again, by a process for each call, until told to stop. Returns the ids that were told.
fn keep_queueing(home: &Path, stop: &AtomicBool) -> Vec<String> {
    let mut accepted = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut command = binary(home);
        command.args(["queue", "w", "-n", "5"]);
        let done = run(command, "");
        if done.code == 0 {
            accepted.extend(done.out.lines().map(str::to_owned));
        }
    }
    accepted
}

#[test]
fn nothing_accepted_is_lost_and_nothing_finishes_twice() {
    let mut windlass = Windlass::start();
    // Each run leaves a line: so every start is seen, also of attempts that died with the process.
    let runs = windlass.home().join("runs");
    let script = format!("echo $TASK_ID $ATTEMPT >> {}; sleep 0.02", runs.display());
    windlass.upload("w", &script, &[]);
    let home = windlass.home().to_owned();
    let stop = AtomicBool::new(false);
    let accepted: BTreeSet<String> = std::thread::scope(|scope| {
        let queueing = scope.spawn(|| keep_queueing(&home, &stop));
        for round in 1..=4 {
            until(
                || by_status(&windlass).get("complete").map_or(0, Vec::len) > round * 8,
                || "some of the tasks".to_owned(),
            );
            windlass.kill_and_restart();
        }
        stop.store(true, Ordering::Relaxed);
        queueing.join().unwrap().into_iter().collect()
    });
    let mut tasks = BTreeMap::new();
    until(
        || {
            tasks = by_status(&windlass);
            !tasks.contains_key("queued") && !tasks.contains_key("running")
        },
        || "every task".to_owned(),
    );
    assert_eq!(tasks.keys().collect::<Vec<_>>(), ["complete"]);
    let kept: BTreeSet<String> = tasks.into_values().flatten().collect();
    assert!(accepted.len() > 20, "{}", accepted.len());
    assert_eq!(accepted.difference(&kept).collect::<Vec<_>>(), Vec::<&String>::new());

    // Of the attempts of each task, exactly one ended well, and it was the last.
    for id in &kept {
        let task = windlass.task(id);
        let outcomes: Vec<&str> =
            task["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
        let (last, before) = outcomes.split_last().unwrap();
        assert_eq!(*last, "complete", "{id}: {outcomes:?}");
        assert!(before.iter().all(|o| *o == "lost"), "{id}: {outcomes:?}");
    }
    let lines = std::fs::read_to_string(&runs).unwrap();
    let started: BTreeSet<String> =
        lines.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    assert_eq!(started, kept);
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
