//! Against being ended: each of the ways in which everything of a task goes, whoever dies first.

use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use windlass_model::exit::Exit;
use windlass_model::isolation::Level;
use windlass_model::runner::Report;

use super::{skip, target, target_with};
use crate::server::MARK;
use crate::support::processes_marked;

/// A task with all that is hard to end: a daemon that ignores signals, children, a child of a child.
const FAMILY: &str = "setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 60; done' & sleep 60 & \
    (sleep 60 & sleep 60) & echo here; trap '' TERM; sleep 60; sleep 60";

fn parent_of(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().nth(1).and_then(|ppid| ppid.parse().ok()).unwrap_or(0)
}

/// The spawner above the processes that are listed: the child of ours on the way up.
fn spawner_of(processes: &[String]) -> i32 {
    let pid = |line: &String| line.split([':', '/']).nth(2).and_then(|pid| pid.parse().ok());
    let us = std::process::id().cast_signed();
    processes
        .iter()
        .filter_map(pid)
        .find_map(|mut pid: i32| {
            for _ in 0..20 {
                match parent_of(pid) {
                    parent if parent == us => return Some(pid),
                    0 | 1 => return None,
                    parent => pid = parent,
                }
            }
            None
        })
        .expect("one of the task's processes comes from us")
}

async fn until_gone(what: impl Fn() -> Vec<String>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !what().is_empty() {
        assert!(Instant::now() < deadline, "still there: {:?}", what());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_outlives_a_spawner_that_is_killed_and_its_attempt_is_given_back() {
    let change = |config: &mut windlass_runner::RunnerConfig| config.limits.grace = Duration::ZERO;
    let Some(target) = target_with(Level::Namespaces, change).await else { return };
    let held = target.world.server.queue(&target.sh(FAMILY), |task| task.timeout_s = 5);
    target.has_begun(held).await;
    let processes = target.processes();
    assert!(processes.len() >= 5, "{processes:?}");
    let spawner = nix::unistd::Pid::from_raw(spawner_of(&processes));
    nix::sys::signal::kill(spawner, nix::sys::signal::SIGKILL).unwrap();
    target.world.server.until("a release", |state| state.released.contains(&held).then_some(())).await;
    let alive = |lines: Vec<String>| lines.iter().filter(|line| processes.contains(line)).count();
    assert_eq!(alive(target.processes()), 0, "of {processes:?}");
    // It was queued again, and ran on a new spawner.
    let of_task = |report: &&Report| report.held.task == held.task;
    let again = target.world.server.until("its end", |state| state.reports.iter().find(of_task).cloned());
    assert_eq!(again.await.exit, Exit::TimedOut);
    until_gone(|| target.processes()).await;
    target.ends_unharmed().await;
}

/// Hides the mount table of this thread from the others: what is mounted from here on, the host does not see.
fn apart() -> bool {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let done = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>));
    done.map_err(|why| skip(&format!("mounts cannot be hidden: {why}"))).is_ok()
}

#[test]
fn a_slot_that_comes_back_with_less_than_was_promised_gets_no_tasks() {
    let test = async {
        let Some(target) = target(Level::CgroupsV1).await else { return };
        let server = &target.world.server;
        let both =
            [target.queue(&target.sh("echo $$; sleep 60")), target.queue(&target.sh("echo $$; sleep 60"))];
        target.has_begun(both[0]).await;
        target.has_begun(both[1]).await;
        let spawner = spawner_of(&target.processes());
        // From now on nobody joins its groups.
        let groups = std::fs::read_to_string(format!("/proc/{spawner}/cgroup")).unwrap();
        let path_of = |line: &str| line.split(':').nth(2).unwrap().to_owned();
        let pids = groups.lines().find(|line| line.contains(":pids:") || line.starts_with("0::/")).unwrap();
        let mounted = if pids.starts_with("0::") { "" } else { "/pids" };
        let folder = format!("/sys/fs/cgroup{mounted}{}", path_of(pids));
        let flags = MsFlags::MS_BIND;
        mount(Some(&*folder), &*folder, None::<&str>, flags, None::<&str>).unwrap();
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, &*folder, None::<&str>, flags, None::<&str>).unwrap();
        let pid = nix::unistd::Pid::from_raw(spawner);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
        server
            .until("a release", |state| both.iter().find(|held| state.released.contains(held)).copied())
            .await;
        server.with(|state| state.cancel.extend(both));
        // One is told that its slot could not be had; all that follow run in the other.
        let look = target.python("import os; print(os.getuid())");
        let mut users = std::collections::BTreeSet::new();
        let mut unable = 0;
        for _ in 0..6 {
            match target.run(&look).await {
                (Report { exit: Exit::Code(0), .. }, user) => drop(users.insert(user)),
                (Report { exit: Exit::Unable(why), .. }, _) => {
                    assert!(why.contains("lacks what its tasks were promised: control groups"), "{why}");
                    unable += 1;
                }
                (report, log) => panic!("{report:?}: {log}"),
            }
        }
        assert!(users.len() == 1 && unable <= 1, "{users:?}, {unable} unable");
        target.world.stop().await;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if nix::unistd::geteuid().is_root() && apart() {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(test);
            }
        });
    });
}

#[tokio::test]
async fn a_cancelled_family_is_gone_when_its_end_is_told() {
    let change =
        |config: &mut windlass_runner::RunnerConfig| config.limits.grace = Duration::from_millis(300);
    let Some(target) = target_with(Level::Namespaces, change).await else { return };
    let held = target.queue(&target.sh(FAMILY));
    target.has_begun(held).await;
    target.world.server.with(|state| state.cancel.push(held));
    let (report, _) = target.end_of(held).await;
    assert_eq!(report.exit, Exit::Cancelled);
    assert_eq!(target.processes(), [""; 0]);
    target.ends_unharmed().await;
}

/// Lives in a process of its own, for the test below to kill.
#[tokio::test]
#[ignore = "part of another test"]
async fn a_runner_with_a_family() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let held = target.queue(&target.sh(FAMILY));
    target.has_begun(held).await;
    println!("{MARK}={} {}", target.world.server.mark(), target.processes().len());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn nothing_outlives_a_runner_that_is_killed() {
    use std::io::BufRead as _;
    let Some(target) = target(Level::Namespaces).await else { return };
    let mut program = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "attacks::survival::a_runner_with_a_family", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line =
        output.filter_map(|line| Some(line.split_once(&format!("{MARK}="))?.1.to_owned())).next().unwrap();
    let (mark, processes) = line.split_once(' ').unwrap();
    assert!(processes.parse::<usize>().unwrap() >= 5, "{line}");
    program.kill().unwrap();
    program.wait().unwrap();
    let entry = format!("{MARK}={mark}");
    until_gone(|| processes_marked(&entry).iter().map(ToString::to_string).collect()).await;
    target.ends_unharmed().await;
}
