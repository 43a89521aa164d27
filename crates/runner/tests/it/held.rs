//! What a task costs beside a runner that holds much memory: as much as beside one that holds little, as it is not the
//! runner that forks.

use std::process::Command;
use std::time::Duration;

use windlass_runner::Policy;

use crate::speed::cpu;
use crate::support::{World, command, zip};

const TASKS: u32 = 300;
const HELD: &str = "WINDLASS_TEST_HELD_MIB";

/// Lives in a process of its own, so that nobody else's time is counted.
#[tokio::test]
#[ignore = "part of another test"]
async fn tasks_beside_a_runner_that_holds_memory() {
    let mib: usize = std::env::var(HELD).unwrap().parse().unwrap();
    // Written to, so that it is really there.
    let held = vec![1u8; mib << 20];
    let world = World::with(|config| config.sandbox.policy = Policy::Degrade);
    let package = world.server.package(zip(&[("readme", b"x", 0o644)]));
    let revision = world.server.revision(Some(package), command("true"));
    let before = cpu();
    for _ in 0..TASKS {
        world.server.queue(&revision, |_| {});
    }
    // Some may be given back on the way, where a slot is busy for long.
    world.server.until("all", |state| (state.reports.len() == TASKS as usize).then_some(())).await;
    let spawners = spawners();
    world.stop().await;
    // What spawners and tasks used is known once they were waited for.
    while spawners.iter().any(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{HELD}={} {}", ((cpu() - before) / TASKS).as_micros(), std::hint::black_box(held).len());
}

fn spawners() -> Vec<String> {
    let me = std::process::id();
    let threads = std::fs::read_dir(format!("/proc/{me}/task")).unwrap().flatten();
    let children =
        threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    children.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Processor time of a task in microseconds.
fn cost_beside(mib: u32) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "held::tasks_beside_a_runner_that_holds_memory", "--ignored", "--nocapture"])
        .env(HELD, mib.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.split_once(&format!("{HELD}=")));
    let (_, figures) = line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    figures.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_task_costs_the_same_however_much_memory_its_runner_holds() {
    // The least of some rounds: whatever else the machine does only adds to it.
    let (mut little, mut much) = (u64::MAX, u64::MAX);
    for _ in 0..3 {
        little = little.min(cost_beside(0));
        much = much.min(cost_beside(500));
    }
    println!("processor time of a task: {little} us, beside 500 MiB {much} us");
    assert!(much < little * 5 / 4, "{little} us became {much} us");
}
