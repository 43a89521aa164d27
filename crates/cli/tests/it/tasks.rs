//! The life of tasks as the commands show it.

use serde_json::Value;

use crate::windlass::Windlass;

#[test]
fn a_task_is_queued_runs_and_its_story_is_kept() {
    let windlass = Windlass::start();
    let script = "echo \"got $(cat $PAYLOAD_FILE)\"; echo beside >&2; printf '{\"n\":7}' > $RESULT_FILE";
    windlass.upload("hello", script, &["--env", "MODE=test"]);
    let waited = windlass.run(&["queue", "hello", "--payload", "{\"a\":1}", "--wait"]);
    assert_eq!((waited.code, waited.out.as_str()), (0, "got {\"a\":1}\n"), "{}", waited.err);
    assert!(waited.err.contains("beside\n") && waited.err.contains("complete after"), "{}", waited.err);
    let line = windlass.ok(&["tasks"]);
    let cells: Vec<&str> = line.split('\t').collect();
    assert_eq!((cells.len(), cells[1], cells[2]), (7, "complete", "hello"), "{line}");
    let id = cells[0];
    assert_eq!(windlass.ok(&["task", id, "--result"]), "{\"n\":7}");
    assert_eq!(windlass.ok(&["task", id, "--payload"]), "{\"a\":1}");
    let log = windlass.run(&["logs", id]).ok();
    assert!(log.contains("got {\"a\":1}\n") && log.contains("beside\n"), "{log}");
    assert_eq!(windlass.run(&["logs", "-f", id]).ok(), "got {\"a\":1}\n");
    let task = windlass.task(id);
    assert_eq!(task["attempts"][0]["outcome"], "complete");
    assert_eq!(task["attempts"][0]["exit_code"], 0);
}

#[test]
fn the_exit_code_says_how_the_task_ended() {
    let windlass = Windlass::start();
    windlass.upload("fails", "echo broken >&2; exit 9", &[]);
    windlass.upload("sleeps", "echo started; sleep 60", &[]);
    let failed = windlass.run(&["queue", "fails", "--wait"]);
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("error after") && failed.err.contains(": broken"), "{}", failed.err);
    assert_eq!(windlass.run(&["queue", "sleeps", "--timeout", "1s", "--wait"]).code, 3);
    let many = windlass.run(&["queue", "fails", "-n", "3", "--wait"]);
    assert_eq!((many.code, many.out.lines().count()), (1, 3), "{}", many.out);
}

#[test]
fn a_running_task_is_cancelled_with_everything_it_started() {
    let windlass = Windlass::start();
    windlass.upload("sleeps", "sleep 300 & echo started; wait", &[]);
    let id = windlass.queue("sleeps", &[]);
    let mut follower = windlass.command(&["queue", "sleeps", "--wait"]);
    follower.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let follower = follower.spawn();
    windlass.task_when(&id, |t| t["status"] == "running");
    windlass.ok(&["cancel", &id]);
    let task = windlass.task_when(&id, |t| t["status"] == "cancelled");
    assert_eq!(task["msg"], "Cancelled via API.");
    windlass.ok(&["cancel", "--all", "--code", "sleeps"]);
    assert_eq!(follower.unwrap().wait().unwrap().code(), Some(4));
}

#[test]
fn a_delayed_task_says_why_and_can_be_cancelled() {
    let windlass = Windlass::start();
    windlass.upload("w", "true", &[]);
    let id = windlass.queue("w", &["--delay", "1h", "--label", "later"]);
    let task = windlass.task(&id);
    assert_eq!((&task["status"], &task["label"]), (&Value::from("queued"), &Value::from("later")));
    assert_eq!(task["explain"]["cause"], "delayed");
    assert!(windlass.ok(&["task", &id]).contains("why it is not running: it is delayed until"));
    windlass.ok(&["cancel", &id]);
    assert_eq!(windlass.task(&id)["status"], "cancelled");
    let no_log = windlass.run(&["logs", &id]);
    assert_eq!(no_log.code, 1);
    assert!(no_log.err.contains("has no log"), "{}", no_log.err);
}

#[test]
fn a_paused_worker_waits_until_it_is_resumed() {
    let windlass = Windlass::start();
    windlass.upload("w", "echo ran", &[]);
    assert_eq!(windlass.ok(&["codes", "pause", "w"]), "paused");
    let id = windlass.queue("w", &[]);
    assert_eq!(windlass.task(&id)["explain"]["cause"], "paused");
    assert_eq!(windlass.ok(&["codes", "resume", "w"]), "resumed");
    assert_eq!(windlass.json(&["task", &id, "--wait"])["status"], "complete");
}

