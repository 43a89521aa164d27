//! Against other processes, and against being ended.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use windlass_model::exit::Exit;
use windlass_model::isolation::Level;

use super::{target, target_with};

#[tokio::test]
async fn a_daemon_ends_with_its_attempt() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let daemon = r#"
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except OSError: pass
        sys.stdout.close(); sys.stderr.close()
        time.sleep(60)
    os._exit(0)
print("left a daemon")
"#;
    let (report, log) = target.run(&target.python(daemon)).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "left a daemon\n"));
    assert!(report.usage.wall_ms < 10_000, "{:?}", report.usage);
    assert_eq!(target.processes(), [""; 0]);
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_timeout_is_obeyed_or_enforced_in_the_sandbox_too() {
    let change =
        |config: &mut windlass_runner::RunnerConfig| config.limits.grace = Duration::from_millis(1000);
    let Some(target) = target_with(Level::Namespaces, change).await else { return };
    let queue = |script| target.world.server.queue(&target.sh(script), |task| task.timeout_s = 1);
    let obeys = queue("trap 'echo bye; exit 7' TERM; sleep 60 & wait");
    let ignores = queue("trap '' TERM; (trap '' TERM; sleep 60; sleep 60) & sleep 60; sleep 60");
    let (report, log) = target.end_of(obeys).await;
    assert_eq!((report.exit, log.as_str()), (Exit::TimedOut, "bye\n"));
    assert!((1000..2000).contains(&report.usage.wall_ms), "{:?}", report.usage);
    let (report, _) = target.end_of(ignores).await;
    assert_eq!(report.exit, Exit::TimedOut);
    assert!((2000..5000).contains(&report.usage.wall_ms), "{:?}", report.usage);
    assert_eq!(target.processes(), [""; 0]);
    target.ends_unharmed().await;
}

/// Signals whatever can be named, with the numbers that are worth a try.
const KILLER: &str = r#"
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
outside = [int(pid) for pid in sys.argv[1:]]
for pid in outside + [1]:
    for number in (0, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGKILL):
        try: os.kill(pid, number); print("reached", pid, number)
        except (ProcessLookupError, PermissionError): pass
    try: os.pidfd_open(pid) if pid != 1 else None
    except ProcessLookupError: continue
    if pid != 1: print("opened", pid)
# Reaches this one, too, if it reaches any.
if os.fork() == 0:
    os.setsid()
    try: os.kill(-1, signal.SIGCONT)
    except PermissionError: pass
    os._exit(0)
os.wait()
print("lives")
"#;

#[tokio::test]
async fn neither_the_runner_nor_init_can_be_signalled() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let mut revision = target.python(KILLER);
    let parent = std::os::unix::process::parent_id();
    revision.launch.command += &format!(" {} {parent}", std::process::id());
    let (report, log) = target.run(&revision).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "lives\n"));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn only_its_own_processes_are_in_its_list() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let other = target.queue(&target.sh("echo here; sleep 20"));
    target.has_begun(other).await;
    let look = r#"
import os
mine = {1, os.getpid(), os.getppid()}
for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
    if pid not in mine: print("sees", pid, open(f"/proc/{pid}/cmdline").read())
for name in ("environ", "mem", "maps", "fd", "root", "cwd"):
    try:
        path = f"/proc/1/{name}"
        os.listdir(path) if name == "fd" else os.readlink(path) if name in ("root", "cwd") else open(path).read()
        print("reads", name, "of init")
    except OSError: pass
"#;
    let (report, log) = target.run(&target.python(look)).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), ""));
    target.world.server.with(|state| state.cancel.push(other));
    target.end_of(other).await;
    target.ends_unharmed().await;
}

#[tokio::test]
async fn nothing_of_the_runner_is_inherited() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let look = r#"
import os
for fd in range(3, 1024):
    try: print("open", fd, os.readlink(f"/proc/self/fd/{fd}"))
    except OSError: pass
print("in", os.readlink("/proc/self/fd/0"))
for name in os.environ:
    if name.startswith(("CARGO", "RUST", "SSH", "AWS")) or name in ("HOME_OF_HOST", "USER", "LOGNAME"):
        print("knows", name)
import signal, resource
print("blocked", signal.pthread_sigmask(signal.SIG_BLOCK, []))
print("core", resource.getrlimit(resource.RLIMIT_CORE))
print("ignored", [n for n in range(1, 32) if n not in (9, 19) and signal.getsignal(n) == signal.SIG_IGN
    and n not in (signal.SIGPIPE, signal.SIGXFSZ)])
"#;
    let (report, log) = target.run(&target.python(look)).await;
    assert_eq!(report.exit, Exit::Code(0));
    // 1 also keeps a dump from a program that the host pipes them to; who may have 0 at most has that.
    let core = getrlimit(Resource::RLIMIT_CORE).unwrap().1.min(1);
    assert_eq!(log, format!("in /dev/null\nblocked set()\ncore ({core}, {core})\nignored []\n"));
    target.ends_unharmed().await;
}
