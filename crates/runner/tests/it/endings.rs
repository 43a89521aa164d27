//! How attempts end, and that nothing of them is left.

use std::time::Duration;

use windlass_model::exit::Exit;

use crate::support::{World, command, runtime, zip};

#[tokio::test]
async fn an_exit_code_and_a_signal_are_told_apart() {
    let world = World::start();
    let queue = |script| world.server.queue(&world.sh(script), |_| {});
    let (zero, three, signal) = (queue("exit 0"), queue("echo why >&2; exit 3"), queue("kill -SEGV $$"));
    assert_eq!(world.server.report(zero).await.exit, Exit::Code(0));
    let report = world.server.report(three).await;
    assert_eq!((report.exit, report.stderr_tail.0), (Exit::Code(3), b"why\n".to_vec()));
    assert_eq!(world.server.report(signal).await.exit, Exit::Signal(11));
    world.stop().await;
}

#[tokio::test]
async fn usage_and_isolation_are_reported() {
    let world = World::start();
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let report = world.server.report(world.server.queue(&world.sh(busy), |_| {})).await;
    assert!(report.usage.user_us > 10_000, "{:?}", report.usage);
    assert!(report.usage.wall_ms * 1000 >= report.usage.user_us / 2, "{:?}", report.usage);
    assert!((100_000..100_000_000).contains(&report.usage.peak_memory_bytes), "{:?}", report.usage);
    assert!(!report.isolation.level.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_timeout_is_obeyed_or_enforced() {
    let world = World::with(|config| config.limits.grace = Duration::from_millis(1500));
    let obeys = world.sh("trap 'echo bye; exit 7' TERM; sleep 60 & wait");
    let ignores = world.sh("trap '' TERM; sleep 60; sleep 60");
    let obeys = world.server.queue(&obeys, |task| task.timeout_s = 1);
    let ignores = world.server.queue(&ignores, |task| task.timeout_s = 1);
    let report = world.server.report(obeys).await;
    assert_eq!(report.exit, Exit::TimedOut);
    assert!((1000..2500).contains(&report.usage.wall_ms), "{:?}", report.usage);
    assert_eq!(world.log(obeys), "bye\n");
    let report = world.server.report(ignores).await;
    assert_eq!(report.exit, Exit::TimedOut);
    assert!((2500..5000).contains(&report.usage.wall_ms), "{:?}", report.usage);
    assert_eq!(world.processes(), [""; 0]);
    world.stop().await;
}

#[tokio::test]
async fn a_worker_that_leaves_its_group_is_ended_all_the_same() {
    let world = World::bare();
    let leaves = world.sh("exec perl -e '$p = getppid; setpgrp(0, $p) or die $!; $| = 1; print getpgrp == $p; exec qw(sleep 60)'");
    let leaves = world.server.queue(&leaves, |task| task.timeout_s = 1);
    let report = world.server.report(leaves).await;
    assert_eq!((report.exit, world.log(leaves).as_str()), (Exit::TimedOut, "1"));
    assert_eq!(world.processes(), [""; 0]);
    world.stop().await;
}

#[tokio::test]
async fn a_cancel_reaches_a_running_attempt_at_once() {
    let world = World::start();
    let held = world.server.queue(&world.sh("echo here; sleep 60"), |_| {});
    world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    let asked = std::time::Instant::now();
    world.server.with(|state| state.cancel.push(held));
    let report = world.server.report(held).await;
    assert_eq!(report.exit, Exit::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(world.processes(), [""; 0]);
    world.stop().await;
}

#[tokio::test]
async fn nothing_outlives_its_attempt() {
    let world = World::start();
    let daemon = "setsid sh -c 'trap \"\" TERM HUP; sleep 60; sleep 60' & sleep 60 & (sleep 60 &) ; exit 0";
    let report = world.server.report(world.server.queue(&world.sh(daemon), |_| {})).await;
    assert_eq!(report.exit, Exit::Code(0));
    assert!(report.usage.wall_ms < 5_000, "{:?}", report.usage);
    assert_eq!(world.processes(), [""; 0]);
    world.stop().await;
}

#[tokio::test]
async fn a_daemon_of_one_attempt_is_ended_while_another_runs() {
    let world = World::start();
    let long = world.server.queue(&world.sh("echo here; sleep 60"), |_| {});
    world.server.until("output", |state| (!state.log(long).is_empty()).then_some(())).await;
    let short =
        world.server.queue(&world.sh("setsid sh -c 'setsid sleep 77 & sleep 78' & sleep 0.1"), |_| {});
    assert_eq!(world.server.report(short).await.exit, Exit::Code(0));
    let left = world.processes();
    assert!(!left.is_empty() && !left.iter().any(|line| line.contains("sleep 7")), "{left:?}");
    world.server.with(|state| state.cancel.push(long));
    assert_eq!(world.server.report(long).await.exit, Exit::Cancelled);
    world.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let world = World::start();
    let text = zip(&[("data.txt", b"text", 0o644), ("script", b"#!/no/such/interpreter\n", 0o644)]);
    let package = Some(world.server.package(text));
    let why = async |launch| {
        let revision = world.server.revision(package.clone(), launch);
        match world.server.report(world.server.queue(&revision, |_| {})).await.exit {
            Exit::NotStarted(why) => why,
            exit => panic!("{exit:?}"),
        }
    };
    let answers = [
        why(runtime("binary", "data.txt")).await,
        why(runtime("binary", "script")).await,
        why(runtime("binary", "nothing")).await,
        why(runtime("cobol", "data.txt")).await,
        why(runtime("", "data.txt")).await,
        why(windlass_model::code::Launch { image: "img".to_owned(), ..Default::default() }).await,
    ];
    insta::assert_snapshot!(answers.join("\n"), @r"
    cannot run ./data.txt: it is no program for this machine, and has no first line that names an interpreter
    cannot run ./script: the interpreter that its first line names is not on this runner
    the package has no file `nothing`; it has data.txt, script
    unknown runtime `cobol`; there are sh, ruby, python, php, node, perl, java, mono, go, binary
    `data.txt` is not executable, and the package names no runtime to run it with
    the package is a container image, and this runner runs tasks without a sandbox, which images need: see its setting sandbox.policy
    ");
    let revision = world.server.revision(package, command("no-such-program --flag"));
    let report = world.server.report(world.server.queue(&revision, |_| {})).await;
    assert_eq!(report.exit, Exit::Code(127));
    world.stop().await;
}