#[test]
fn a_failure_is_retried_by_policy_and_by_hand() {
    let windlass = Windlass::start();
    windlass.upload("w", "echo attempt $ATTEMPT; exit 1", &["--retries", "1"]);
    let waited = windlass.run(&["queue", "w", "--wait"]);
    assert_eq!((waited.code, waited.out.as_str()), (1, "attempt 1\nattempt 2\n"), "{}", waited.err);
    let id = windlass.json(&["tasks"])["tasks"][0]["id"].as_str().unwrap().to_owned();
    let again = windlass.ok(&["retry", &id]);
    assert_ne!(again, id);
    let task = windlass.json(&["task", &again, "--wait"]);
    assert_eq!((&task["retry_of"], &task["run_times"]), (&Value::from(id.as_str()), &Value::from(2)));
    assert_eq!(windlass.ok(&["logs", &id, "--attempt", "1"]), "attempt 1");
}

#[test]
fn a_trace_goes_through_a_worker_to_the_tasks_that_it_queues() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let windlass = Windlass::start();
    windlass.upload("child", "echo $TRACEPARENT", &[]);
    windlass.upload("parent", &format!("{} queue child", env!("CARGO_BIN_EXE_windlass")), &[]);
    let mut queue = windlass.command(&["queue", "parent", "--wait"]);
    queue.env("TRACEPARENT", TRACE);
    let child = crate::windlass::run(queue, "").ok();
    let task = windlass.json(&["task", child.trim(), "--wait"]);
    assert_eq!((&task["status"], &task["trace"]), (&Value::from("complete"), &Value::from(TRACE)));
    assert_eq!(windlass.ok(&["logs", child.trim()]), TRACE);
}

#[test]
fn a_schedule_queues_its_tasks() {
    let windlass = Windlass::start();
    windlass.upload("w", "echo scheduled $SCHEDULE_ID", &[]);
    let id = windlass.ok(&["schedule", "create", "w", "--every", "1h", "--times", "2", "--name", "hourly"]);
    let mut task = String::new();
    crate::windlass::until(
        || {
            task = windlass.ok(&["tasks", "--schedule", &id, "--status", "complete"]);
            !task.is_empty()
        },
        || "the first run".to_owned(),
    );
    let task = task.split('\t').next().unwrap();
    assert_eq!(windlass.ok(&["logs", task]), format!("scheduled {id}"));
    let schedule = windlass.json(&["schedule", "show", &id]);
    assert_eq!((&schedule["run_count"], &schedule["name"]), (&Value::from(1), &Value::from("hourly")));
    windlass.ok(&["schedule", "cancel", &id]);
    assert_eq!(windlass.json(&["schedule", "show", &id])["status"], "cancelled");
}

#[test]
fn compute_time_is_summed_by_worker_schedule_and_day() {
    let windlass = Windlass::start();
    windlass.upload("busy", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done", &[]);
    windlass.ok(&["queue", "busy", "-n", "3", "--wait"]);
    let line = windlass.ok(&["usage"]);
    let cells: Vec<&str> = line.split('\t').collect();
    assert_eq!((cells.len(), cells[0], cells[1]), (5, "busy", "3"), "{line}");
    assert!(cells[2..].iter().all(|cell| cell.parse::<u64>().unwrap() > 0), "{line}");
    assert_eq!(windlass.ok(&["usage", "--by", "schedule"]), "");
    let report = windlass.json(&["usage", "--by", "day", "--since", "1d"]);
    assert_eq!((&report["by"], &report["total"]["attempts"]), (&Value::from("day"), &Value::from(3)));
}

#[test]
fn a_folder_is_uploaded_downloaded_and_run_without_a_server() {
    let windlass = Windlass::start();
    let folder = windlass.home().join("report");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("main.sh"), "echo \"$1 $(cat $PAYLOAD_FILE)\"; exit 3").unwrap();
    let upload = windlass.json(&["upload", "report", "--command", "sh main.sh x"]);
    assert_eq!((&upload["name"], &upload["rev"]), (&Value::from("report"), &Value::from(1)));
    windlass.ok(&["codes", "download", "report", "-o", "got.zip"]);
    let local = windlass.run(&["run", "report", "--command", "sh main.sh y", "--payload", "p"]);
    assert_eq!((local.code, local.out.as_str()), (3, "y p\n"), "{}", local.err);
    let zip = windlass.run(&["run", "got.zip", "--command", "sh main.sh z", "--payload", "q"]);
    assert_eq!((zip.code, zip.out.as_str()), (3, "z q\n"), "{}", zip.err);
}
