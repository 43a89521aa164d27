//! Warm workers that attack: each other's endpoints, the machine, and whoever has the slot after them.

use windlass_model::code::Launch;
use windlass_model::exit::Exit;
use windlass_model::isolation::Level;
use windlass_model::log::size_bytes;
use windlass_model::runner::RevisionSpec;
use windlass_model::warm::Mode;

use super::{Target, target, target_with};

fn warm(target: &Target, script: &str) -> RevisionSpec {
    let launch = Launch {
        mode: Mode::Warm,
        runtime: "python3".to_owned(),
        handler: "app.handler".to_owned(),
        ..Launch::default()
    };
    RevisionSpec { launch, ..target.revision(&[("app.py", script.as_bytes(), 0o644)], "") }
}

fn result(report: &windlass_model::runner::Report) -> &str {
    report.result.as_ref().map_or("", |result| std::str::from_utf8(&result.0).unwrap())
}

/// Looks for endpoints in all slots of this and other runners, and tries to steal or answer tasks there.
const THIEF: &str = r#"
import http.client, ipaddress, os, socket, urllib.request
def addresses():
    yield "127.0.0.1"
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try: own.connect(("192.0.2.1", 9)); own = own.getsockname()[0]
    except OSError: return
    for n in range(-8, 9):
        near = ipaddress.ip_address(own) + n
        # What is outside of it is the internet, which it may reach.
        if near in ipaddress.ip_network("198.18.0.0/15"): yield str(near)
def handler(event, context):
    seen = []
    for address in addresses():
        if address == "127.0.0.1": continue
        for port in (9001, 80, 53):
            try:
                with socket.create_connection((address, port), 0.2): seen.append(f"{address}:{port}")
            except OSError: pass
    return seen
"#;

/// Answers a task of another worker, whose name it knows.
const FORGER: &str = r#"
import os, urllib.request
def handler(event, context):
    url = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation/{event}/response"
    try: urllib.request.urlopen(url, b'"forged"')
    except urllib.error.HTTPError as error: return error.code
    return "taken"
"#;

#[tokio::test]
async fn a_worker_reaches_no_endpoint_but_its_own() {
    let Some(target) = target(Level::Namespaces).await else { return };
    if !target.has("network") {
        return;
    }
    let victim = warm(&target, "import time\ndef handler(event, context): time.sleep(3); return 'mine'\n");
    let held = target.queue(&victim);
    let (report, log) = target.run(&warm(&target, THIEF)).await;
    assert_eq!((report.exit.clone(), result(&report)), (Exit::Code(0), "[]"), "{log}");
    let forger = warm(&target, FORGER);
    let name = format!("\"{}-1\"", held.task);
    let forged = target.world.server.queue(&forger, |task| task.payload.0 = name.into_bytes());
    let (report, _) = target.end_of(forged).await;
    let is_refused = matches!(&report.exit, Exit::Error { msg, .. } if msg.contains("does not have"));
    assert!(is_refused, "{:?}", report.exit);
    // Nor does a process, from the slot that is left.
    let process = target.python(
        "import socket\ntry: socket.create_connection(('127.0.0.1', 9001), 1); print('reached')\nexcept OSError: print('refused')",
    );
    assert_eq!(target.run(&process).await.1, "refused\n");
    let (report, _) = target.end_of(held).await;
    assert_eq!((report.exit.clone(), result(&report)), (Exit::Code(0), "\"mine\""));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn who_was_in_the_slot_before_hears_nothing_of_a_worker() {
    let Some(target) = target_with(Level::Namespaces, |config| config.slots = 1).await else { return };
    // It waits for whoever comes to the worker's address.
    let squatter = r#"
import os, socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("127.0.0.1", 9001)); s.listen()
if os.fork() == 0: os.setsid(); time.sleep(60)
print("waits")
"#;
    let (_, log) = target.run(&target.python(squatter)).await;
    assert!(log.contains("waits"), "{log}");
    let (report, log) = target.run(&warm(&target, "def handler(event, context): return 'mine'\n")).await;
    assert_eq!((report.exit.clone(), result(&report)), (Exit::Code(0), "\"mine\""), "{log}");
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_worker_out_of_memory_fails_its_task_alone() {
    let Some(target) = target_with(Level::CgroupsV1, |config| config.slots = 1).await else { return };
    let script = "def handler(event, context):\n  if event == 2: b'x' * (512 << 20)\n  return event\n";
    let mut revision = warm(&target, script);
    revision.limits.memory_bytes = 64 << 20;
    for n in [1, 2, 3] {
        let held = target.world.server.queue(&revision, |task| task.payload.0 = n.to_string().into_bytes());
        let (report, _) = target.end_of(held).await;
        match report.exit {
            Exit::OutOfMemory { limit_bytes, .. } => assert_eq!((n, limit_bytes), (2, 64 << 20)),
            exit => assert!(n != 2 && exit == Exit::Code(0), "{n}: {exit:?}"),
        }
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn what_a_task_leaves_behind_ends_with_its_worker() {
    let Some(target) = target_with(Level::CgroupsV1, |config| config.slots = 1).await else { return };
    let script = r#"
import os, time
def handler(event, context):
    if os.fork() == 0:
        os.setsid()
        os.close(1); os.close(2)
        time.sleep(60)
        os._exit(0)
    return os.getpid()
"#;
    let revision = warm(&target, script);
    let (report, log) = target.run(&revision).await;
    assert_eq!(report.exit, Exit::Code(0));
    assert!(log.contains("left processes behind"), "{log}");
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_worker_that_writes_without_end_is_bounded() {
    let Some(target) = target_with(Level::Namespaces, |config| config.slots = 1).await else { return };
    let script = "import sys\ndef handler(event, context):\n  for _ in range(64): sys.stdout.write('x' * (1 << 20))\n  return 1\n";
    let mut revision = warm(&target, script);
    revision.limits.output_bytes = 1 << 16;
    let held = target.queue(&revision);
    let (report, log) = target.end_of(held).await;
    assert_eq!(report.exit, Exit::Code(0));
    assert!(log.contains("bytes of output left out here") && log.len() < 1 << 17, "{}", log.len());
    let kept = target.world.server.with(|state| size_bytes(&state.log(held)));
    assert!(kept < 1 << 17, "{kept}");
    target.ends_unharmed().await;
}
