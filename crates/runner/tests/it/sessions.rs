//! Claims, leases, and servers that are away.

use std::time::Duration;

use windlass_model::exit::Exit;

use windlass_runner::Policy;

use crate::support::{World, config};

#[tokio::test]
async fn two_slots_run_at_once_and_no_more() {
    let world = World::start();
    // Each waits for the other: both end only if both run at once.
    let shared = world.work_dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let script = format!(
        "cd {}; touch $TASK_ID; while [ $(ls | wc -l) -lt 2 ]; do sleep 0.01; done; echo met",
        shared.display()
    );
    let revision = world.sh(&script);
    let (a, b) = (world.server.queue(&revision, |_| {}), world.server.queue(&revision, |_| {}));
    for held in [a, b] {
        assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
    }
    let sleeper = world.sh("echo here; sleep 60");
    for _ in 0..3 {
        world.server.queue(&sleeper, |_| {});
    }
    world.server.until("two", |state| (state.chunks.len() == 4).then_some(())).await;
    assert_eq!(world.runner.busy(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_slot_that_gets_free_does_not_wait_for_a_claim_that_is_waiting() {
    let world = World::start();
    let quick = world.sh("sleep 0.2");
    let long = world.sh("echo here; sleep 60");
    // One slot is taken, for the other a claim waits; when the first gets free, both are wanted.
    let first = world.server.queue(&quick, |_| {});
    world.server.report(first).await;
    let (a, b) = (world.server.queue(&long, |_| {}), world.server.queue(&long, |_| {}));
    let asked = std::time::Instant::now();
    for held in [a, b] {
        world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn many_short_tasks_are_each_reported_once() {
    let world = World::start();
    let revision = world.sh("exit 0");
    let all: Vec<_> = (0..200).map(|_| world.server.queue(&revision, |_| {})).collect();
    world.server.until("all", |state| (state.reports.len() == all.len()).then_some(())).await;
    world.server.with(|state| {
        assert_eq!(state.refused, []);
        assert!(state.held.is_empty());
        // A report and the next claim are one call, and hardly anything is asked for beside it.
        assert!(state.calls["finish"] <= 200 && state.calls["claim"] <= 20, "{:?}", state.calls);
    });
    world.stop().await;
}

#[tokio::test]
async fn what_was_claimed_ahead_and_cannot_start_is_given_back() {
    // Work is claimed ahead only where tasks are short.
    let world = World::with(|config| {
        config.slots = 1;
        config.sandbox.policy = Policy::Off;
    });
    let quick = world.sh("[ -s $PAYLOAD_FILE ] && sleep 60; exit 0");
    for held in (0..10).map(|_| world.server.queue(&quick, |_| {})).collect::<Vec<_>>() {
        world.server.report(held).await;
    }
    // All at once, so that they are claimed together.
    let (long, stuck) = world.server.with(|state| {
        let long = state.add(&quick, |task| task.payload.0 = b"long".to_vec());
        (long, [(); 6].map(|()| state.add(&quick, |_| {})))
    });
    let is_back = |state: &crate::server::State| {
        let back =
            |held: &&windlass_model::runner::Held| state.queue.iter().any(|(task, _)| task.task == held.task);
        (stuck.iter().filter(back).count() == stuck.len() && state.held.len() == 1).then_some(())
    };
    world.server.until("all but the long one to be in the queue", is_back).await;
    // How many are claimed ahead depends on how fast this machine is just now, none if it is slow; each is given back once.
    world.server.with(|state| assert!(state.released.len() <= stuck.len(), "{:?}", state.released));
    world.server.with(|state| state.cancel.push(long));
    assert_eq!(world.server.report(long).await.exit, Exit::Cancelled);
    for held in stuck {
        let ended = |state: &crate::server::State| {
            state.reports.iter().find(|report| report.held.task == held.task).cloned()
        };
        assert_eq!(world.server.until("a report", ended).await.exit, Exit::Code(0));
    }
    world.server.with(|state| assert_eq!((state.reports.len(), state.refused.len()), (17, 0)));
    world.stop().await;
}

#[tokio::test]
async fn a_lost_lease_ends_the_attempt_without_a_report() {
    let world = World::start();
    let held = world.server.queue(&world.sh("echo here; sleep 60"), |_| {});
    world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    world.server.with(|state| state.lost.push(held));
    let after = world.server.queue(&world.sh("exit 0"), |_| {});
    world.server.report(after).await;
    while !world.processes().is_empty() {
        tokio::task::yield_now().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_drain_lets_attempts_end_and_gives_the_rest_back() {
    let world = World::with(|config| {
        config.drain = Duration::from_secs(1);
        config.limits.grace = Duration::from_millis(100);
    });
    let short = world.server.queue(&world.sh("echo here; sleep 0.5; echo end"), |_| {});
    let long = world.server.queue(&world.sh("echo here; sleep 60"), |_| {});
    for held in [short, long] {
        world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    }
    world.runner.shutdown();
    let never = world.server.queue(&world.sh("exit 0"), |_| {});
    assert_eq!(world.server.report(short).await.exit, Exit::Code(0));
    let server = world.server.clone();
    world.runner.wait().await;
    server.with(|state| {
        assert_eq!((state.released.clone(), state.left), (vec![long], 1));
        assert!(state.reports.iter().all(|report| report.held != never));
    });
}

#[tokio::test]
async fn a_server_that_is_away_for_a_while_gets_every_report_once() {
    let world = World::start();
    let held =
        world.server.queue(&world.sh("echo here; while [ ! -e go ]; do sleep 0.01; done; echo end"), |_| {});
    world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    world.server.with(|state| state.is_away = true);
    std::fs::write(world.task_dir(held).join("go"), "").unwrap();
    while !world.processes().is_empty() {
        tokio::task::yield_now().await;
    }
    world.server.with(|state| state.is_away = false);
    assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
    assert_eq!(world.log(held), "here\nend\n");
    world.stop().await;
}

#[tokio::test]
async fn tasks_in_an_answer_that_was_lost_are_not_stuck() {
    let world = World::start();
    // A long attempt keeps the session busy, which must not keep the others from being found.
    let long = world.server.queue(&world.sh("echo here; while [ ! -e go ]; do sleep 0.01; done"), |_| {});
    world.server.until("output", |state| (!state.log(long).is_empty()).then_some(())).await;
    world.server.with(|state| state.lose_answers = 1);
    let lost = world.server.queue(&world.sh("exit 4"), |_| {});
    world.server.until("a second session", |state| (state.registered.len() == 2).then_some(())).await;
    world.server.with(|state| {
        assert!(state.held.contains_key(&lost.fence));
        assert_ne!(state.registered[0].instance, state.registered[1].instance);
    });
    std::fs::write(world.task_dir(long).join("go"), "").unwrap();
    assert_eq!(world.server.report(long).await.exit, Exit::Code(0));
    let again =
        |state: &crate::server::State| state.reports.iter().find(|r| r.held.task == lost.task).cloned();
    assert_eq!(world.server.until("the lost task", again).await.exit, Exit::Code(4));
    world.stop().await;
}

#[tokio::test]
async fn a_session_that_is_over_is_followed_by_another() {
    let world = World::start();
    let held = world.server.queue(&world.sh("echo here; sleep 60"), |_| {});
    world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    world.server.with(|state| {
        state.over.push("000000000000000100000000".to_owned());
        state.heartbeat_ms = 100;
    });
    // The claim that waits is answered, and the next call learns that the session is over.
    let next = world.server.queue(&world.sh("exit 0"), |_| {});
    world.server.until("a second session", |state| (state.registered.len() == 2).then_some(())).await;
    while world.processes().iter().any(|line| line.contains("sleep 60")) {
        tokio::task::yield_now().await;
    }
    world.server.with(|state| assert!(state.reports.iter().all(|r| r.held != held)));
    let _ = next;
    world.stop().await;
}

#[tokio::test]
async fn a_spawner_that_is_killed_is_replaced_and_its_attempts_are_given_back() {
    let world = World::start();
    let script = "echo here; setsid sleep 60 & [ $ATTEMPT = 1 ] && sleep 60; exit 0";
    let held = world.server.queue(&world.sh(script), |_| {});
    world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    let spawner = children_named("windlass-spawner", &world);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(spawner), nix::sys::signal::SIGKILL).unwrap();
    world.server.until("a release", |state| state.released.contains(&held).then_some(())).await;
    let next = world.server.queue(&world.sh("exit 5"), |_| {});
    assert_eq!(world.server.report(next).await.exit, Exit::Code(5));
    world.stop().await;
}

#[tokio::test]
async fn a_worker_that_kills_its_spawner_each_time_fails() {
    let world = World::bare();
    world.server.queue(&world.sh("echo here; kill -9 $PPID; sleep 60"), |_| {});
    let report = world.server.until("a report", |state| state.reports.first().cloned()).await;
    assert_eq!(report.exit, Exit::Signal(9));
    world.server.with(|state| assert_eq!(state.released.len(), 2));
    assert_eq!(world.processes(), [""; 0]);
    world.stop().await;
}

/// The spawner that has a child of this world: the outermost, as in a sandbox a copy of it is the first process.
fn children_named(name: &str, world: &World) -> i32 {
    let of_world = world.processes();
    let pid = of_world[0].split([':', '/']).nth(2).unwrap();
    let (mut pid, mut found): (i32, _) = (pid.parse().unwrap(), None);
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let is_named = status.starts_with(&format!("Name:\t{}", &name[..15.min(name.len())]));
        match found {
            Some(spawner) if !is_named => return spawner,
            _ => found = is_named.then_some(pid),
        }
        pid = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap();
    }
}

#[tokio::test]
async fn a_work_directory_has_one_runner_and_the_next_one_cleans_up() {
    let world = World::start();
    let error =
        windlass_runner::Runner::start(config(world.work_dir.path()), world.server.client()).unwrap_err();
    assert!(error.to_string().contains("another runner uses it"), "{error}");
    let (server, work_dir) = (world.server.clone(), world.work_dir);
    server.until("a session", |state| (state.registered.len() == 1).then_some(())).await;
    world.runner.shutdown_now();
    world.runner.wait().await;
    let stale = work_dir.path().join("attempts").join("99");
    std::fs::create_dir_all(stale.join("inner")).unwrap();
    let runner = windlass_runner::Runner::start(config(work_dir.path()), server.client()).unwrap();
    assert!(!stale.exists());
    server
        .until("the same instance", |state| {
            (state.registered.len() == 2 && state.registered[0].instance == state.registered[1].instance)
                .then_some(())
        })
        .await;
    runner.shutdown_now();
    runner.wait().await;
}
