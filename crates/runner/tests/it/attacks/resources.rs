//! Against the machine itself: its memory, processors, disk and table of processes.

use std::time::{Duration, Instant};

use windlass_model::exit::Exit;
use windlass_model::isolation::Level;
use windlass_model::log::size_bytes;

use super::{target, target_with};

#[tokio::test]
async fn a_fork_bomb_has_no_more_processes_than_its_limit() {
    let Some(target) = target(Level::CgroupsV1).await else { return };
    let mut bomb = target.python(
        r#"
import os, sys, time
end = time.monotonic() + 5
failed = 0
while time.monotonic() < end:
    try:
        if os.fork() == 0: continue
    except BlockingIOError: failed += 1
    if failed == 1: print("refused"); sys.stdout.flush()
time.sleep(60)
"#,
    );
    bomb.limits.processes = 32;
    let held = target.world.server.queue(&bomb, |task| task.timeout_s = 2);
    target.has_begun(held).await;
    let alive = target.processes().len();
    assert!(alive <= 32, "{alive} processes");
    let (report, log) = target.end_of(held).await;
    assert_eq!(report.exit, Exit::TimedOut);
    assert!(log.contains("refused"), "{log}");
    assert_eq!(target.processes(), [""; 0]);
    let mut shell = target.sh("bomb() { bomb | bomb & }; bomb; sleep 1; exec true");
    shell.limits.processes = 32;
    target.run(&shell).await;
    target.ends_unharmed().await;
}

const HOG: &str = "blocks = []\nwhile len(blocks) < 512: blocks.append(bytearray(b'x') * (1 << 20))\n";

