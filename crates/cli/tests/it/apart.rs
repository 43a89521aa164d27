//! Server and runner as processes of their own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use crate::windlass::{Windlass, until};

/// A runner process; killed when dropped.
struct Runner(Child);

impl Runner {
    /// `windlass runner` for the server, with a token of its own, ready.
    fn start(windlass: &Windlass, work: &str) -> Self {
        let token = windlass.ok(&["token", "create", "--everywhere", "--scope", "runner", "--name", work]);
        let mut command = windlass.command(&["runner", "--slots", "1", "--cluster", "far"]);
        let work = windlass.home().join(work);
        command.args(["--server", &windlass.url, "--set", &format!("runner.work={}", work.display())]);
        command
            .env("WINDLASS_TOKEN", token)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("windlass runner ready: 1 slots for http://127.0.0.1:"), "{line}");
        Self(child)
    }

    fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_runner_elsewhere_takes_its_clusters_tasks_and_hands_them_over_when_it_stops() {
    let windlass = Windlass::start_with(&["--set", "runner.drain_limit=0s"]);
    let gate = windlass.home().join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; echo through", gate.display());
    windlass.upload("w", &script, &[]);
    let id = windlass.queue("w", &["--cluster", "far"]);
    assert_eq!(windlass.task(&id)["explain"]["cause"], "no_runner");

    let mut first = Runner::start(&windlass, "first");
    windlass.task_when(&id, |t| t["status"] == "running");
    let runners = windlass.json(&["runners"]);
    let far = runners["runners"].as_array().unwrap().iter().find(|r| r["cluster"] == "far").unwrap().clone();
    assert_eq!((&far["running"], &far["slots"]), (&1.into(), &1.into()));

    // Killed without a word: its task is queued again once its place is taken by another session of it.
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    let again = Runner::start(&windlass, "first");
    windlass.task_when(&id, |t| t["status"] == "running" && t["run_times"] == 2);

    // Asked to drain, it takes nothing more; what it has goes on.
    windlass.ok(&["runners", "drain", far["name"].as_str().unwrap(), "--cluster", "far"]);
    let waiting = windlass.queue("w", &["--cluster", "far"]);
    std::fs::write(&gate, "").unwrap();
    assert_eq!(windlass.json(&["task", &id, "--wait"])["status"], "complete");
    assert_eq!(windlass.task(&waiting)["explain"]["cause"], "draining");
    let second = Runner::start(&windlass, "second");
    assert_eq!(windlass.json(&["task", &waiting, "--wait"])["status"], "complete");
    for runner in [&again, &second] {
        runner.terminate();
    }
    until(
        || {
            let live = windlass.json(&["runners"]);
            live["runners"].as_array().unwrap().iter().all(|r| r["cluster"] != "far")
        },
        || "the runners".to_owned(),
    );
}
