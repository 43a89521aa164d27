//! Fills a store through its seam, as if tasks of every kind had been queued and run over the last days.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use windlass_model::code::{BlobRef, Upload};
use windlass_model::exit::{Exit, Outcome, Usage, Verdict};
use windlass_model::id::{CodeId, ProjectId, RevisionId, RunnerId, ScheduleId, Seq, SeqClock, TaskId};
use windlass_model::isolation::{Isolation, Level};
use windlass_model::project::Project;
use windlass_model::retry::RetryPolicy;
use windlass_model::runner::{Held, Register, RunnerRecord};
use windlass_model::schedule::{Schedule, ScheduleState, Template, Timing};
use windlass_model::task::{NewTask, Priority, Status};
use windlass_model::time::Timestamp;
use windlass_model::wire::Page;
use windlass_model::wire::codes::UploadOrder;
use windlass_store::Store;
use windlass_store::types::{Claimed, Claiming, Finish, TaskQuery};

use crate::Result;

/// Over how many days.
const DAYS: u32 = 6;
const CODES: usize = 12;
const SCHEDULES: usize = 30;
/// Tasks that are queued, then claimed, then ended together.
const BATCH: usize = 2_000;
/// Tasks that are left waiting.
const WAITING: usize = 3_000;

/// What there is to look at.
pub(crate) struct Seeded {
    pub(crate) project: ProjectId,
    pub(crate) code: CodeId,
    pub(crate) schedule: ScheduleId,
    pub(crate) task: TaskId,
}

/// Fills the store unless it has `tasks` already.
pub(crate) async fn fill(store: &dyn Store, tasks: usize) -> Result<Seeded> {
    if store.projects().await?.is_empty() {
        let mut seed = Seed::begin(store, tasks).await?;
        seed.run(tasks).await?;
        println!("seeded {tasks} tasks");
    }
    let project = store.projects().await?.first().ok_or("no project")?.id;
    let page = Page { skip: 0, limit: 1 };
    let middle = TaskQuery { skip: 5_000, ..TaskQuery::of(project, 1) };
    let newest = TaskQuery::of(project, 1);
    let mut task = store.tasks(&middle).await?;
    task.extend(store.tasks(&newest).await?);
    Ok(Seeded {
        project,
        code: store.codes(project, page).await?.first().ok_or("no package")?.id,
        schedule: store.schedules(project, page).await?.first().ok_or("no schedule")?.id,
        task: task.first().ok_or("no task")?.new.id,
    })
}

struct Seed<'a> {
    store: &'a dyn Store,
    clock: SeqClock,
    project: ProjectId,
    codes: Vec<CodeId>,
    schedules: Vec<ScheduleId>,
    runner: RunnerId,
    begin: Timestamp,
    step: Duration,
    queued: usize,
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(0))
}

impl<'a> Seed<'a> {
    async fn begin(store: &'a dyn Store, tasks: usize) -> Result<Self> {
        let span = Duration::from_secs(86_400) * DAYS;
        let begin = now() - span;
        let mut clock = SeqClock::after(Seq::at(begin));
        let project = ProjectId::new(clock.next(begin), 0);
        let (name, min_isolation) = ("seeded".to_owned(), Level::default());
        store
            .create_project(Project {
                id: project,
                name,
                created_at: begin,
                min_isolation,
                registries: Default::default(),
            })
            .await?;
        let mut codes = Vec::new();
        for n in 0..CODES {
            let upload = Upload {
                code: CodeId::new(clock.next(begin), 0),
                revision: RevisionId::new(clock.next(begin), 0),
                project,
                package: Some((BlobRef { sha256: "0".repeat(64), size_bytes: 1 }, String::new())),
                from: None,
                order: UploadOrder { name: format!("worker-{n}"), ..UploadOrder::default() },
                at: begin,
            };
            codes.push(store.upload(upload).await?.id);
        }
        let schedules = (0..SCHEDULES).map(|n| schedule(project, codes[n % CODES], clock.next(begin), n));
        let schedules: Vec<Schedule> = schedules.collect();
        let ids = schedules.iter().map(|s| s.id).collect();
        store.create_schedules(schedules, SCHEDULES).await?;
        let runner = RunnerId::new(clock.next(begin), 0);
        let about = Register {
            name: "seed".to_owned(),
            instance: "seed".to_owned(),
            cluster: "default".to_owned(),
            slots: 16,
            labels: Vec::new(),
            version: "0.1.0".to_owned(),
            isolation: isolation(),
        };
        let record = RunnerRecord {
            id: runner,
            about,
            started_at: begin,
            seen_at: begin,
            is_draining: false,
            gone_at: None,
        };
        store.register_runner(record, now() + span).await?;
        let step = span * BATCH as u32 / (tasks as u32).max(1);
        Ok(Self { store, clock, project, codes, schedules: ids, runner, begin, step, queued: 0 })
    }