#[tokio::test]
async fn who_takes_too_much_memory_is_ended_and_told_why() {
    let Some(target) = target(Level::CgroupsV1).await else { return };
    let mut hog = target.python(HOG);
    hog.limits.memory_bytes = 64 << 20;
    let (report, _) = target.run(&hog).await;
    let Exit::OutOfMemory { limit_bytes, peak_bytes } = report.exit else { panic!("{:?}", report.exit) };
    assert_eq!(limit_bytes, 64 << 20);
    assert!((48 << 20..=64 << 20).contains(&peak_bytes), "{peak_bytes}");
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_child_that_takes_too_much_is_told_of_also_if_its_parent_is_content() {
    let Some(target) = target(Level::CgroupsV1).await else { return };
    let mut parent = target.revision(
        &[("hog.py", HOG.as_bytes(), 0o644)],
        "sh -c '/usr/bin/python3 hog.py; echo child $?; exit 0'",
    );
    parent.limits.memory_bytes = 64 << 20;
    let (report, log) = target.run(&parent).await;
    assert!(
        matches!(report.exit, Exit::OutOfMemory { limit_bytes: 67_108_864, .. }),
        "{:?} {log}",
        report.exit
    );
    // And the next task in the slot is not told of it.
    let (report, _) = target.run(&target.sh("true")).await;
    assert_eq!(report.exit, Exit::Code(0));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn files_in_memory_and_shared_memory_count() {
    let Some(target) = target(Level::CgroupsV1).await else { return };
    let mut fill = target.python(
        r#"
import os
file = os.memfd_create("hidden")
for _ in range(512): os.write(file, b"x" * (1 << 20))
print("held half a gigabyte")
"#,
    );
    fill.limits.memory_bytes = 64 << 20;
    let (report, log) = target.run(&fill).await;
    assert!(matches!(report.exit, Exit::OutOfMemory { .. }), "{:?} {log}", report.exit);
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_quota_of_processor_time_bites() {
    let Some(target) = target(Level::CgroupsV1).await else { return };
    let mut busy = target.python(
        r#"
import os, time
end = time.monotonic() + 2
for _ in range(3): os.fork()
while time.monotonic() < end: pass
while True:
    try: os.wait()
    except ChildProcessError: break
"#,
    );
    busy.limits.cpu_millis = 250;
    let (report, _) = target.run(&busy).await;
    assert_eq!(report.exit, Exit::Code(0));
    let used = (report.usage.user_us + report.usage.system_us) as f64 / 1e3 / report.usage.wall_ms as f64;
    // On a busy machine it gets less.
    assert!((0.02..0.32).contains(&used), "used {used} of a processor: {:?}", report.usage);
    target.ends_unharmed().await;
}

#[tokio::test]
async fn the_disk_ends_where_its_limit_is_wherever_it_is_filled() {
    let Some(target) = target(Level::Namespaces).await else { return };
    if !target.has("disk limit") {
        return;
    }
    let mut fill = target.python(
        r#"
import errno, os
total = 0
for folder in ("/task", "/tmp", "/dev/shm"):
    for number in range(8):
        try:
            with open(f"{folder}/fill-{number}", "wb", buffering=0) as file:
                while True:
                    total += file.write(b"x" * (1 << 20))
                    if total > 256 << 20: raise SystemExit("filled 256 MiB")
        except OSError as e: assert e.errno == errno.ENOSPC, e
print(total >> 20)
"#,
    );
    fill.limits.disk_bytes = 32 << 20;
    let (report, log) = target.run(&fill).await;
    assert_eq!(report.exit, Exit::Code(0), "{log}");
    let mib: u64 = log.trim().parse().unwrap();
    assert!((24..=32).contains(&mib), "{mib} MiB");
    target.ends_unharmed().await;
}

#[tokio::test]
async fn the_number_of_files_ends_too() {
    let Some(target) = target(Level::Namespaces).await else { return };
    if !target.has("disk limit") {
        return;
    }
    let mut fill = target.python(
        r#"
import errno
for folder in ("/task", "/tmp", "/dev/shm"):
    for number in range(2_000_000):
        try: open(f"{folder}/{number}", "w").close()
        except OSError as e:
            assert e.errno == errno.ENOSPC, e
            break
    else: raise SystemExit("no end")
print("full")
"#,
    );
    fill.limits.memory_bytes = 1 << 30;
    let held = target.world.server.queue(&fill, |task| task.timeout_s = 60);
    let (report, log) = target.end_of(held).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "full\n"));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn open_files_end_at_their_limit_and_limits_are_never_raised() {
    let Some(target) = target(Level::CgroupsV1).await else { return };
    let mut open = target.python(
        r#"
import errno, resource
try: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)); print("raised")
except (ValueError, OSError): pass
files = []
try:
    while len(files) < 10_000: files.append(open("/dev/null"))
except OSError as e: assert e.errno == errno.EMFILE, e
print(len(files) <= 64)
"#,
    );
    open.limits.open_files = 64;
    let (report, log) = target.run(&open).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "True\n"));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn ten_gigabytes_of_output_cost_nobody_memory_or_time() {
    const BYTES: u64 = 10_000_000_000;
    let change = |config: &mut windlass_runner::RunnerConfig| config.limits.most.output_bytes = 1 << 20;
    let Some(target) = target_with(Level::Namespaces, change).await else { return };
    let mut flood = target.sh(&format!("head -c {BYTES} /dev/zero; echo; echo end"));
    flood.limits.output_bytes = 1 << 20;
    flood.limits.cpu_millis = 2000;
    let held = target.world.server.queue(&flood, |task| task.timeout_s = 300);
    let before = resident_kib();
    target.has_begun(held).await;
    // Others do not notice.
    let asked = Instant::now();
    let (report, _) = target.run(&target.sh("true")).await;
    assert_eq!(report.exit, Exit::Code(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let report = loop {
        // Each wait for a report is shorter than the flood may take.
        let found = target.world.server.with(|state| state.reports.iter().find(|r| r.held == held).cloned());
        if let Some(report) = found {
            break report;
        }
        target.run(&target.sh("sleep 0.2")).await;
    };
    assert_eq!(report.exit, Exit::Code(0));
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 128 * 1024, "grew by {grown} KiB");
    let log = target.world.server.with(|state| state.log(held));
    assert!(size_bytes(&log) < 2 << 20);
    let text = target.world.log(held);
    let left_out = BYTES + 5 - (1 << 20);
    assert!(text.contains(&format!("{left_out} bytes of output left out")) && text.ends_with("\nend\n"));
    target.ends_unharmed().await;
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
