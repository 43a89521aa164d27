//! Each limit by its effect on processes that go beyond it. All of them are bounded: what is not stopped stops itself.
//!
//! As root on a host with version 1 everything is real. No host of ours has the controllers with version 2, so its
//! limits are tested against a folder that looks like them, and its killing against the real hierarchy.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A slot with a process that stands for its spawner.
struct Bed {
    dir: tempfile::TempDir,
    groups: Groups,
    slot: Slot,
    spawner: Child,
    controls: Box<dyn Controls>,
}

impl Bed {
    /// `None` where groups cannot be made, which is said loudly; as root on a host that has them that is a failure.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let instance = instance_of(dir.path()).unwrap();
        let groups = Groups::find();
        if !nix::unistd::geteuid().is_root() {
            skipped("the runner's control groups need root");
            return None;
        }
        let groups = groups.unwrap();
        assert_eq!(groups.gaps(), Gaps::default(), "every controller is there");
        groups.prepare(&instance).unwrap();
        let slot = Slot::new(&groups, &instance, 0);
        Some(Self::with(dir, groups, slot))
    }

    fn with(dir: tempfile::TempDir, groups: Groups, slot: Slot) -> Self {
        // A test beside this one may sweep the groups while they are empty.
        let spawner = std::iter::repeat_with(|| {
            slot.make().ok()?;
            try_in_groups(&slot, "", "read word")
        });
        let spawner = spawner.flatten().next().unwrap();
        let controls = slot.controls().unwrap();
        Self { dir, groups, slot, spawner, controls }
    }

    fn spawner(&self) -> Pid {
        pid(&self.spawner)
    }

    /// A shell in the task's groups.
    fn task(&self, script: &str) -> Child {
        in_groups(&self.slot, v2::TASK, script)
    }

    fn clear(&mut self) -> bool {
        let spawner = self.spawner();
        self.controls.clear_but(spawner, PATIENCE)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.slot.remove();
        let _ = self.spawner.kill();
        let _ = self.spawner.wait();
        let left: Vec<_> = self.slot.folders().into_iter().filter(|group| group.exists()).collect();
        assert!(left.is_empty() || std::thread::panicking(), "left over: {left:?}");
    }
}

