//! Warm workers: many tasks, one process; and whatever a worker can do wrong.

use std::time::Duration;

use windlass_model::code::Launch;
use windlass_model::exit::Exit;
use windlass_model::limits::Network;
use windlass_model::runner::{Held, Report, RevisionSpec};
use windlass_model::warm::Mode;
use windlass_runner::{Policy, RunnerConfig};

use crate::attacks::skip;
use crate::support::{World, zip};

pub(crate) fn warm(runtime: &str, handler: &str) -> Launch {
    Launch { mode: Mode::Warm, runtime: runtime.to_owned(), handler: handler.to_owned(), ..Launch::default() }
}

/// A revision whose handler is in the Python module `app`.
pub(crate) fn python(world: &World, script: &str) -> RevisionSpec {
    let package = world.server.package(zip(&[("app.py", script.as_bytes(), 0o644)]));
    world.server.revision(Some(package), warm("python3", "app.handler"))
}

/// A revision of the runtime `provided` whose `bootstrap` is a Python program that finds the API at `api`.
fn provided(world: &World, program: &str) -> RevisionSpec {
    const HEAD: &str = r#"#!/usr/bin/python3
import http.client, os, sys, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None):
    api.request(method, "/2018-06-01/runtime/" + path, body)
    answer = api.getresponse()
    return answer, answer.read()
def next():
    return call("GET", "invocation/next")[0].headers["Lambda-Runtime-Aws-Request-Id"]
"#;
    let bootstrap = format!("{HEAD}{program}");
    let package = world.server.package(zip(&[("bootstrap", bootstrap.as_bytes(), 0o755)]));
    world.server.revision(Some(package), warm("provided", ""))
}

fn queue(world: &World, revision: &RevisionSpec, payload: &str) -> Held {
    world.server.queue(revision, |task| {
        task.payload.0 = payload.as_bytes().to_vec();
        task.timeout_s = 20;
    })
}

async fn run(world: &World, revision: &RevisionSpec, payload: &str) -> (Report, String) {
    let held = queue(world, revision, payload);
    let report = world.server.report(held).await;
    (report, world.log(held))
}

fn result(report: &Report) -> &str {
    report.result.as_ref().map_or("", |result| std::str::from_utf8(&result.0).unwrap())
}

fn error(report: &Report) -> (&str, &str) {
    match &report.exit {
        Exit::Error { class, msg } => (class, msg),
        exit => panic!("it ended by {exit:?}"),
    }
}

/// A world that isolates nothing, and one that isolates as far as this host can.
async fn worlds(change: impl Fn(&mut RunnerConfig)) -> Vec<World> {
    let bare = World::with(|config| {
        config.sandbox.policy = Policy::Off;
        change(config);
    });
    let mut worlds = vec![bare];
    match World::sandboxed(|config| change(config)) {
        Ok(world) => worlds.push(world),
        Err(why) => skip(&format!("the runner does not start: {why}")),
    }
    worlds
}

const COUNTS: &str = r#"
import sys
print("begins")
count = 0
def handler(event, context):
    global count
    count += 1
    print("task", count)
    print("error", count, file=sys.stderr)
    return {"count": count, "event": event, "id": context.aws_request_id, "token": context.client_context.custom["task_token"]}
"#;

