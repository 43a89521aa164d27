//! Does the steps to the model and to a database, and compares the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use windlass_model::bytes::Bytes;
use windlass_model::cluster::Cluster;
use windlass_model::code::{BlobRef, Upload};
use windlass_model::exit::{Again, Exit, Outcome, Usage, Verdict};
use windlass_model::id::{
    ClusterId, CodeId, ProjectId, RevisionId, RunnerId, ScheduleId, Seq, SeqClock, TaskId, TokenId,
};
use windlass_model::isolation::Level;
use windlass_model::lease::LEASE_TTL;
use windlass_model::lifecycle::conclude;
use windlass_model::limits::Changes;
use windlass_model::log::{self, LogChunk, Stream};
use windlass_model::project::{Project, Scope, TokenRecord};
use windlass_model::retry::RetryPolicy;
use windlass_model::runner::{AttemptLog, Held, Isolation, Register, RunnerRecord};
use windlass_model::schedule::{Schedule, ScheduleState, Template, Timing};
use windlass_model::secret::Sealed;
use windlass_model::task::{NewTask, Priority, Stored};
use windlass_model::time::Timestamp;
use windlass_model::trace::TraceParent;
use windlass_model::wire::codes::UploadOrder;

use super::compare::{Fences, equal, everything};
use super::step::{Ending, Step, TaskStep};
use crate::memory::Memory;
use crate::moving::Record;
use crate::store::Store;
use crate::types::{Claiming, Finish, Firing, Once, OnceKey, Retention};

/// A database under test.
#[async_trait]
pub trait Subject: Send {
    /// The store as it is now.
    fn store(&self) -> &dyn Store;

    /// Closes it and opens it again.
    async fn reopen(&mut self);

    /// What does not hold in the database beyond what can be seen through the seam.
    async fn problems(&mut self) -> Vec<String>;
}

/// Does `steps` to the model and to `subject`. Panics at the first difference.
pub async fn run(steps: &[Step], subject: &mut dyn Subject) {
    let mut world = World::new(subject).await;
    for step in steps {
        world.step(step).await;
    }
    let World { model, subject, fences, ids, now, .. } = world;
    equal("runners", model.runners().await, subject.store().runners().await);
    everything(&model, subject.store(), &fences, now, &ids).await;
    let problems = subject.problems().await;
    assert!(problems.is_empty(), "the database is not whole: {problems:#?}");
}

/// Panics unless `copy` says of everything in `original` what that says itself, at `now`. Sessions of runners are left
/// out: they are of a process, and not moved.
pub async fn same(original: &dyn Store, copy: &dyn Store, records: &[Record], now: Timestamp) {
    everything(original, copy, &Fences::default(), now, &Ids::of(records)).await;
}

/// Ids of what there is or was.
#[derive(Default)]
pub(super) struct Ids {
    pub(super) projects: Vec<ProjectId>,
    pub(super) codes: Vec<CodeId>,
    pub(super) tokens: Vec<TokenId>,
    pub(super) clusters: Vec<ClusterId>,
    pub(super) tasks: Vec<TaskId>,
    pub(super) runners: Vec<RunnerId>,
    pub(super) schedules: Vec<ScheduleId>,
}

impl Ids {
    fn of(records: &[Record]) -> Self {
        let mut ids = Self::default();
        for record in records {
            match record {
                Record::Project(project) => ids.projects.push(project.id),
                Record::Token(token) => ids.tokens.push(token.id),
                Record::Cluster(cluster) => ids.clusters.push(cluster.id),
                Record::Code(code, _) => ids.codes.push(code.id),
                Record::Schedule(schedule) => ids.schedules.push(schedule.id),
                Record::Task(moved) => ids.tasks.push(moved.task.new.id),
                _ => {}
            }
        }
        ids
    }
}

struct World<'a> {
    model: Memory,
    subject: &'a mut dyn Subject,
    clock: SeqClock,
    now: Timestamp,
    fences: Fences,
    ids: Ids,
    /// Every attempt that was handed out, as the model names it.
    held: Vec<Held>,
    /// Schedules as they once were.
    outdated: Vec<Schedule>,
}

pub(super) const CLUSTERS: [&str; 2] = ["default", "gpu"];

fn pick<T: Copy>(from: &[T], at: u8) -> Option<T> {
    (!from.is_empty()).then(|| from[usize::from(at) % from.len()])
}