fn skipped(why: &str) {
    eprintln!("SKIPPED, NOT TESTED HERE: {why}");
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// A shell that moves to the groups before it does anything else. Version 2 has `part` of them for it.
fn in_groups(slot: &Slot, part: &str, script: &str) -> Child {
    try_in_groups(slot, part, script).unwrap()
}

fn try_in_groups(slot: &Slot, part: &str, script: &str) -> Option<Child> {
    let part = if matches!(slot, Slot::V2(_)) && part.is_empty() { v2::SPAWNER } else { part };
    let groups = slot.folders().into_iter().map(|group| match slot {
        Slot::V1 { .. } => group.to_owned(),
        Slot::V2(_) => group.join(part),
    });
    let mut child = Command::new("sh")
        .args([
            "-c",
            &format!("for g; do echo 0 > $g/cgroup.procs || exit 99; done; echo in; {script}"),
            "sh",
        ])
        .args(groups)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = [0; 3];
    let is_in = child.stdout.as_mut().unwrap().read_exact(&mut line).is_ok();
    if !is_in {
        child.wait().unwrap();
    }
    is_in.then_some(child)
}

/// What a process said until its end, and whether that was a success.
fn ended(child: Child) -> (String, bool) {
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

fn limits() -> Limits {
    Limits { memory_bytes: 64 << 20, cpu_millis: 1_000_000, processes: 64, ..Limits::DEFAULT }
}

#[test]
fn a_task_that_takes_too_much_memory_is_killed_and_seen_though_its_parent_succeeds() {
    let Some(mut bed) = Bed::new() else { return };
    assert_eq!(bed.controls.apply(&limits()), Gaps::default());
    assert_eq!(bed.controls.oom_kills(), 0);
    // `tail` keeps the last line, and there is but one. The shell's last word is `true`.
    let (_, success) = ended(bed.task("head -c 300m /dev/zero | tail -n 1 | wc -c; true"));
    assert!(success, "the parent knows nothing of it");
    assert!(bed.controls.oom_kills() >= 1);
    assert_eq!(bed.controls.oom_kills(), 0, "each is told once");
    let peak = bed.controls.peak_bytes();
    assert!((60 << 20..=64 << 20).contains(&peak), "{peak}");
    // The next one has more, and fits; then the limit is lowered again below what was used.
    bed.controls.apply(&Limits { memory_bytes: 512 << 20, ..limits() });
    let (bytes, _) = ended(bed.task("head -c 100m /dev/zero | tail -n 1 | wc -c"));
    assert_eq!((bytes.trim(), bed.controls.oom_kills()), ("104857600", 0));
    let peak = bed.controls.peak_bytes();
    assert!((100 << 20..200 << 20).contains(&peak), "{peak}");
    assert_eq!(bed.controls.apply(&limits()), Gaps::default());
    assert!(bed.controls.peak_bytes() < 64 << 20, "the peak counts from the last change of limits");
    assert!(bed.clear());
}

#[test]
fn what_is_written_to_files_in_memory_counts_as_memory() {
    let Some(mut bed) = Bed::new() else { return };
    bed.controls.apply(&limits());
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("file");
    let (_, success) = ended(bed.task(&format!("exec head -c 200m /dev/zero > {}", file.display())));
    assert!(!success);
    assert!(bed.controls.oom_kills() >= 1);
    assert!(fs::metadata(&file).unwrap().len() < 64 << 20);
}

#[test]
fn a_fork_bomb_stops_at_the_number_of_processes() {
    let Some(mut bed) = Bed::new() else { return };
    bed.controls.apply(&Limits { processes: 8, ..limits() });
    // The shell gives up when it cannot fork. It is one of the eight; the place of the init is free here.
    let script = "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); echo $i; done";
    // Its children keep the output open.
    let mut task = bed.task(script);
    assert!(!task.wait().unwrap().success());
    let mut said = [0; 64];
    let read = task.stdout.as_mut().unwrap().read(&mut said).unwrap();
    assert_eq!(&said[..read], b"1\n2\n3\n4\n5\n6\n7\n8\n");
    assert!(!bed.controls.is_empty_but(bed.spawner()), "they are still there");
    assert!(bed.clear());
    assert!(bed.spawner.try_wait().unwrap().is_none(), "the spawner is spared");
    bed.controls.apply(&limits());
    assert_eq!(ended(bed.task("echo $(echo again)")).0, "again\n", "after a clearing there can be more");
}

#[test]
fn a_task_gets_its_part_of_the_processors_and_no_more() {
    let Some(mut bed) = Bed::new() else { return };
    let busy = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; cat /proc/self/stat > /dev/null; times";
    bed.controls.apply(&Limits { cpu_millis: 200, ..limits() });
    let started = Instant::now();
    let (said, _) = ended(bed.task(busy));
    let wall = started.elapsed().as_secs_f64();
    let used = seconds_of(&said);
    assert!(used > 0.1, "{said}");
    let part = used / wall;
    assert!(part < 0.3, "{used} s in {wall} s is {part}, not 0.2");
    assert!(throttled(&bed.slot) > 0);
    // Without the limit it is held back no more.
    bed.controls.apply(&limits());
    let before = throttled(&bed.slot);
    ended(bed.task(busy));
    assert_eq!(throttled(&bed.slot), before);
}

/// The first line of `times`: user and system time of the shell, as `0m0.25s 0m0.01s`.
fn seconds_of(times: &str) -> f64 {
    let of = |text: &str| {
        let (minutes, seconds) = text.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    times.lines().next().unwrap().split(' ').map(of).sum()
}

fn throttled(slot: &Slot) -> u64 {
    let Slot::V1 { cpu: Some(cpu), .. } = slot else { panic!("{slot:?}") };
    Knob::open(cpu, "cpu.stat").unwrap().entry("nr_throttled").unwrap()
}

#[test]
fn nothing_escapes_a_clearing() {
    let Some(mut bed) = Bed::new() else { return };
    bed.controls.apply(&limits());
    let daemons = "for i in 1 2 3; do setsid sh -c \"trap '' TERM HUP; sleep 60; sleep 60\" & done; exit 0";
    assert!(bed.task(daemons).wait().unwrap().success());
    assert!(!bed.controls.is_empty_but(bed.spawner()));
    assert!(bed.clear());
    assert!(bed.controls.is_empty_but(bed.spawner()));
    assert!(bed.spawner.try_wait().unwrap().is_none(), "the spawner is spared");
}

#[test]
fn a_start_sweeps_what_its_own_instance_left_and_what_is_empty_of_others() {
    let Some(mut crashed) = Bed::new() else { return };
    let Some(running) = Bed::new() else { return };
    let sibling = |name: &str| {
        let Slot::V1 { pids: Some(pids), .. } = &crashed.slot else { panic!("{:?}", crashed.slot) };
        pids.with_file_name(name)
    };
    let (empty, foreign) = (sibling("windlass-0.0-3"), sibling("wind-test"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&foreign).unwrap();
    crashed.groups.prepare(&instance_of(crashed.dir.path()).unwrap()).unwrap();
    let is_there = |slot: &Slot| slot.folders().into_iter().any(Path::exists);
    assert!(!is_there(&crashed.slot), "with its process");
    assert!(crashed.spawner.wait().unwrap().code().is_none(), "killed");
    assert!(is_there(&running.slot), "somebody else's, in use");
    assert!(!empty.exists(), "somebody else's, left over");
    assert!(foreign.exists(), "not named as ours are");
    fs::remove_dir(foreign).unwrap();
    assert!(running.controls.is_empty_but(running.spawner()));
}

/// What [`a_spawner_joins_its_slot_and_controls_it_out_of_sight_of_the_host`] starts: this test's own program.
const SLOT: &str = "WINDLASS_TEST_SLOT";

#[test]
fn a_spawner_joins_its_slot_and_controls_it_out_of_sight_of_the_host() {
    if let Ok(slot) = std::env::var(SLOT) {
        return as_spawner(&serde_json::from_str(&slot).unwrap());
    }
    let Some(bed) = Bed::new() else { return };
    let slot = Slot::new(&bed.groups, &instance_of(bed.dir.path()).unwrap(), 1);
    let own = std::thread::current().name().unwrap().to_owned();
    let mut spawner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &own, "--nocapture"])
        .env(SLOT, serde_json::to_string(&slot).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(spawner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut expect = |wanted: &str| assert!(told.by_ref().any(|line| line == wanted), "no {wanted:?}");
    expect("alone true, gaps Gaps(0)");
    let task = in_groups(&slot, v2::TASK, "head -c 300m /dev/zero | tail -n 1 | wc -c; exec sleep 60");
    let mut say = spawner.stdin.take().unwrap();
    expect("killed for memory, with 64 MiB");
    say.write_all(b"clear\n").unwrap();
    expect("alone true");
    assert!(!ended(task).1);
    assert!(spawner.wait().unwrap().success());
    slot.remove();
    assert!(slot.folders().iter().all(|group| !group.exists()));
}

#[test]
fn a_limit_that_could_not_be_set_is_tried_again_with_the_next_task() {
    let mut applied = Applied::default();
    let tried = std::cell::Cell::new(0);
    let count = |done| {
        tried.set(tried.get() + 1);
        done
    };
    let mut apply = |memory| {
        let well = || count(Ok(()));
        let gaps = applied.apply(&limits(), |_| count(memory), |_| well(), |_| well());
        (gaps, tried.replace(0))
    };
    let busy = || Err(io::Error::from_raw_os_error(libc::EBUSY));
    assert_eq!(apply(busy()), (Gaps::MEMORY, 3));
    assert_eq!(apply(busy()), (Gaps::MEMORY, 1));
    assert_eq!(apply(Ok(())), (Gaps::default(), 1));
    assert_eq!(apply(busy()), (Gaps::default(), 0), "what is set is not set again");
}

fn as_spawner(slot: &Slot) {
    slot.join().unwrap();
    let mut controls = slot.controls().unwrap();
    let empty = tempfile::tempdir().unwrap();
    std::env::set_current_dir(empty.path()).unwrap();
    nix::unistd::chroot(empty.path()).unwrap();
    assert!(!Path::new("/sys/fs/cgroup").exists());
    let gaps = controls.apply(&limits());
    println!("\nalone {}, gaps {gaps:?}", controls.is_empty_but(Pid::this()));
    let deadline = Instant::now() + PATIENCE;
    while controls.oom_kills() == 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(BETWEEN_LOOKS);
    }
    println!("killed for memory, with {} MiB", controls.peak_bytes().div_ceil(1 << 20));
    std::io::stdin().read_line(&mut String::new()).unwrap();
    println!("alone {}", controls.clear_but(Pid::this(), PATIENCE));
}

#[test]
fn the_second_version_kills_and_tells_for_real_where_its_hierarchy_is_there() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = nix::unistd::geteuid().is_root();
    let Some(parent) = find::folder(&own, &mounts, None).filter(|_| root) else {
        return skipped("no hierarchy of version 2, or not root");
    };
    let controllers = fs::read_to_string(parent.join("cgroup.controllers")).unwrap();
    if !controllers.contains("memory") {
        skipped("the limits of version 2: this host has no controllers there");
    }
    let dir = tempfile::tempdir().unwrap();
    let slot = Slot::V2(parent.join(format!("{PREFIX}{}-0", instance_of(dir.path()).unwrap())));
    let mut bed = Bed::with(dir, Groups { parents: find::Parents::V2(parent) }, slot);
    if !controllers.contains("memory") {
        assert_eq!(bed.controls.apply(&limits()), Gaps::ALL, "what cannot be limited is told");
    }
    assert!(bed.controls.task_group().is_some());
    assert!(bed.controls.is_empty_but(bed.spawner()));
    assert!(bed.task("setsid sh -c 'sleep 60; sleep 60' & exit 0").wait().unwrap().success());
    assert!(!bed.controls.is_empty_but(bed.spawner()));
    assert!(bed.clear());
    assert!(bed.spawner.try_wait().unwrap().is_none(), "the spawner is spared");
}

/// A folder with the files of a group of version 2.
fn fake_group(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in [
        ("cgroup.controllers", "cpu memory pids\n"),
        ("cgroup.subtree_control", ""),
        ("cgroup.procs", ""),
        ("cgroup.kill", ""),
        ("cgroup.events", "populated 1\nfrozen 0\n"),
        ("memory.max", "max\n"),
        ("memory.swap.max", "max\n"),
        ("memory.oom.group", "0\n"),
        ("memory.peak", "900000000\n"),
        ("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"),
        ("pids.max", "max\n"),
        ("cpu.max", "max 100000\n"),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}

#[test]
fn the_second_version_writes_what_its_files_take() {
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().join("service");
    fake_group(&parent);
    let mounts = format!("30 20 0:26 / {} rw - cgroup2 cgroup2 rw", dir.path().display());
    let groups = Groups::among("0::/service\n", &mounts).unwrap();
    assert_eq!((groups.version(), groups.gaps()), (Version::V2, Gaps::default()));
    groups.prepare("7.1").unwrap();
    let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!(read("service/cgroup.subtree_control"), "+memory +pids +cpu");
    let group = parent.join("windlass-7.1-0");
    for part in ["", v2::SPAWNER, v2::TASK] {
        fake_group(&group.join(part));
    }
    let slot = Slot::new(&groups, "7.1", 0);
    assert_eq!(slot, Slot::V2(group));
    slot.join().unwrap();
    assert_eq!(read("service/windlass-7.1-0/spawner/cgroup.procs"), "0");
    assert_eq!(read("service/windlass-7.1-0/cgroup.subtree_control"), "+memory +pids +cpu");
    let mut controls = slot.controls().unwrap();
    let task = |file: &str| read(&format!("service/windlass-7.1-0/task/{file}"));
    assert_eq!((task("memory.swap.max").as_str(), task("memory.oom.group").as_str()), ("0ax\n", "1\n"));
    let few = Limits { memory_bytes: 512 << 20, cpu_millis: 250, processes: 10, ..Limits::DEFAULT };
    assert_eq!(controls.apply(&few), Gaps::default());
    // A file that is none of the kernel's keeps the end of what was there.
    assert_eq!(task("memory.max"), "536870912");
    assert!(task("pids.max").starts_with("11"), "{}", task("pids.max"));
    assert!(task("cpu.max").starts_with("25000 100000"), "{}", task("cpu.max"));
    fs::write(dir.path().join("service/windlass-7.1-0/task/memory.max"), "untouched").unwrap();
    controls.apply(&Limits { cpu_millis: 1_000_000, ..few });
    assert!(task("cpu.max").starts_with("max 100000"), "{}", task("cpu.max"));
    assert_eq!(task("memory.max"), "untouched", "only what differs is written");
    assert_eq!(controls.oom_kills(), 0, "what was counted before is not the task's");
    fs::write(dir.path().join("service/windlass-7.1-0/task/memory.events"), "oom_kill 5\n").unwrap();
    assert_eq!((controls.oom_kills(), controls.oom_kills()), (3, 0));
    assert_eq!(controls.peak_bytes(), 512 << 20, "no more than the limit, whoever was before");
    assert!(!controls.is_empty_but(Pid::this()));
    controls.kill_all_but(Pid::this());
    assert_eq!(task("cgroup.kill"), "1");
}

#[test]
fn the_groups_are_found_on_every_kind_of_host() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    for path in ["memory/docker/1", "memory/app", "cpu,cpuacct/app", "pids/app", "unified/app"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    let mount = |root: &str, folder: &str, kind: &str| {
        format!("40 30 0:30 {root} {} rw,relatime shared:9 - {kind}\n", at(folder).display())
    };
    let hybrid = [
        mount("/", "unified", "cgroup2 cgroup2 rw"),
        mount("/", "memory", "cgroup cgroup rw,memory"),
        mount("/", "pids", "cgroup cgroup rw,pids"),
        mount("/", "cpu,cpuacct", "cgroup cgroup rw,cpu,cpuacct"),
    ]
    .concat();
    let own = "9:pids:/app\n4:memory:/app\n1:cpu,cpuacct:/app\n0::/app\n";
    let groups = Groups::among(own, &hybrid).unwrap();
    let expected = find::Parents::V1 {
        memory: Some(at("memory/app")),
        pids: Some(at("pids/app")),
        cpu: Some(at("cpu,cpuacct/app")),
    };
    assert_eq!((&groups.parents, groups.gaps()), (&expected, Gaps::default()));
    // A container that sees its own part only.
    let part = mount("/docker/1", "memory/docker/1", "cgroup cgroup rw,memory");
    let groups = Groups::among("4:memory:/docker/1\n", &part).unwrap();
    let expected = find::Parents::V1 { memory: Some(at("memory/docker/1")), pids: None, cpu: None };
    assert_eq!(groups.parents, expected);
    let missing: Vec<_> = groups.gaps().words().collect();
    assert_eq!(
        missing,
        ["limits: processor time is not limited", "limits: the number of processes is not limited"]
    );
    // A group that is not below what is mounted, and nothing at all.
    for (own, mounts) in [("4:memory:/../x\n", part.as_str()), ("4:memory:/y\n", part.as_str()), ("", "")] {
        let why = Groups::among(own, mounts).unwrap_err().to_string();
        assert!(why.contains("Delegate=yes"), "{why}");
    }
    // The runner has moved to a group of its own before.
    fs::create_dir_all(at("unified/app/windlass-7.1-runner")).unwrap();
    fs::write(at("unified/app/cgroup.controllers"), "cpu memory pids\n").unwrap();
    let groups = Groups::among("0::/app/windlass-7.1-runner\n", &hybrid).unwrap();
    assert_eq!(groups.parents, find::Parents::V2(at("unified/app")));
}
