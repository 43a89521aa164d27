//! Not a test but a measurement, to be run in release mode on a quiet machine:
//! `cargo test --release -p windlass-runner --test it speed -- --ignored --nocapture`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{World, command, zip};

const ROUNDS: usize = 5;
const TASKS: usize = 1000;
const SLOTS: usize = 2;

/// `true` tasks per second through a runner, beside as many bare processes with piped output, in the same run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn true_tasks_beside_bare_processes() {
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let bare = per_second(tokio::task::spawn_blocking(bare).await.unwrap());
        let world = World::with(|config| config.slots = SLOTS);
        let package = world.server.package(zip(&[("readme", b"x", 0o644)]));
        let revision = world.server.revision(Some(package), command("true"));
        // The first brings package and spawner, the others the mean by which work is claimed ahead.
        for _ in 0..20 {
            world.server.report(world.server.queue(&revision, |_| {})).await;
        }
        let started = Instant::now();
        for _ in 0..TASKS {
            world.server.queue(&revision, |_| {});
        }
        world.server.until("all", |state| (state.reports.len() == TASKS + 20).then_some(())).await;
        let ours = per_second(started.elapsed());
        let calls = world.server.with(|state| state.calls.clone());
        println!("bare {bare:.0}/s, runner {ours:.0}/s, ratio {:.2}, calls {calls:?}", ours / bare);
        ratios.push(ours / bare);
        world.stop().await;
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ROUNDS / 2]);
}

/// From queueing a task on an idle runner to its report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn pickup_of_a_single_task() {
    let world = World::start();
    let package = world.server.package(zip(&[("readme", b"x", 0o644)]));
    let revision = world.server.revision(Some(package), command("true"));
    let mut times = Vec::new();
    for _ in 0..300 {
        let started = Instant::now();
        world.server.report(world.server.queue(&revision, |_| {})).await;
        times.push(started.elapsed());
    }
    times.sort();
    println!("queue to report: p50 {:?}, p99 {:?}", times[150], times[297]);
    world.stop().await;
}

fn bare() -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..SLOTS {
            scope.spawn(|| {
                for _ in 0..TASKS / SLOTS {
                    let mut sh = Command::new("/bin/sh");
                    let sh = sh.args(["-c", "exec true"]).stdin(Stdio::null());
                    assert!(sh.output().unwrap().status.success());
                }
            });
        }
    });
    started.elapsed()
}

fn per_second(took: Duration) -> f64 {
    TASKS as f64 / took.as_secs_f64()
}
