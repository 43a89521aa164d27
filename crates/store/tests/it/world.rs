//! What every test needs: a project with a package, a runner, tasks, and this binary once more as another process.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use windlass_model::code::{BlobRef, Upload};
use windlass_model::exit::{Exit, Outcome, Usage, Verdict};
use windlass_model::id::{CodeId, ProjectId, RevisionId, RunnerId, SeqClock, TaskId};
use windlass_model::isolation::Level;
use windlass_model::lease::Fence;
use windlass_model::project::Project;
use windlass_model::retry::RetryPolicy;
use windlass_model::runner::{Held, Isolation, Register, RunnerRecord};
use windlass_model::task::{NewTask, Priority, Status};
use windlass_model::time::Timestamp;
use windlass_model::wire::codes::UploadOrder;
use windlass_store::Store;
use windlass_store::types::{Claimed, Claiming, Finish};

pub(crate) const CLUSTER: &str = "default";

/// The clock on the wall.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// A package and a runner in a store.
#[derive(Clone)]
pub(crate) struct World {
    clock: SeqClock,
    pub(crate) project: ProjectId,
    pub(crate) code: CodeId,
    pub(crate) runner: RunnerId,
}

impl World {
    /// Finds the package, or makes it, and registers the runner.
    pub(crate) async fn new(store: &dyn Store) -> Self {
        let mut clock = SeqClock::after(store.newest_seq().await.unwrap());
        let projects = store.projects().await.unwrap();
        let project = match projects.first() {
            Some(project) => project.id,
            None => {
                let id = ProjectId::new(clock.next(now()), 1);
                let (name, min_isolation) = ("p".to_owned(), Level::default());
                let project = Project {
                    id,
                    name,
                    created_at: now(),
                    min_isolation,
                    registries: std::collections::BTreeMap::new(),
                };
                store.create_project(project).await.unwrap();
                id
            }
        };
        let code = match store.code_named(project, "w").await.unwrap() {
            Some(code) => code.id,
            None => {
                let blob = BlobRef { sha256: "0".repeat(64), size_bytes: 1 };
                let upload = Upload {
                    code: CodeId::new(clock.next(now()), 1),
                    revision: RevisionId::new(clock.next(now()), 1),
                    project,
                    package: Some((blob, String::new())),
                    from: None,
                    order: UploadOrder { name: "w".to_owned(), ..UploadOrder::default() },
                    at: now(),
                };
                store.upload(upload).await.unwrap().id
            }
        };
        let runner = RunnerId::new(clock.next(now()), 1);
        let mut world = Self { clock, project, code, runner };
        world.register(store, runner).await;
        world
    }

    async fn register(&mut self, store: &dyn Store, id: RunnerId) {
        let about = Register {
            name: "host".to_owned(),
            instance: "place".to_owned(),
            cluster: CLUSTER.to_owned(),
            slots: 4,
            labels: Vec::new(),
            version: "1".to_owned(),
            isolation: Isolation { level: "process".to_owned(), missing: Vec::new() },
        };
        let (started_at, seen_at) = (now(), now());
        let record = RunnerRecord { id, about, started_at, seen_at, is_draining: false, gone_at: None };
        store.register_runner(record, now() + Duration::from_secs(3_600)).await.unwrap();
    }

    /// Lets at most `most` tasks of the package run at once.
    pub(crate) async fn limit(&mut self, store: &dyn Store, most: u32) {
        let max_concurrency = Some(Some(most));
        let order = UploadOrder { name: "w".to_owned(), max_concurrency, ..UploadOrder::default() };
        let (code, revision) = (self.code, RevisionId::new(self.clock.next(now()), 1));
        let upload =
            Upload { code, revision, project: self.project, package: None, from: None, order, at: now() };
        store.upload(upload).await.unwrap();
    }

    /// `count` new tasks with payloads of `bytes`.
    pub(crate) fn tasks(&mut self, count: usize, bytes: usize) -> Vec<NewTask> {
        self.tasks_at(now(), count, bytes)
    }

    /// The same, queued at `at`.
    pub(crate) fn tasks_at(&mut self, at: Timestamp, count: usize, bytes: usize) -> Vec<NewTask> {
        let task = |_| {
            let seq = self.clock.next(at);
            NewTask {
                id: TaskId::new(seq, seq.0 as u32 ^ 0xaaaa),
                project: self.project,
                code: self.code,
                rev: 1,
                priority: Priority::default(),
                created_at: at,
                run_at: at,
                timeout_s: 60,
                retry: RetryPolicy { retries: 1, delay_ms: 0 },
                cluster: CLUSTER.to_owned(),
                label: None,
                schedule: None,
                parent: None,
                retry_of: None,
                trace: None,
                payload: vec![b'p'; bytes],
            }
        };
        (0..count).map(task).collect()
    }

    pub(crate) async fn claim(&self, store: &dyn Store, want: usize) -> Vec<Claimed> {
        let claiming = Claiming { runner: self.runner, cluster: CLUSTER.to_owned(), want };
        store.claim(claiming, now()).await.unwrap()
    }
}

/// The attempt ended well.
pub(crate) fn success(task: TaskId, fence: Fence) -> Finish {
    let verdict = Verdict::Final { status: Status::Complete, msg: None, error_class: None };
    ending(task, fence, Exit::Code(0), verdict)
}

/// The attempt ended, and this follows.
pub(crate) fn ending(task: TaskId, fence: Fence, exit: Exit, verdict: Verdict) -> Finish {
    Finish {
        held: Held { task, fence },
        outcome: Outcome::Exited(exit),
        msg: String::new(),
        usage: Some(Usage { wall_ms: 7, user_us: 2, system_us: 1, peak_memory_bytes: 1 << 20 }),
        isolation: None,
        verdict,
        log: None,
        log_size_bytes: 0,
        result: None,
    }
}

/// Runs the ignored test `name` of this binary in a process of its own, with `dir` in its environment.
pub(crate) fn spawn(name: &str, dir: &std::path::Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("WINDLASS_TEST_DIR", dir).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// Where the process that runs as another one works; none: this is a run of the tests by hand.
pub(crate) fn dir_of_child() -> Option<std::path::PathBuf> {
    std::env::var_os("WINDLASS_TEST_DIR").map(Into::into)
}
