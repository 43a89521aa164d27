//! Not a test but a measurement, to be run in release mode on a quiet machine:
//! `cargo test --release -p windlass-runner --test it speed -- --ignored --nocapture`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use windlass_model::code::Launch;
use windlass_model::exit::Exit;

use crate::image::{Image, Layer, busybox};
use crate::support::{World, command, zip};

const ROUNDS: usize = 5;
const TASKS: usize = 1000;
const SLOTS: usize = 2;

/// `true` tasks per second through a runner, beside as many bare processes with piped output, in the same run.
#[tokio::test]
#[ignore = "a measurement"]
async fn true_tasks_beside_bare_processes() {
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let before = cpu();
        let bare = per_second(tokio::task::spawn_blocking(bare).await.unwrap());
        let bare_cpu = (cpu() - before) / TASKS as u32;
        let before = cpu();
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
        world.stop().await;
        // What the spawner and its tasks used is known when it was waited for.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let our_cpu = (cpu() - before) / TASKS as u32;
        println!(
            "bare {bare:.0}/s {bare_cpu:?} each, runner {ours:.0}/s {our_cpu:?} each, ratio {:.2}, calls {calls:?}",
            ours / bare
        );
        ratios.push(ours / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ROUNDS / 2]);
}

/// `true` tasks per second of an image that is here, beside those of a zip, and from queueing one to its report: each
/// round has both. Sandboxed, as images are.
#[tokio::test]
#[ignore = "a measurement"]
async fn true_in_an_image_beside_true_of_the_host() {
    let Some(program) = busybox() else { return };
    let image = Image::new([Layer::busybox(&program)], json!({ "Cmd": ["true"] })).archive();
    let world = World::sandboxed(|config| config.slots = SLOTS).unwrap();
    let package = world.server.package(zip(&[("readme", b"x", 0o644)]));
    let archive = Some(world.server.package(image));
    let kinds = [
        ("zip", world.server.revision(Some(package), command("true"))),
        (
            "image",
            world.server.revision(None, Launch { image: "x".to_owned(), archive, ..Launch::default() }),
        ),
    ];
    let (mut done, mut ratios, mut slower) = (0, Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut rates, mut medians) = (Vec::new(), Vec::new());
        for (name, revision) in &kinds {
            let mut times = Vec::new();
            for _ in 0..100 {
                let started = Instant::now();
                let report = world.server.report(world.server.queue(revision, |_| {})).await;
                assert_eq!(report.exit, Exit::Code(0), "{report:?}");
                times.push(started.elapsed());
            }
            times.sort();
            let started = Instant::now();
            for _ in 0..TASKS {
                world.server.queue(revision, |_| {});
            }
            done += TASKS + 100;
            world.server.until("all", |state| (state.reports.len() == done).then_some(())).await;
            rates.push(per_second(started.elapsed()));
            medians.push(times[50].as_secs_f64());
            print!("{name} {:.0}/s, p50 {:?}; ", rates[rates.len() - 1], times[50]);
        }
        ratios.push(rates[1] / rates[0]);
        slower.push(medians[1] / medians[0]);
        println!("ratio {:.2}", rates[1] / rates[0]);
    }
    ratios.sort_by(f64::total_cmp);
    slower.sort_by(f64::total_cmp);
    println!("median ratio of rates {:.2}, of times {:.2}", ratios[ROUNDS / 2], slower[ROUNDS / 2]);
    world.stop().await;
}

/// From queueing a task on an idle runner to its report.
#[tokio::test]
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

/// Processor time of this process and of all that it waited for.
pub(crate) fn cpu() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let of = |who| {
        let usage = getrusage(who).unwrap();
        let micros = |t: nix::sys::time::TimeVal| t.tv_sec() * 1_000_000 + t.tv_usec();
        Duration::from_micros((micros(usage.user_time()) + micros(usage.system_time())) as u64)
    };
    of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN)
}