    async fn run(&mut self, tasks: usize) -> Result<()> {
        let mut at = self.begin;
        while self.queued + WAITING < tasks {
            let queued = self.tasks(at, BATCH);
            self.store.enqueue(queued).await?;
            let claiming = Claiming { runner: self.runner, cluster: "default".to_owned(), want: BATCH };
            let started = at + Duration::from_millis(40 + (self.queued as u64 * 7) % 9_000);
            let claimed = self.store.claim(claiming, started).await?;
            let ended = started + Duration::from_millis(900);
            let finishes = claimed.iter().enumerate().map(|(n, claimed)| finish(n, claimed)).collect();
            self.store.finish_if_leased(finishes, ended).await?;
            at = at + self.step;
        }
        let waiting = self.tasks(now(), WAITING);
        self.store.enqueue(waiting).await?;
        let claiming = Claiming { runner: self.runner, cluster: "default".to_owned(), want: 12 };
        self.store.claim(claiming, now()).await?;
        Ok(())
    }

    fn tasks(&mut self, at: Timestamp, count: usize) -> Vec<NewTask> {
        let first = self.queued;
        self.queued += count;
        (first..first + count)
            .map(|n| {
                let seq = self.clock.next(at);
                NewTask {
                    id: TaskId::new(seq, seq.0 as u32),
                    project: self.project,
                    code: self.codes[n % CODES],
                    rev: 1,
                    priority: Priority::new((n % 3) as i64).unwrap_or_default(),
                    created_at: at,
                    run_at: at,
                    timeout_s: 3_600,
                    retry: RetryPolicy::default(),
                    cluster: "default".to_owned(),
                    label: (n % 4 == 0).then(|| format!("label-{}", n % 25)),
                    schedule: (n % 10 == 0).then(|| self.schedules[n / 10 % SCHEDULES]),
                    parent: None,
                    retry_of: None,
                    trace: None,
                    payload: format!(
                        "{{\"zone\": \"zone-{}\", \"token\": \"not for everybody\", \"rest\": \"{}\"}}",
                        n % 1_000,
                        "x".repeat(200)
                    )
                    .into_bytes(),
                }
            })
            .collect()
    }
}

fn isolation() -> Isolation {
    Isolation::new(Level::default(), Vec::new())
}

fn schedule(project: ProjectId, code: CodeId, seq: Seq, n: usize) -> Schedule {
    let begin = seq.created_at();
    let timing = Timing {
        start_at: now() + Duration::from_secs(3_600),
        run_every_s: Some(60 * (1 + n as u32 * 7)),
        run_times: None,
        end_at: None,
    };
    let template = Template {
        code,
        payload: b"{}".to_vec(),
        priority: None,
        timeout_s: 3_600,
        task_delay_s: 0,
        cluster: "default".to_owned(),
        label: None,
        max_concurrency: None,
    };
    // As if they had fired, so that what they made is looked for.
    let state = ScheduleState { last_run_at: Some(begin), run_count: 9, ..ScheduleState::first(&timing) };
    Schedule {
        id: ScheduleId::new(seq, 0),
        project,
        name: format!("schedule-{n}"),
        timing,
        template,
        state,
        created_at: begin,
        updated_at: begin,
    }
}

/// Of a hundred, ninety end well.
fn finish(n: usize, claimed: &Claimed) -> Finish {
    let (exit, status, msg) = match n % 100 {
        0..5 => (Exit::Code(3), Status::Error, "exit 3: the zone has no forecast"),
        5..8 => (Exit::TimedOut, Status::Timeout, "it ran longer than 1 min"),
        8 => (Exit::Code(1), Status::Killed, "three runners were lost while it ran"),
        9 => (Exit::Code(1), Status::Cancelled, ""),
        _ => (Exit::Code(0), Status::Complete, ""),
    };
    let wall_ms = 20 + (n as u64 * 37) % 4_000;
    Finish {
        held: Held { task: claimed.task.id, fence: claimed.fence },
        outcome: Outcome::Exited(exit),
        msg: msg.to_owned(),
        usage: Some(Usage {
            wall_ms,
            user_us: wall_ms * 300,
            system_us: wall_ms * 50,
            peak_memory_bytes: 40 << 20,
        }),
        isolation: Some(isolation()),
        verdict: Verdict::Final { status, msg: Some(msg.to_owned()), error_class: None },
        log: None,
        log_size_bytes: 0,
        result: None,
    }
}
