//! Runners elsewhere, and what happens between them and their server.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::proxy::Proxy;
use crate::windlass::{LIMIT, Windlass, until};

/// A runner process of the cluster `far`; killed when dropped.
struct Runner {
    child: Child,
    work: PathBuf,
    log: PathBuf,
}

impl Runner {
    /// `windlass runner` for the servers at `urls`, with a token of its own, ready; with further flags.
    fn start(windlass: &Windlass, urls: &str, name: &str, flags: &[&str]) -> Self {
        let token = windlass.ok(&["token", "create", "--everywhere", "--scope", "runner", "--name", name]);
        Self::start_as(windlass, urls, name, flags, &token)
    }

    /// The same with this token.
    fn start_as(windlass: &Windlass, urls: &str, name: &str, flags: &[&str], token: &str) -> Self {
        let (work, log) = (windlass.home().join(name), windlass.home().join(format!("{name}.log")));
        let mut command = windlass.command(&["runner", "--slots", "1", "--cluster", "far", "--server", urls]);
        command.args(["--set", &format!("runner.work={}", work.display())]).args(flags);
        let err = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        command.env("WINDLASS_TOKEN", token).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(err);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("windlass runner ready: "), "{line}{}", said(&log));
        Self { child, work, log }
    }

    fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// The files of output that waits for the server.
    fn spooled(&self) -> usize {
        std::fs::read_dir(self.work.join("spool")).map_or(0, Iterator::count)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

/// A worker that says `first`, waits for a file, and then runs the rest. Returns the file.
fn gated(windlass: &Windlass, name: &str, rest: &str, flags: &[&str]) -> PathBuf {
    let gate = windlass.home().join(format!("{name}.gate"));
    let path = gate.display();
    let script =
        format!("echo first; touch {path}.begun; while [ ! -e {path} ]; do sleep 0.02; done; {rest}");
    windlass.upload(name, &script, flags);
    gate
}

/// Waits until the worker has begun.
fn begun(gate: &Path) {
    let begun = PathBuf::from(format!("{}.begun", gate.display()));
    until(|| begun.exists(), || begun.display().to_string());
}

fn ended(windlass: &Windlass, id: &str) -> Value {
    windlass.task_when(id, |task| !matches!(task["status"].as_str(), Some("queued" | "running")))
}

/// It ended well in its first attempt.
fn assert_one_attempt(task: &Value, runner: &Runner) {
    let is_so = task["status"] == "complete" && task["run_times"] == 1;
    assert!(is_so, "{task:#}\nthe runner said:\n{}", said(&runner.log));
}

#[test]
fn a_runner_that_joins_has_work_within_two_seconds() {
    let windlass = Windlass::start();
    windlass.upload("w", "echo done", &[]);
    let id = windlass.queue("w", &["--cluster", "far"]);
    let runner =
        Runner::start(&windlass, &windlass.url, "one", &["--label", "zone=a", "--label", "disk=ssd"]);
    let joined = Instant::now();
    assert_one_attempt(&ended(&windlass, &id), &runner);
    assert!(joined.elapsed() < Duration::from_secs(2), "{:?}", joined.elapsed());
    let runners = windlass.json(&["runners"]);
    let far = runners["runners"].as_array().unwrap().iter().find(|r| r["cluster"] == "far").unwrap();
    assert_eq!(far["labels"], serde_json::json!(["zone=a", "disk=ssd"]));
}

#[test]
fn what_runs_outlives_a_restart_of_the_server_and_so_does_its_long_log() {
    let mut windlass = Windlass::start();
    let way = Proxy::to(&windlass.url);
    // 9 MB, of which 4 stay in memory.
    let lines = "i=0; while [ $i -lt 90000 ]; do echo \"$i ---------------------------------------- \
                 --------------------------------------------------\"; i=$((i+1)); done";
    let gate = gated(&windlass, "long", lines, &["--output-limit", "32M"]);
    let id = windlass.queue("long", &["--cluster", "far"]);
    let runner = Runner::start(&windlass, &way.url, "one", &[]);
    begun(&gate);

    windlass.kill();
    way.close();
    std::fs::write(&gate, "").unwrap();
    until(|| runner.spooled() == 1, || format!("output in the spool; {}", said(&runner.log)));
    windlass.restart();
    way.lead_to(&windlass.url);

    assert_one_attempt(&ended(&windlass, &id), &runner);
    let log = windlass.run(&["logs", &id]).ok();
    let numbers: Vec<usize> =
        log.lines().skip(1).map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(log.starts_with("first\n"));
    assert!(numbers == (0..90_000).collect::<Vec<_>>(), "{} lines", numbers.len());
    assert_eq!(runner.spooled(), 0);
}

#[test]
fn a_server_that_was_away_for_longer_than_a_lease_still_gets_the_report() {
    let lease = ["--set", "lease.ttl=2s", "--set", "lease.heartbeat=1s"];
    let mut windlass = Windlass::start_with(&lease);
    let way = Proxy::to(&windlass.url);
    let gate = gated(&windlass, "w", "echo last", &[]);
    let id = windlass.queue("w", &["--cluster", "far"]);
    let runner = Runner::start(&windlass, &way.url, "one", &[]);
    begun(&gate);
    windlass.kill();
    way.close();
    let gone = Instant::now();
    until(|| gone.elapsed() > Duration::from_secs(3), || "the lease".to_owned());
    windlass.restart_with(&lease);
    way.lead_to(&windlass.url);
    std::fs::write(&gate, "").unwrap();
    assert_one_attempt(&ended(&windlass, &id), &runner);
    assert_eq!(windlass.run(&["logs", &id]).ok(), "first\nlast\n");
}

#[test]
fn a_runner_whose_way_to_one_server_is_cut_goes_on_with_the_next() {
    let windlass = Windlass::start_with(&["--set", "lease.ttl=9s", "--set", "lease.heartbeat=2s"]);
    let (first, second) = (Proxy::to(&windlass.url), Proxy::to(&windlass.url));
    let gate = gated(&windlass, "w", "echo last", &[]);
    let id = windlass.queue("w", &["--cluster", "far"]);
    let both = format!("{},{}", first.url, second.url);
    let runner = Runner::start(&windlass, &both, "one", &[]);
    begun(&gate);

    // Nobody says that the way is cut; the lease must not run out meanwhile.
    first.silence();
    let cut = Instant::now();
    until(|| cut.elapsed() > Duration::from_secs(10), || "the lease".to_owned());
    std::fs::write(&gate, "").unwrap();
    assert_one_attempt(&ended(&windlass, &id), &runner);

    // And back again, where it is said.
    first.open();
    second.close();
    let next = windlass.queue("w", &["--cluster", "far"]);
    assert_one_attempt(&ended(&windlass, &next), &runner);
}

#[test]
fn a_runner_that_is_asked_to_stop_ends_what_it_has_and_takes_no_more() {
    let windlass = Windlass::start();
    let gate = gated(&windlass, "w", "echo last", &[]);
    let id = windlass.queue("w", &["--cluster", "far"]);
    let mut runner = Runner::start(&windlass, &windlass.url, "one", &[]);
    begun(&gate);
    runner.terminate();
    until(|| said(&runner.log).contains("stopping"), || said(&runner.log));
    let left = windlass.queue("w", &["--cluster", "far"]);
    std::fs::write(&gate, "").unwrap();
    assert_one_attempt(&ended(&windlass, &id), &runner);
    let start = Instant::now();
    let status = loop {
        if let Some(status) = runner.child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < LIMIT, "{}", said(&runner.log));
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    assert_eq!(windlass.task(&left)["status"], "queued");
}

#[test]
fn a_runner_believes_a_server_only_if_somebody_vouches_for_it() {
    let windlass = Windlass::start_in(crate::tls::home("127.0.0.1"), &crate::tls::BOTH);
    windlass.upload("w", "echo done", &[]);
    let id = windlass.queue("w", &["--cluster", "far"]);
    let naive = Runner::start(&windlass, &windlass.url, "naive", &[]);
    until(|| said(&naive.log).contains("cannot register"), || said(&naive.log));
    assert!(said(&naive.log).to_lowercase().contains("certificate"), "{}", said(&naive.log));
    assert_eq!(windlass.task(&id)["status"], "queued");
    let ca = windlass.home().join("cert.pem");
    let runner = Runner::start(&windlass, &windlass.url, "told", &["--ca", ca.to_str().unwrap()]);
    assert_one_attempt(&ended(&windlass, &id), &runner);
}

#[test]
fn a_cluster_is_made_and_joined_by_the_commands_of_the_manual() {
    let windlass = Windlass::start();
    let id = windlass.ok(&["clusters", "create", "far", "--max-slots", "8"]);
    let token = windlass.ok(&["clusters", "credentials", "far"]);
    windlass.upload("w", "echo done", &[]);
    let task = windlass.queue("w", &["--cluster", &id]);
    let why = windlass.task(&task)["explain"]["explain"].as_str().unwrap().to_owned();
    assert_eq!(why, "there is no runner in its cluster \"far\", which should have 1 slot");
    let runner = Runner::start_as(&windlass, &windlass.url, "one", &[], &token);
    assert_one_attempt(&ended(&windlass, &task), &runner);
    let shown = windlass.json(&["clusters", "show", "far"]);
    assert_eq!((&shown["cluster"]["runners_total"], &shown["cluster"]["queued"]), (&1.into(), &0.into()));
    let set = windlass.ok(&["clusters", "set", "far", "--min-slots", "2"]);
    assert_eq!(set, "far: 2 to 8 slots, queued tasks begin within 60 s");
    assert_eq!(windlass.run(&["clusters", "delete", "far"]).code, 1);
    let listed = windlass.ok(&["clusters"]);
    assert!(listed.lines().any(|line| line.starts_with(&format!("far\t{id}\t1\t1\t"))), "{listed}");
}