/// Does the same to both, and compares the answers.
macro_rules! both {
    ($world:ident . $method:ident ( $($arg:expr),* )) => {{
        let model = $world.model.$method($($arg),*).await;
        let subject = $world.subject.store().$method($($arg),*).await;
        equal(stringify!($method), model, subject)
    }};
}

impl<'a> World<'a> {
    async fn new(subject: &'a mut dyn Subject) -> Self {
        let mut world = Self {
            model: Memory::default(),
            subject,
            clock: SeqClock::default(),
            now: Timestamp::from_secs(1_700_000_000),
            fences: Fences::default(),
            ids: Ids::default(),
            held: Vec::new(),
            outdated: Vec::new(),
        };
        for name in ["one", "two"] {
            let id = ProjectId::new(world.seq(), 7);
            let project = Project {
                id,
                name: name.to_owned(),
                created_at: world.now,
                min_isolation: Level::default(),
                registries: BTreeMap::new(),
            };
            both!(world.create_project(project.clone()));
            world.ids.projects.push(id);
        }
        for project in 0..2 {
            world.step(&Step::Upload(project, 0, 0)).await;
        }
        world.step(&Step::Register(0, 0, 2)).await;
        world
    }

    fn seq(&mut self) -> Seq {
        self.clock.next(self.now)
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Wait(ms) => {
                let moved = self.now.as_millis().saturating_add(i64::from(*ms));
                self.now = Timestamp::from_millis(moved.max(1_600_000_000_000));
            }
            Step::WaitDays(days) => self.now = self.now + Duration::from_secs(86_400) * u32::from(*days),
            Step::Upload(project, name, limit) => self.upload(*project, *name, *limit).await,
            Step::Demand(project, level) => {
                let known = pick(&self.ids.projects, *project).filter(|_| !project.is_multiple_of(8));
                let project = known.unwrap_or_else(|| ProjectId::new(self.seq(), 8));
                both!(self.set_min_isolation(project, pick_level(*level)));
                let login = (!level.is_multiple_of(3)).then(|| Sealed(level.to_string()));
                both!(self.set_registry(project, ["a", "b"][usize::from(*level) % 2], login.clone()));
            }
            Step::Pause(code, paused) => {
                if let Some(code) = pick(&self.ids.codes, *code) {
                    both!(self.set_paused(code, *paused, self.now));
                }
            }
            Step::DeleteCode(code) => {
                if let Some(code) = pick(&self.ids.codes, *code) {
                    both!(self.delete_code(code, self.now));
                }
            }
            Step::Token(what) => self.token(*what).await,
            Step::Cluster(what) => self.cluster(*what).await,
            Step::Secret(n) => {
                let name = ["a", "b"][usize::from(*n) % 2];
                if n % 3 == 0 {
                    both!(self.replace_secret(name, [n.wrapping_add(1); 32]));
                }
                both!(self.secret(name, [*n; 32]));
            }
            Step::Enqueue(tasks) => self.enqueue(tasks).await,
            Step::EnqueueOnce(key, tasks) => self.enqueue_once(*key, tasks).await,
            Step::Promote => {
                both!(self.promote(self.now));
            }
            Step::Claim(runner, cluster, want) => self.claim(*runner, *cluster, *want).await,
            Step::Finish(ends) => self.finish(ends).await,
            Step::FinishLost(at) => self.finish_lost(*at).await,
            Step::Append(at, first, count) => self.append(*at, *first, *count).await,
            Step::Progress(task, percent, with_msg) => {
                if let Some(task) = pick(&self.ids.tasks, *task) {
                    let msg = with_msg.then(|| format!("at {}", self.now));
                    both!(self.progress(task, *percent, msg.clone(), self.now));
                }
            }
            Step::Cancel(tasks) => {
                let mut tasks: Vec<TaskId> =
                    tasks.iter().filter_map(|at| pick(&self.ids.tasks, *at)).collect();
                tasks.push(TaskId::new(Seq(1), 1));
                tasks.extend(tasks.first().map(|task| TaskId::new(task.seq(), task.0.tag ^ 1)));
                both!(self.cancel_unless_final(&tasks, self.now));
            }
            Step::Settle => {
                let tasks = self.ids.tasks.clone();
                both!(self.cancel_unless_final(&tasks, self.now));
                let held: Vec<Held> = std::mem::take(&mut self.held);
                for held in held {
                    self.held = vec![held];
                    self.finish(&[(0, Ending::Dies, false)]).await;
                }
            }
            Step::Register(instance, cluster, level) => self.register(*instance, *cluster, *level).await,
            Step::Heartbeat(runner, from) => self.heartbeat(*runner, *from).await,
            Step::Release(runner, at, leave) => {
                if let Some(runner) = pick(&self.ids.runners, *runner) {
                    let held: Vec<Held> = pick(&self.held, *at).into_iter().collect();
                    let there = self.fences.there(&held);
                    let model = self.model.release(runner, &held, *leave, self.now).await;
                    let subject = self.subject.store().release(runner, &there, *leave, self.now).await;
                    equal("release", model, subject);
                }
            }
            Step::Rescue => {
                both!(self.rescue(self.now));
            }
            Step::Drain(runner, draining) => {
                if let Some(runner) = pick(&self.ids.runners, *runner) {
                    both!(self.set_draining(runner, *draining));
                }
            }
            Step::Schedule(code, every, times, limit) => self.schedule(*code, *every, *times, *limit).await,
            Step::Replace(at, outdated) => self.replace(*at, *outdated).await,
            Step::Fire(twice) => self.fire(*twice).await,
            Step::Prune(days) => {
                let tasks = Duration::from_secs(86_400) * u32::from(*days);
                let retention = Retention {
                    tasks,
                    runners: Duration::from_secs(3_600),
                    keys: Duration::from_secs(600),
                    usage_minutes: Duration::from_secs(7_200) * u32::from(*days),
                    usage_days: Duration::from_secs(86_400) * u32::from(*days),
                };
                both!(self.prune(retention, self.now));
            }
            Step::Reopen => self.subject.reopen().await,
        }
        self.glance().await;
    }

    /// What is cheap to compare after every step.
    async fn glance(&mut self) {
        both!(self.counts(None));
        both!(self.oldest_ready(None));
        let there = self.fences.there(&self.held);
        let model = self.model.leased(&self.held).await;
        let subject = self.subject.store().leased(&there).await;
        equal("leased", model, subject);
        let newest = self.subject.store().newest_seq().await.expect("an open store knows its newest id");
        let floor = self.model.newest_seq().await.expect("the model never fails");
        assert!(newest >= floor, "newest_seq: {newest:?} is below {floor:?}");
    }

    async fn upload(&mut self, project: u8, name: u8, limit: u8) {
        let Some(project) = pick(&self.ids.projects, project) else { return };
        let package = BlobRef { sha256: format!("{name:064x}"), size_bytes: 10 };
        let code_name = format!("code-{}", name % 3);
        let known = self.model.code_named(project, &code_name).await.expect("the model never fails");
        let from = match known.filter(|_| name.is_multiple_of(5)) {
            Some(code) => self.model.revision(code.id, 1).await.expect("the model never fails"),
            None => None,
        };
        let upload = Upload {
            code: CodeId::new(self.seq(), 3),
            revision: RevisionId::new(self.seq(), 4),
            project,
            package: (name.is_multiple_of(4) || limit > 0).then(|| (package, "md5".to_owned())),
            from: from.map(Box::new),
            order: UploadOrder {
                name: code_name,
                limits: Changes {
                    memory_bytes: (limit > 0).then(|| (limit > 1).then_some(u64::from(limit) << 20)),
                    ..Changes::default()
                },
                max_concurrency: limit.checked_sub(1).map(|n| (n > 0).then_some(u32::from(n))),
                ..UploadOrder::default()
            },
            at: self.now,
        };
        if let Some(code) = both!(self.upload(upload.clone()))
            && !self.ids.codes.contains(&code.id)
        {
            self.ids.codes.push(code.id);
        }
    }

    async fn cluster(&mut self, what: u8) {
        let known = pick(&self.ids.clusters, what / 3);
        let id = known.filter(|_| !what.is_multiple_of(3)).unwrap_or_else(|| ClusterId::new(self.seq(), 10));
        let name = format!("cluster {}", what % 5);
        let cluster = Cluster { cpu_share: u32::from(what), ..Cluster::new(id, name, self.now) };
        match what % 3 {
            0 => {
                if both!(self.create_cluster(cluster.clone())) == Some(true) {
                    self.ids.clusters.push(id);
                }
            }
            1 => {
                both!(self.change_cluster(cluster.clone()));
            }
            _ => {
                both!(self.delete_cluster(id));
            }
        }
    }

    async fn token(&mut self, what: u8) {
        match (what % 3, pick(&self.ids.tokens, what)) {
            (1, Some(token)) => {
                both!(self.note_tokens_used(vec![(token, self.now)]));
            }
            (2, Some(token)) => {
                both!(self.revoke_token(token));
            }
            _ => {
                let id = TokenId::new(self.seq(), 9);
                let token = TokenRecord {
                    id,
                    hash: [what; 32],
                    project: pick(&self.ids.projects, what),
                    cluster: None,
                    scopes: vec![Scope::Read],
                    name: "t".to_owned(),
                    created_at: self.now,
                    expires_at: None,
                    last_used_at: None,
                };
                both!(self.create_token(token.clone()));
                self.ids.tokens.push(id);
            }
        }
    }

    async fn new_task(&mut self, step: &TaskStep) -> Option<NewTask> {
        let code = pick(&self.ids.codes, step.code)?;
        let code = self.model.code(code).await.expect("the model never fails")?;
        let delay = i64::from(step.delay_s) * 1000;
        let seq = self.seq();
        Some(NewTask {
            id: TaskId::new(seq, seq.0 as u32 ^ 0x5555),
            project: code.project,
            code: code.id,
            rev: 1 + u32::from(step.payload_bytes) % code.latest.rev,
            priority: Priority::new(i64::from(step.priority % 3)).unwrap_or_default(),
            created_at: self.now,
            run_at: Timestamp::from_millis(self.now.as_millis() + delay),
            timeout_s: 60,
            retry: RetryPolicy {
                retries: u32::from(step.retries),
                delay_ms: u64::from(step.retries % 2) * 60_000,
            },
            cluster: CLUSTERS[usize::from(step.cluster) % CLUSTERS.len()].to_owned(),
            label: (!step.label.is_multiple_of(3)).then(|| format!("label-{}", step.label % 3)),
            schedule: (step.label > 3).then(|| pick(&self.ids.schedules, step.label)).flatten(),
            parent: (step.label > 5).then(|| pick(&self.ids.tasks, step.label)).flatten(),
            retry_of: None,
            trace: step.label.is_multiple_of(2).then(|| trace(step.label)),
            payload: vec![step.priority; usize::from(step.payload_bytes)],
        })
    }

    async fn enqueue(&mut self, steps: &[TaskStep]) {
        let mut tasks = Vec::new();
        for step in steps {
            tasks.extend(self.new_task(step).await);
        }
        both!(self.enqueue(tasks.clone()));
        self.ids.tasks.extend(tasks.iter().map(|task| task.id));
    }

    async fn enqueue_once(&mut self, key: u8, steps: &[TaskStep]) {
        let Some(project) = pick(&self.ids.projects, key) else { return };
        let mut tasks = Vec::new();
        for step in steps {
            tasks.extend(self.new_task(step).await);
        }
        let key = OnceKey { key: format!("key-{}", key % 5), asked: [key % 3; 32] };
        if both!(self.enqueue_once(project, &key, tasks.clone())) == Some(Once::Queued) {
            self.ids.tasks.extend(tasks.iter().map(|task| task.id));
        }
    }

    async fn claim(&mut self, runner: u8, cluster: u8, want: u8) {
        let Some(runner) = pick(&self.ids.runners, runner) else { return };
        let cluster = CLUSTERS[usize::from(cluster) % CLUSTERS.len()].to_owned();
        let claiming = Claiming { runner, cluster, want: usize::from(want) };
        let model = self.model.claim(claiming.clone(), self.now).await;
        let mut subject = self.subject.store().claim(claiming, self.now).await;
        if let (Ok(here), Ok(there)) = (&model, &mut subject) {
            assert_eq!(here.len(), there.len(), "claim: number of tasks");
            for (here, there) in here.iter().zip(there) {
                self.fences.learn(here.fence, there.fence);
                there.fence = here.fence;
            }
        }
        let claimed = equal("claim", model, subject).unwrap_or_default();
        self.held.extend(claimed.iter().map(|c| Held { task: c.task.id, fence: c.fence }));
    }

    async fn finish(&mut self, ends: &[(u8, Ending, bool)]) {
        let mut finishes = Vec::new();
        for (at, ending, with_output) in ends {
            let Some(held) = pick(&self.held, *at) else { continue };
            let leased = self.model.leased(&[held]).await.expect("the model never fails").pop().flatten();
            let exit = match ending {
                Ending::Succeeds => Exit::Code(0),
                Ending::Fails => Exit::Code(1),
                Ending::TimesOut => Exit::TimedOut,
                Ending::Dies => Exit::Cancelled,
                Ending::OutOfMemory => Exit::OutOfMemory { limit_bytes: 1 << 20, peak_bytes: 1 << 21 },
                Ending::NotStarted => Exit::NotStarted("no such file".to_owned()),
            };
            let outcome = Outcome::Exited(exit);
            let verdict = match leased {
                Some(leased) => conclude(leased.trial, &outcome, "", leased.policy, 0.5, self.now),
                None => conclude_blind(&outcome, self.now),
            };
            let chunk = LogChunk { n: 1, stream: Stream::Stdout, at_ms: 0, data: Bytes(vec![b'x'; 9]) };
            finishes.push(Finish {
                held,
                outcome,
                msg: if *with_output { "said".to_owned() } else { String::new() },
                usage: with_output.then_some(Usage {
                    // A runner may report anything.
                    wall_ms: if *at == 9 { i64::MAX as u64 / 2 } else { u64::from(*at) * 5 },
                    user_us: 6,
                    system_us: 7,
                    peak_memory_bytes: 8,
                }),
                isolation: with_output.then(|| isolation(*at)),
                verdict,
                log: with_output.then(|| Stored::Inline(log::encode(&[chunk]))),
                log_size_bytes: if *with_output { 9 } else { 0 },
                result: with_output.then(|| {
                    Stored::Blob(BlobRef { sha256: format!("{at:064x}"), size_bytes: u64::from(*at) })
                }),
            });
        }
        self.write_finishes(finishes).await;
    }

    async fn finish_lost(&mut self, at: u8) {
        let Some(held) = pick(&self.held, at) else { return };
        let verdict = Verdict::Again { run_at: self.now, why: Again::Lost, msg: "again".to_owned() };
        self.write_finishes(vec![Finish {
            held,
            outcome: Outcome::Lost,
            msg: "lost".to_owned(),
            usage: None,
            isolation: None,
            verdict,
            log: None,
            log_size_bytes: 0,
            result: None,
        }])
        .await;
    }

    async fn write_finishes(&mut self, finishes: Vec<Finish>) {
        let there =
            finishes.iter().map(|f| Finish { held: self.fences.there_one(f.held), ..f.clone() }).collect();
        let model = self.model.finish_if_leased(finishes, self.now).await;
        let subject = self.subject.store().finish_if_leased(there, self.now).await;
        equal("finish_if_leased", model, subject);
    }

    async fn append(&mut self, at: u8, first: u8, count: u8) {
        let Some(held) = pick(&self.held, at) else { return };
        let chunk = |n: u8| LogChunk {
            n: u32::from(n) + 1,
            stream: [Stream::Stdout, Stream::Stderr, Stream::System][usize::from(n) % 3],
            at_ms: u32::from(n) * 10,
            data: Bytes(vec![n, first]),
        };
        let chunks: Vec<LogChunk> = (first..first.saturating_add(count)).map(chunk).collect();
        let there = AttemptLog { held: self.fences.there_one(held), chunks: chunks.clone() };
        let model = self.model.append_logs(vec![AttemptLog { held, chunks }]).await;
        let subject = self.subject.store().append_logs(vec![there]).await;
        equal("append_logs", model, subject.map(|lost| self.fences.here(&lost)));
    }

    async fn register(&mut self, instance: u8, cluster: u8, level: u8) {
        let id = RunnerId::new(self.seq(), 5);
        let about = Register {
            name: "host".to_owned(),
            instance: format!("place-{}", instance % 3),
            cluster: CLUSTERS[usize::from(cluster) % CLUSTERS.len()].to_owned(),
            slots: 4,
            labels: vec!["a=b".to_owned()],
            version: "1".to_owned(),
            isolation: Isolation::new(pick_level(level), Vec::new()),
        };
        let (started_at, seen_at) = (self.now, self.now);
        let record = RunnerRecord { id, about, started_at, seen_at, is_draining: false, gone_at: None };
        both!(self.register_runner(record.clone(), self.now + LEASE_TTL));
        self.ids.runners.push(id);
    }

    async fn heartbeat(&mut self, runner: u8, from: u8) {
        let Some(runner) = pick(&self.ids.runners, runner) else { return };
        let holds = self.held[usize::from(from).min(self.held.len())..].to_vec();
        let there = self.fences.there(&holds);
        let until = self.now + LEASE_TTL;
        let model = self.model.heartbeat(runner, &holds, self.now, until).await;
        let mut subject = self.subject.store().heartbeat(runner, &there, self.now, until).await;
        if let Ok(pulse) = &mut subject {
            pulse.lost = self.fences.here(&pulse.lost);
            pulse.cancel = self.fences.here(&pulse.cancel);
        }
        equal("heartbeat", model, subject);
    }

    async fn schedule(&mut self, code: u8, every: u8, times: u8, limit: u8) {
        let Some(code) = pick(&self.ids.codes, code) else { return };
        let code = self.model.code(code).await.expect("the model never fails").expect("it was uploaded");
        let timing = Timing {
            start_at: self.now + Duration::from_secs(u64::from(times)),
            run_every_s: (every > 0).then(|| u32::from(every) * 60),
            run_times: (times > 0).then_some(u32::from(times)),
            end_at: None,
        };
        let schedule = Schedule {
            id: ScheduleId::new(self.seq(), 6),
            project: code.project,
            name: "s".to_owned(),
            timing,
            template: Template {
                code: code.id,
                payload: vec![0xff, every],
                priority: None,
                timeout_s: 60,
                task_delay_s: 0,
                cluster: CLUSTERS[0].to_owned(),
                label: None,
                max_concurrency: None,
            },
            state: ScheduleState::first(&timing),
            created_at: self.now,
            updated_at: self.now,
        };
        let limit = usize::from(limit) + 1;
        if both!(self.create_schedules(vec![schedule.clone()], limit)).is_some() {
            self.ids.schedules.push(schedule.id);
            self.outdated.push(schedule);
        }
    }

    async fn replace(&mut self, at: u8, outdated: bool) {
        let Some(id) = pick(&self.ids.schedules, at) else { return };
        let now = self.model.schedule(id).await.expect("the model never fails").expect("it was created");
        let before = match outdated {
            true => self.outdated[usize::from(at) % self.outdated.len()].clone(),
            false => now,
        };
        let state = match at % 4 {
            0 => before.state.cancelled("by hand"),
            1 => before.state.paused(),
            2 => before.state.resumed(&before.timing, self.now),
            _ => before.state.retimed(&before.timing, self.now),
        };
        let after = Schedule { state, updated_at: self.now, ..before.clone() };
        both!(self.replace_schedule_if_unchanged(&before, after.clone()));
        self.outdated.push(before);
    }

    async fn fire(&mut self, twice: bool) {
        let Some((due, _)) = both!(self.due_schedules(self.now, 3)) else { return };
        let mut firings = Vec::new();
        for schedule in due {
            let state = schedule.state.fired(&schedule.timing, self.now);
            let task = TaskStep {
                code: 0,
                cluster: 0,
                priority: 1,
                delay_s: 0,
                retries: 0,
                label: 0,
                payload_bytes: 3,
            };
            let task = self.new_task(&task).await.map(|task| NewTask { schedule: Some(schedule.id), ..task });
            let due_at = schedule.state.next_at.unwrap_or(self.now);
            firings.push(Firing { schedule: schedule.id, due_at, task, state });
        }
        if twice {
            for firing in firings.clone() {
                let due_at = firing.due_at;
                let task = firing.task.map(|task| NewTask { id: TaskId::new(self.seq(), 8), ..task });
                firings.push(Firing { due_at, task, ..firing });
            }
        }
        let fired = both!(self.fire_if_due(firings.clone(), self.now)).unwrap_or_default();
        let written = firings.iter().zip(fired).filter(|(_, fired)| *fired);
        self.ids.tasks.extend(written.filter_map(|(firing, _)| firing.task.as_ref().map(|task| task.id)));
    }
}

fn trace(n: u8) -> TraceParent {
    TraceParent::from_bytes([n; TraceParent::BYTES])
}

fn pick_level(n: u8) -> Level {
    Level::ALL[usize::from(n) % Level::ALL.len()]
}

fn isolation(n: u8) -> Isolation {
    Isolation { level: "process".to_owned(), missing: vec![format!("property {}", n % 2)] }
}

/// What a runner would be told of an attempt that nobody knows any more.
fn conclude_blind(outcome: &Outcome, now: Timestamp) -> Verdict {
    let trial = windlass_model::lifecycle::Trial::default();
    conclude(trial, outcome, "", RetryPolicy::default(), 0.0, now)
}
