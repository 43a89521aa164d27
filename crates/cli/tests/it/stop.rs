//! Stops that lose nothing, within their limit.

use std::time::{Duration, Instant};

use crate::windlass::Windlass;

#[test]
fn an_idle_server_stops_at_once() {
    let mut windlass = Windlass::start();
    windlass.terminate();
    let status = windlass.ended_within(Duration::from_secs(5)).expect("it stops");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_running_task_may_end_before_the_stop() {
    let mut windlass = Windlass::start();
    windlass.upload("w", "echo begun; sleep 1; echo done", &[]);
    let id = windlass.queue("w", &[]);
    windlass.task_when(&id, |t| t["status"] == "running");
    windlass.terminate();
    let status = windlass.ended_within(Duration::from_secs(15)).expect("it stops");
    assert_eq!(status.code(), Some(0));
    windlass.restart();
    let task = windlass.task(&id);
    assert_eq!((&task["status"], &task["run_times"]), (&"complete".into(), &1.into()));
}

#[test]
fn a_task_that_does_not_end_is_given_back_and_runs_again() {
    let mut windlass = Windlass::start_with(&["--set", "runner.drain_limit=1s"]);
    let gate = windlass.home().join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    windlass.upload("w", &script, &[]);
    let id = windlass.queue("w", &[]);
    windlass.task_when(&id, |t| t["status"] == "running");
    let start = Instant::now();
    windlass.terminate();
    let status = windlass.ended_within(Duration::from_secs(15)).expect("it stops");
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() >= Duration::from_secs(1));
    std::fs::write(&gate, "").unwrap();
    windlass.restart();
    assert_eq!(windlass.json(&["task", &id, "--wait"])["status"], "complete");
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut windlass = Windlass::start();
    windlass.upload("w", "sleep 60", &[]);
    let id = windlass.queue("w", &[]);
    windlass.task_when(&id, |t| t["status"] == "running");
    windlass.terminate();
    assert!(windlass.ended_within(Duration::from_millis(300)).is_none(), "it waits for the task");
    windlass.terminate();
    assert_eq!(windlass.ended_within(Duration::from_secs(5)).expect("it stops").code(), Some(130));
    windlass.restart();
    windlass.task_when(&id, |t| t["status"] == "running");
}
