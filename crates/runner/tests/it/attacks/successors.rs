//! Against the next task of the same package, which may have the namespaces of the one before.

use windlass_model::bytes::Bytes;
use windlass_model::exit::Exit;
use windlass_model::isolation::Level;
use windlass_model::runner::{Held, RevisionSpec};
use windlass_runner::RunnerConfig;

use super::{Target, target_with};

fn one_slot(config: &mut RunnerConfig) {
    config.slots = 1;
}

impl Target {
    fn queue_with(&self, revision: &RevisionSpec, payload: &str) -> Held {
        let payload = Bytes(payload.as_bytes().to_vec());
        self.world.server.queue(revision, |task| {
            task.payload = payload;
            task.timeout_s = 30;
        })
    }

    /// Runs it with a payload; what it wrote.
    async fn tell(&self, revision: &RevisionSpec, payload: &str) -> String {
        let (report, log) = self.end_of(self.queue_with(revision, payload)).await;
        assert_eq!(report.exit, Exit::Code(0), "{log}");
        log
    }
}

/// Leaves what the payload names, or looks what there is that should not be. The first process of new namespaces is 1,
/// the first task's 2.
const LEAVE_OR_LOOK: &str = r#"
import ctypes, os, subprocess, sys, time
what = open(os.environ["PAYLOAD_FILE"]).read()
libc = ctypes.CDLL(None, use_errno=True)
places = ("/task", "/tmp", "/dev/shm")
ours = {"/task/attack.py", "/task/__payload__", "/task/__config__"}
if what == "files":
    for place in places:
        os.makedirs(place + "/left/deep/deeper"); open(place + "/left/deep/deeper/file", "w").write("left")
        os.symlink("/code", place + "/link"); os.mkfifo(place + "/pipe")
    open(os.environ["RESULT_FILE"], "w").write("result"); os.unlink("/task/__payload__"); os.mkdir("/task/__payload__")
elif what == "many files":
    for number in range(1000): open(f"/tmp/{number}", "w").close()
elif what == "names":
    for number in range(40): open("/task/" + str(number) + "x" * 250, "w").close()
elif what == "closed folder": os.makedirs("/tmp/closed/folder"); os.chmod("/tmp/closed", 0)
elif what == "mode": os.chmod("/task", 0o755)
elif what == "attribute": os.setxattr("/task", "user.left", b"left")
elif what == "own code": open("/task/attack.py", "w").write("print('of another')")
elif what == "memory": assert libc.shmget(0x1234, 4096, 0o1666) >= 0
elif what == "semaphores": assert libc.semget(0x1234, 1, 0o1666) >= 0
elif what == "messages": assert libc.msgget(0x1234, 0o1666) >= 0
# Opening one is refused; but it is made.
elif what == "queue": libc.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, None)
elif what == "daemon":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: sys.stdout.close(); sys.stderr.close(); time.sleep(60)
        os._exit(0)
    os.wait()
elif what == "swarm":
    for number in range(20):
        if os.fork() == 0:
            while True:
                try:
                    if os.fork() == 0: os.setsid()
                except OSError: pass
                else: os._exit(0)
    time.sleep(0.2)
elif what == "bounds":
    import resource
    for pid in (1, os.getppid()):
        for how in (lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3)), lambda: os.sched_setaffinity(pid, {0}),
                    lambda: os.setpriority(os.PRIO_PROCESS, pid, 19), lambda: os.kill(pid, 9),
                    lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))):
            try: how(); print("changed init")
            except OSError: pass
    os.setpriority(os.PRIO_USER, os.getuid(), 19)
else:
    for place in places:
        for folder, folders, files in os.walk(place):
            for name in folders + files:
                if os.path.join(folder, name) not in ours: print("found", os.path.join(folder, name))
    print("attributes", os.listxattr("/task")) if os.listxattr("/task") else None
    print("mode", oct(os.stat("/task").st_mode)) if os.stat("/task").st_mode != 0o40700 else None
    for kind in ("shm", "sem", "msg"):
        lines = open("/proc/sysvipc/" + kind).read().splitlines()
        if len(lines) != 1: print(kind, lines)
    if libc.mq_unlink(b"/left") == 0: print("found a queue")
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    if pids not in ([os.getpid()], [1, os.getpid()]): print("processes", pids)
    import resource
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 100 or os.getpriority(os.PRIO_PROCESS, 0) != 0: print("bounds")
print("kept" if os.getpid() > 2 else "new")
"#;

#[tokio::test]
async fn nothing_of_a_task_is_found_by_the_next_of_its_package() {
    let Some(target) = target_with(Level::CgroupsV1, one_slot).await else { return };
    let revision = target.python(LEAVE_OR_LOOK);
    assert_eq!(target.tell(&revision, "look").await, "new\n");
    assert_eq!(target.tell(&revision, "look").await, "kept\n");
    for (left, then) in [
        ("files", "kept"),
        ("own code", "kept"),
        ("daemon", "kept"),
        ("swarm", "kept"),
        ("bounds", "kept"),
        ("many files", "new"),
        ("names", "kept"),
        ("closed folder", "new"),
        ("mode", "new"),
        ("attribute", "new"),
        ("memory", "new"),
        ("semaphores", "new"),
        ("messages", "new"),
        ("queue", "new"),
    ] {
        target.tell(&revision, left).await;
        assert_eq!(target.tell(&revision, "look").await, format!("{then}\n"), "after {left}");
        assert_eq!(target.tell(&revision, "look").await, "kept\n", "a second time after {left}");
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn namespaces_are_for_tasks_of_one_revision_only() {
    let Some(target) = target_with(Level::CgroupsV1, one_slot).await else { return };
    let (one, other) = (target.sh("echo $$"), target.sh("echo $$"));
    for revision in [&one, &other, &one] {
        assert_eq!(target.tell(revision, "").await, "2\n");
        assert_eq!(target.tell(revision, "").await, "3\n");
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_large_package_is_as_it_was_for_the_next_task() {
    let Some(target) = target_with(Level::CgroupsV1, one_slot).await else { return };
    // Too large to be copied.
    let data = vec![7; 1 << 20];
    let script = "[ -e new ] && echo found; cmp -s data /code/data || echo changed; \
        case $(cat $PAYLOAD_FILE) in add) echo x > new;; change) echo x >> data;; drop) rm data;; esac; echo $$";
    let revision = target.revision(&[("a.sh", script.as_bytes(), 0o644), ("data", &data, 0o644)], "sh a.sh");
    let pid = |log: String| log.trim().parse::<i32>().expect(&log);
    assert_eq!(target.tell(&revision, "look").await, "2\n");
    for (done, is_kept) in [("look", true), ("add", true), ("change", false), ("drop", false)] {
        target.tell(&revision, done).await;
        assert_eq!(pid(target.tell(&revision, "look").await) > 2, is_kept, "after {done}");
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn being_asked_to_end_does_not_reach_the_next_task() {
    let Some(target) = target_with(Level::CgroupsV1, one_slot).await else { return };
    let revision = target
        .sh("trap 'exit 0' TERM; case $(cat $PAYLOAD_FILE) in wait) echo here; sleep 20 & wait;; esac; \
        sleep 0.05; echo $$");
    for _ in 0..5 {
        let held = target.queue_with(&revision, "wait");
        let next = target.queue_with(&revision, "go on");
        target.has_begun(held).await;
        target.world.server.with(|state| state.cancel.push(held));
        assert_eq!(target.end_of(held).await.0.exit, Exit::Cancelled);
        let (report, log) = target.end_of(next).await;
        assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "2\n"));
    }
    target.ends_unharmed().await;
}