#[tokio::test]
async fn a_worker_takes_one_task_after_another() {
    for world in worlds(|config| config.slots = 1).await {
        let revision = python(&world, COUNTS);
        for count in 1..=3 {
            let held = queue(&world, &revision, r#"{"a": 1}"#);
            let report = world.server.report(held).await;
            assert_eq!(report.exit, Exit::Code(0), "{}", world.log(held));
            let said: serde_json::Value = serde_json::from_str(result(&report)).unwrap();
            assert_eq!((&said["count"], &said["event"]["a"]), (&count.into(), &1.into()));
            assert_eq!(said["id"], format!("{}-1", held.task));
            let begins = if count == 1 { "begins\n" } else { "" };
            let log = world.log(held);
            assert!(log.starts_with(&format!("{begins}task {count}\n")), "{log}");
            assert!(log.ends_with(&format!("error {count}\n")), "{log}");
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn an_error_of_the_handler_is_the_tasks_and_the_worker_goes_on() {
    let world = World::bare();
    let revision = python(
        &world,
        "n = 0\ndef handler(event, context):\n  global n; n += 1\n  if event == 'bad': raise ValueError('no good')\n  return n\n",
    );
    let (report, log) = run(&world, &revision, r#""bad""#).await;
    assert_eq!(error(&report), ("ValueError", "ValueError: no good"));
    assert!(log.contains("Traceback"), "{log}");
    let (report, _) = run(&world, &revision, r#""good""#).await;
    assert_eq!((report.exit.clone(), result(&report)), (Exit::Code(0), "2"));
    // What is no JSON fails alone.
    let (report, _) = run(&world, &revision, "{").await;
    assert_eq!(error(&report).0, "JSONDecodeError");
    world.stop().await;
}

#[tokio::test]
async fn node_handlers_are_called_in_every_way() {
    let world = World::bare();
    let script = r#"
exports.later = async (event, context) => ({ got: event, left: context.getRemainingTimeInMillis() > 0 });
exports.back = (event, context, done) => done(null, "back");
exports.bad = async () => { throw new TypeError("no good"); };
"#;
    let package = world.server.package(zip(&[("src/index.js", script.as_bytes(), 0o644)]));
    for (handler, expected) in [("later", r#"{"got":{"a":1},"left":true}"#), ("back", r#""back""#)] {
        let launch = warm("nodejs20.x", &format!("src/index.{handler}"));
        let revision = world.server.revision(Some(package.clone()), launch);
        let (report, log) = run(&world, &revision, r#"{"a":1}"#).await;
        assert_eq!((report.exit.clone(), result(&report)), (Exit::Code(0), expected), "{log}");
    }
    let bad = world.server.revision(Some(package.clone()), warm("node", "src/index.bad"));
    assert_eq!(error(&run(&world, &bad, "1").await.0), ("TypeError", "TypeError: no good"));
    let none = world.server.revision(Some(package.clone()), warm("node", "src/index.none"));
    assert_eq!(error(&run(&world, &none, "1").await.0).0, "Runtime.HandlerNotFound");
    let nowhere = world.server.revision(Some(package), warm("node", "nowhere.handler"));
    assert_eq!(error(&run(&world, &nowhere, "1").await.0).0, "Runtime.ImportModuleError");
    world.stop().await;
}

#[tokio::test]
async fn the_packages_own_client_is_used_where_it_has_one() {
    let world = World::bare();
    // As the one of AWS is started; it needs a compiler to be installed.
    let client = r#"
export const run = async (root, handler) => {
  const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/`;
  for (;;) {
    const task = await fetch(api + "next");
    await task.text();
    const id = task.headers.get("lambda-runtime-aws-request-id");
    await (await fetch(api + id + "/response", { method: "POST", body: JSON.stringify([root === process.cwd(), handler]) })).text();
  }
};
"#;
    let package = world.server.package(zip(&[
        ("node_modules/aws-lambda-ric/package.json", br#"{"main": "dist/index.mjs"}"#, 0o644),
        ("node_modules/aws-lambda-ric/dist/index.mjs", client.as_bytes(), 0o644),
    ]));
    let revision = world.server.revision(Some(package), warm("node", "app.handler"));
    let (report, log) = run(&world, &revision, "{}").await;
    assert_eq!((report.exit.clone(), result(&report)), (Exit::Code(0), r#"[true,"app.handler"]"#), "{log}");
    world.stop().await;
}

#[tokio::test]
async fn whatever_a_worker_does_wrong_is_said_and_its_slot_is_clean_afterwards() {
    for world in worlds(|config| config.slots = 1).await {
        let fine = python(&world, "def handler(event, context): return 'fine'\n");
        let answer = |what: &str| format!("while True:\n  id = next()\n  {what}\n");
        let cases: Vec<(RevisionSpec, &str, &str)> = vec![
            (python(&world, ""), "AttributeError", "has no attribute 'handler'"),
            (python(&world, "import nothing_such"), "ModuleNotFoundError", "No module named 'nothing_such'"),
            (
                provided(&world, "print('no', file=sys.stderr); sys.exit(3)"),
                "Init Error",
                "the worker ended before it asked for a task (exit code 3): no",
            ),
            (provided(&world, "time.sleep(99)"), "Init Timeout", "did not ask for a task within 2 s"),
            (
                provided(&world, &answer("call('POST', f'invocation/{id}/response', b'x' * 100_000_000)")),
                "Response Too Large",
                "the response has 95.3 MiB, the most that is kept is 1 MiB",
            ),
            (provided(&world, &answer("pass")), "Protocol Error", "asked for another task"),
            (
                provided(&world, &answer("call('POST', 'invocation/other/response', b'x')")),
                "Protocol Error",
                "answered a task that it does not have",
            ),
            (provided(&world, &answer("sys.exit(0)")), "Worker Exit 0", "without an answer"),
            (
                provided(
                    &world,
                    "call('POST', 'init/error', b'{\"errorType\":\"Odd\",\"errorMessage\":\"no\"}')",
                ),
                "Odd",
                "no",
            ),
        ];
        for (revision, class, words) in cases {
            let held = world.server.queue(&revision, |task| task.timeout_s = 2);
            let report = world.server.report(held).await;
            let (seen, msg) = error(&report);
            assert!(seen == class && msg.contains(words), "{class}: {seen}, {msg}; {}", world.log(held));
            let (report, log) = run(&world, &fine, "1").await;
            assert_eq!(
                (report.exit.clone(), result(&report)),
                (Exit::Code(0), r#""fine""#),
                "{class}: {log}"
            );
        }
        // A task that runs too long, one that is killed and one that ends its worker by itself.
        let slow = python(&world, "import time\ndef handler(event, context): time.sleep(99)\n");
        let held = world.server.queue(&slow, |task| task.timeout_s = 1);
        assert_eq!(world.server.report(held).await.exit, Exit::TimedOut);
        let dies = python(&world, "import os\ndef handler(event, context): os._exit(7)\n");
        assert_eq!(run(&world, &dies, "1").await.0.exit, Exit::Code(7));
        let killed =
            python(&world, "import os, signal\ndef handler(event, context): os.kill(os.getpid(), 9)\n");
        assert_eq!(run(&world, &killed, "1").await.0.exit, Exit::Signal(9));
        let (report, _) = run(&world, &fine, "1").await;
        assert_eq!(report.exit, Exit::Code(0));
        world.stop().await;
    }
}

#[tokio::test]
async fn a_second_answer_changes_nothing_and_costs_the_worker_its_life() {
    let world = World::with(|config| config.slots = 1);
    let revision = provided(
        &world,
        "n = 0\nwhile True:\n  id = next(); n += 1\n  call('POST', f'invocation/{id}/response', str(n).encode())\n  \
         call('POST', f'invocation/{id}/response', b'again')\n",
    );
    for _ in 0..2 {
        let (report, _) = run(&world, &revision, "1").await;
        assert_eq!((report.exit.clone(), result(&report)), (Exit::Code(0), "1"));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_crash_costs_nobody_else() {
    let world = World::with(|config| config.slots = 2);
    let script =
        "import os\ndef handler(event, context):\n  if event % 5 == 0: os._exit(1)\n  return event\n";
    let revision = python(&world, script);
    let tasks: Vec<(u32, Held)> = (0..30).map(|n| (n, queue(&world, &revision, &n.to_string()))).collect();
    for (n, held) in tasks {
        let report = world.server.until("an end", |state| {
            state.reports.iter().find(|report| report.held.task == held.task).cloned()
        });
        let expected = if n % 5 == 0 { Exit::Code(1) } else { Exit::Code(0) };
        assert_eq!(report.await.exit, expected, "{n}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_cancelled_task_takes_its_worker_along() {
    let world = World::with(|config| config.slots = 1);
    world.server.with(|state| state.heartbeat_ms = 50);
    let script =
        "import time\ndef handler(event, context):\n  print('begun', flush=True)\n  time.sleep(99)\n";
    let revision = python(&world, script);
    let held = queue(&world, &revision, "1");
    world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    world.server.with(|state| state.cancel.push(held));
    assert_eq!(world.server.report(held).await.exit, Exit::Cancelled);
    world.stop().await;
}

#[tokio::test]
async fn workers_are_replaced_after_their_tasks_and_give_way_to_others() {
    let world = World::with(|config| config.slots = 1);
    let mut revision = python(&world, "import os\ndef handler(event, context): return os.getpid()\n");
    revision.keep.max_tasks = 2;
    let mut pids = Vec::new();
    for _ in 0..4 {
        let (report, _) = run(&world, &revision, "1").await;
        pids.push(result(&report).to_owned());
    }
    assert!(pids[0] == pids[1] && pids[1] != pids[2] && pids[2] == pids[3], "{pids:?}");
    // The only slot is held by a worker that has nothing to do.
    let (report, log) = run(&world, &world.sh("echo process"), "").await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "process\n"));
    let (report, _) = run(&world, &revision, "1").await;
    assert_ne!(result(&report), pids[3]);
    world.stop().await;
}

#[tokio::test]
async fn who_has_nothing_to_do_is_ended_after_a_while() {
    let world = World::with(|config| config.slots = 1);
    let mut revision = python(&world, "def handler(event, context): return 1\n");
    revision.keep.idle_timeout_s = 1;
    run(&world, &revision, "1").await;
    assert_eq!(world.processes().len(), 1);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !world.processes().is_empty() {
        assert!(std::time::Instant::now() < deadline, "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn packages_take_turns_and_never_share_a_worker() {
    for world in worlds(|config| config.slots = 2).await {
        let named = |name: &str| python(&world, &format!("def handler(event, context): return '{name}'\n"));
        let revisions: Vec<(String, RevisionSpec)> =
            ["a", "b", "c"].iter().map(|name| (format!("\"{name}\""), named(name))).collect();
        let tasks: Vec<(&String, Held)> = (0..8)
            .flat_map(|_| revisions.iter().map(|(name, revision)| (name, queue(&world, revision, "1"))))
            .collect();
        for (name, held) in tasks {
            let report = world.server.until("an end", |state| {
                state.reports.iter().find(|report| report.held.task == held.task).cloned()
            });
            assert_eq!(result(&report.await), name);
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_worker_without_a_network_finds_its_runner_all_the_same() {
    for world in worlds(|config| config.slots = 1).await {
        let mut revision = python(&world, "def handler(event, context): return 1\n");
        revision.network = Network::None;
        let (report, log) = run(&world, &revision, "1").await;
        match report.exit {
            Exit::Code(0) => {}
            // Into a network that the task makes itself nobody reaches.
            Exit::NotStarted(why) if !nix::unistd::geteuid().is_root() => {
                assert!(why.contains("network none"), "{why}");
            }
            exit => panic!("{exit:?}; {log}"),
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn the_examples_work() {
    let world = World::with(|config| config.slots = 1);
    let files = [
        ("worker.sh", include_str!("../../../../examples/warm/shell/worker.sh"), "sh worker.sh"),
        ("worker.py", include_str!("../../../../examples/warm/python/worker.py"), "python3 worker.py"),
        ("worker.js", include_str!("../../../../examples/warm/node/worker.js"), "node worker.js"),
    ];
    for (name, content, line) in files {
        let package = world.server.package(zip(&[(name, content.as_bytes(), 0o644)]));
        let launch = Launch { mode: Mode::Warm, command: line.to_owned(), ..Launch::default() };
        let revision = world.server.revision(Some(package), launch);
        for _ in 0..2 {
            let (report, log) = run(&world, &revision, r#"{"name": "Outcast"}"#).await;
            assert_eq!(report.exit, Exit::Code(0), "{log}");
            let said: serde_json::Value = serde_json::from_str(result(&report)).unwrap();
            let whom = if name == "worker.sh" { &said["hello"]["name"] } else { &said["hello"] };
            assert_eq!(whom, "Outcast");
        }
    }
    world.stop().await;
}
