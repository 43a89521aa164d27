//! Output: live, exact, bounded.

use windlass_model::exit::Exit;
use windlass_model::log::{Stream, size_bytes, text};

use crate::support::World;

#[tokio::test]
async fn output_is_live_and_its_streams_are_kept_apart() {
    let world = World::start();
    let held = world
        .server
        .queue(&world.sh("echo out; echo err >&2; while [ ! -e go ]; do sleep 0.01; done; echo end"), |_| {});
    world.server.until("both lines", |state| (size_bytes(&state.log(held)) == 8).then_some(())).await;
    std::fs::write(world.task_dir(held).join("go"), "").unwrap();
    assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
    let log = world.server.with(|state| state.log(held));
    assert_eq!(text(&log, Some(Stream::Stdout)), b"out\nend\n");
    assert_eq!(text(&log, Some(Stream::Stderr)), b"err\n");
    world.stop().await;
}

#[tokio::test]
async fn a_short_task_costs_no_call_for_its_output() {
    let world = World::start();
    let held = world.server.queue(&world.sh("echo hello"), |_| {});
    world.server.report(held).await;
    assert_eq!(world.log(held), "hello\n");
    let calls = world.server.with(|state| state.calls.clone());
    assert_eq!((calls.get("log"), calls.get("heartbeat"), calls["finish"]), (None, None, 1), "{calls:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_gigabyte_of_output_is_cut_and_the_cut_is_counted() {
    let world = World::with(|config| config.limits.most.output_bytes = 1 << 20);
    let script = "echo start; head -c 1000000000 /dev/zero; echo; echo end";
    let held = world.server.queue(&world.sh(script), |_| {});
    let before = resident_kib();
    let report = world.server.report(held).await;
    let grown = resident_kib().saturating_sub(before);
    assert_eq!(report.exit, Exit::Code(0));
    assert!(grown < 64 * 1024, "grew by {grown} KiB");
    let log = world.server.with(|state| state.log(held));
    assert!(log.iter().map(|chunk| chunk.n).eq(1..=log.len() as u32));
    let system: Vec<_> = log.iter().filter(|chunk| chunk.stream == Stream::System).collect();
    let note = String::from_utf8(system[0].data.0.clone()).unwrap();
    let left_out = 6 + 1_000_000_000 + 1 + 4 - (1 << 20);
    assert_eq!(note, format!("\n[windlass: {left_out} bytes of output left out here]\n"));
    let kept = text(&log, Some(Stream::Stdout));
    assert_eq!(kept.len(), 1 << 20);
    assert!(kept.starts_with(b"start\n") && kept.ends_with(b"\nend\n"));
    world.stop().await;
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
