//! Every operation of the seam: sent to the writer, answered from memory, or read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::mpsc;
use windlass_model::cluster::Cluster;
use windlass_model::code::{Code, Revision, Upload};
use windlass_model::id::{ClusterId, CodeId, ProjectId, RunnerId, ScheduleId, Seq, TaskId, TokenId};
use windlass_model::isolation::Level;
use windlass_model::project::{Project, TokenRecord};
use windlass_model::runner::{AttemptLog, Held, RunnerRecord};
use windlass_model::schedule::Schedule;
use windlass_model::secret::Sealed;
use windlass_model::task::{Attempt, NewTask, Status, Stored, Task};
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain, UsageBy};
use windlass_model::wire::Page;

use super::fault::store_error;
use super::lock::DirectoryLock;
use super::ops::codes::Deletion;
use super::ops::{accounts, cancel, claim, codes, enqueue, finish, progress, prune, schedules, sessions};
use super::reader::Readers;
use super::state::{Shared, State, View};
use super::writer::{self, Operation, QUEUE, Request, Writer};
use super::{health, reads, schema};
use crate::error::StoreError;
use crate::moving::{Mark, Record};
use crate::signals::Signals;
use crate::store::{Result, Store};
use crate::types::{
    Cancelled, Claimed, Claiming, Counts, Finish, Finished, Firing, LaneCounts, Leased, LogPart, Once,
    OnceKey, Partition, Pruned, Pulse, Rescued, Retention, TaskQuery,
};
use crate::usage::{Rollup, UsageOf};

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most memory that the writer keeps pages in.
    pub cache_kib: u32,
    /// Most bytes that the database file may grow to; writes that need more fail as on a full disk.
    pub max_size_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_kib: 32 * 1024, max_size_bytes: None }
    }
}

/// The embedded store. Dropping it without [`Store::close`] is like a crash that loses nothing.
#[derive(Debug)]
pub struct Sqlite {
    queue: Option<mpsc::Sender<Request>>,
    shared: Arc<Shared>,
    readers: Arc<Readers>,
    signals: Arc<Signals>,
    is_closed: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    dir: PathBuf,
}

impl Sqlite {
    /// Opens the store in `dir`, which is made if it is not there. Takes milliseconds, whatever is in it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it, [`StoreError::Unusable`] if the directory cannot be written or
    /// its database is newer than this version, [`StoreError::Damaged`] if it is no database.
    pub fn open(dir: &Path, options: Options) -> Result<Self> {
        std::fs::create_dir_all(dir)
            .map_err(|e| StoreError::Unusable { path: dir.to_owned(), reason: e.to_string() })?;
        let lock = DirectoryLock::take(dir)?;
        let conn = schema::open_writer(dir, &options)?;
        let state = State::load(&conn).map_err(|e| store_error(&e))?;
        let shared = Arc::new(Shared::of(&state));
        let signals = Arc::new(Signals::default());
        let writer = Writer {
            conn,
            state,
            shared: shared.clone(),
            signals: signals.clone(),
            lock,
            level: None,
            dir: dir.to_owned(),
            is_stale: false,
        };
        let (queue, requests) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(|e| StoreError::Unavailable(format!("its writer could not be started: {e}")))?;
        Ok(Self {
            queue: Some(queue),
            shared,
            readers: Arc::new(Readers::new(dir.to_owned())),
            signals,
            is_closed: AtomicBool::new(false),
            thread: Mutex::new(Some(thread)),
            dir: dir.to_owned(),
        })
    }

    /// Records after the mark, about `most`, and the mark to go on from; none: that was all. Nothing may change
    /// meanwhile, and no task may be running.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where a task is running.
    pub async fn export(&self, mark: Option<Mark>, most: usize) -> Result<(Vec<Record>, Option<Mark>)> {
        self.read_at_length(move |conn, view| reads::export::export(conn, view, mark, most)).await
    }

    async fn ask<O: Operation>(&self, operation: O) -> Result<O::Answer> {
        match &self.queue {
            Some(queue) => writer::ask(queue, operation).await,
            None => Err(StoreError::Unavailable("it is closed".to_owned())),
        }
    }

    /// Reads one snapshot, here and now: for what takes microseconds.
    fn read<T>(&self, read: impl Fn(&Connection, &View) -> rusqlite::Result<T>) -> Result<T> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("it is closed".to_owned()));
        }
        read_with(&self.readers, &self.shared, read)
    }

    /// Reads one snapshot on a thread that may take its time.
    async fn read_at_length<T: Send + 'static>(
        &self,
        read: impl Fn(&Connection, &View) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("it is closed".to_owned()));
        }
        let (readers, shared) = (self.readers.clone(), self.shared.clone());
        let reading = tokio::task::spawn_blocking(move || read_with(&readers, &shared, read));
        reading.await.map_err(|e| StoreError::Unavailable(format!("a read ended: {e}")))?
    }

    fn package(&self, code: CodeId) -> Option<usize> {
        self.shared.view().catalog.number(code)
    }
}

fn read_with<T>(
    readers: &Readers,
    shared: &Shared,
    read: impl Fn(&Connection, &View) -> rusqlite::Result<T>,
) -> Result<T> {
    /// Looks without a pause, then with one: on a busy machine the writer may not be let on for a while.
    const AT_ONCE: usize = 20;
    const TRIES: usize = 1_000;
    let mut tries = 0;
    loop {
        let view = shared.view();
        match readers.with(|conn| read(conn, &view)) {
            Ok(answer) => return Ok(answer),
            // A partition was dropped between the look at the view and the snapshot: the writer is about to say so.
            Err(error) if tries < TRIES && error.to_string().starts_with("no such table") => {
                tries += 1;
                match tries < AT_ONCE {
                    true => std::thread::yield_now(),
                    false => std::thread::sleep(Duration::from_millis(1)),
                }
            }
            Err(error) => return Err(store_error(&error)),
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.readers.close();
        self.queue = None;
        // The directory is free for the next one only when the writer has ended.
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Store for Sqlite {
    fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    async fn newest_seq(&self) -> Result<Seq> {
        Ok(self.shared.newest())
    }

    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        self.ask(accounts::Secret { name: name.to_owned(), fresh }).await
    }

    async fn replace_secret(&self, name: &str, value: [u8; 32]) -> Result<()> {
        self.ask(accounts::ReplaceSecret { name: name.to_owned(), value }).await
    }

    async fn create_project(&self, project: Project) -> Result<()> {
        self.ask(accounts::CreateProject(project)).await
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        self.read(|conn, _| reads::accounts::projects(conn))
    }

    async fn set_min_isolation(&self, project: ProjectId, level: Level) -> Result<bool> {
        self.ask(accounts::SetMinIsolation(project, level)).await
    }

    async fn create_cluster(&self, cluster: Cluster) -> Result<bool> {
        self.ask(accounts::CreateCluster(cluster)).await
    }

    async fn clusters(&self) -> Result<Vec<Cluster>> {
        self.read(|conn, _| reads::accounts::clusters(conn))
    }

    async fn change_cluster(&self, cluster: Cluster) -> Result<bool> {
        self.ask(accounts::ChangeCluster(cluster)).await
    }

    async fn delete_cluster(&self, id: ClusterId) -> Result<bool> {
        self.ask(accounts::DeleteCluster(id)).await
    }

    async fn set_registry(&self, project: ProjectId, registry: &str, login: Option<Sealed>) -> Result<bool> {
        self.ask(accounts::SetRegistry(project, registry.to_owned(), login)).await
    }

    async fn create_token(&self, token: TokenRecord) -> Result<()> {
        self.ask(accounts::CreateToken(token)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        self.read(|conn, _| reads::accounts::tokens(conn))
    }

    async fn revoke_token(&self, id: TokenId) -> Result<bool> {
        self.ask(accounts::RevokeToken(id)).await
    }

    async fn note_tokens_used(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<()> {
        self.ask(accounts::NoteTokensUsed(uses)).await
    }

    async fn upload(&self, upload: Upload) -> Result<Code> {
        self.ask(codes::UploadCode(upload)).await
    }

    async fn code(&self, id: CodeId) -> Result<Option<Code>> {
        Ok(self.shared.view().catalog.code(id).map(|code| (**code).clone()))
    }

    async fn code_named(&self, project: ProjectId, name: &str) -> Result<Option<Arc<Code>>> {
        let view = self.shared.view();
        let named = view.catalog.named(project, name);
        Ok(named.map(|number| view.catalog.packages()[number].clone()))
    }

    async fn codes(&self, project: ProjectId, page: Page) -> Result<Vec<Code>> {
        let view = self.shared.view();
        let alive = view.catalog.packages().iter();
        let mut codes: Vec<&Arc<Code>> =
            alive.filter(|c| c.project == project && c.deleted_at.is_none()).collect();
        codes.sort_by_key(|code| std::cmp::Reverse((code.updated_at, code.id)));
        Ok(codes.into_iter().skip(page.skip).take(page.limit).map(|code| (**code).clone()).collect())
    }

    async fn revision(&self, code: CodeId, rev: u32) -> Result<Option<Revision>> {
        let view = self.shared.view();
        let Some(package) = view.catalog.number(code) else { return Ok(None) };
        let latest = &view.catalog.packages()[package].latest;
        if latest.rev == rev {
            return Ok(Some(latest.clone()));
        }
        self.read(|conn, _| reads::codes::revision(conn, package, rev))
    }

    async fn revisions(&self, code: CodeId, page: Page) -> Result<Vec<Revision>> {
        let Some(package) = self.package(code) else { return Ok(Vec::new()) };
        self.read(|conn, _| reads::codes::revisions(conn, package, page))
    }

    async fn set_paused(&self, code: CodeId, paused: bool, now: Timestamp) -> Result<Option<bool>> {
        self.ask(codes::SetPaused { code, paused, now }).await
    }

    async fn delete_code(&self, code: CodeId, now: Timestamp) -> Result<bool> {
        loop {
            match self.ask(codes::DeleteCode { code, now }).await? {
                Deletion::Unknown => return Ok(false),
                Deletion::Done => return Ok(true),
                Deletion::GoesOn => {}
            }
        }
    }

    async fn enqueue(&self, tasks: Vec<NewTask>) -> Result<()> {
        self.ask(enqueue::Enqueue(tasks)).await
    }

    async fn enqueue_once(&self, project: ProjectId, key: &OnceKey, tasks: Vec<NewTask>) -> Result<Once> {
        self.ask(enqueue::EnqueueOnce { project, key: key.clone(), tasks }).await
    }

    async fn promote(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        loop {
            let (is_all, next) = self.ask(enqueue::Promote(now)).await?;
            if is_all {
                return Ok(next);
            }
        }
    }

    async fn claim(&self, claiming: Claiming, now: Timestamp) -> Result<Vec<Claimed>> {
        self.ask(claim::Claim(claiming, now)).await
    }

    async fn leased(&self, attempts: &[Held]) -> Result<Vec<Option<Leased>>> {
        let running = self.shared.running.read();
        let leased = |held: &Held| {
            let run = running.get(&held.task.seq().0).filter(|run| run.is(*held))?;
            Some(Leased { trial: run.trial(), policy: run.policy, attempt: run.state.attempts })
        };
        Ok(attempts.iter().map(leased).collect())
    }

    async fn append_logs(&self, logs: Vec<AttemptLog>) -> Result<Vec<Held>> {
        self.ask(progress::AppendLogs(logs)).await
    }

    async fn progress(
        &self,
        task: TaskId,
        percent: Option<u8>,
        msg: Option<String>,
        now: Timestamp,
    ) -> Result<bool> {
        self.ask(progress::Progress { task, percent, msg, now }).await
    }

    async fn finish_if_leased(&self, finishes: Vec<Finish>, now: Timestamp) -> Result<Vec<Finished>> {
        self.ask(finish::FinishIfLeased(finishes, now)).await
    }

    async fn cancel_unless_final(&self, tasks: &[TaskId], now: Timestamp) -> Result<Vec<Cancelled>> {
        self.ask(cancel::CancelUnlessFinal(tasks.to_vec(), now)).await
    }

    async fn register_runner(&self, runner: RunnerRecord, lease_until: Timestamp) -> Result<()> {
        self.ask(sessions::Register(runner, lease_until)).await
    }

    async fn heartbeat(
        &self,
        runner: RunnerId,
        holds: &[Held],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Pulse> {
        self.ask(sessions::Heartbeat { runner, holds: holds.to_vec(), now, lease_until }).await
    }

    async fn release(&self, runner: RunnerId, holds: &[Held], leave: bool, now: Timestamp) -> Result<()> {
        self.ask(sessions::Release { runner, holds: holds.to_vec(), leave, now }).await
    }

    async fn rescue(&self, now: Timestamp) -> Result<Rescued> {
        self.ask(sessions::Rescue(now)).await
    }

    async fn set_draining(&self, runner: RunnerId, draining: bool) -> Result<bool> {
        self.ask(sessions::SetDraining(runner, draining)).await
    }

    async fn runners(&self) -> Result<Vec<(RunnerRecord, u32)>> {
        self.ask(sessions::ListSessions).await
    }

    async fn create_schedules(&self, schedules: Vec<Schedule>, limit: usize) -> Result<()> {
        self.ask(schedules::CreateSchedules(schedules, limit)).await
    }

    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>> {
        self.read(|conn, _| reads::schedules::schedule(conn, id))
    }

    async fn schedules(&self, project: ProjectId, page: Page) -> Result<Vec<Schedule>> {
        self.read(|conn, _| reads::schedules::schedules(conn, project, page))
    }

    async fn replace_schedule_if_unchanged(&self, before: &Schedule, after: Schedule) -> Result<bool> {
        self.ask(schedules::ReplaceIfUnchanged { before: before.clone(), after }).await
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Schedule>, Option<Timestamp>)> {
        self.read_at_length(move |conn, _| reads::schedules::due(conn, now, limit)).await
    }

    async fn fire_if_due(&self, firings: Vec<Firing>, now: Timestamp) -> Result<Vec<bool>> {
        self.ask(schedules::FireIfDue(firings, now)).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>> {
        let task = self.read(|conn, view| reads::task::task(conn, view, id.seq()))?;
        Ok(task.filter(|task| task.new.id == id))
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<Task>> {
        let query = query.clone();
        self.read_at_length(move |conn, view| reads::list::tasks(conn, view, &query)).await
    }

    async fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>> {
        self.read(|conn, view| match view.partitions.get(&Partition::of(task)) {
            Some(tables) if reads::task::has_tag(conn, tables, task)? => {
                reads::task::attempts(conn, tables, task.seq(), None)
            }
            _ => Ok(Vec::new()),
        })
    }

    async fn log(&self, task: TaskId, attempt: Option<u32>, after: u32) -> Result<Option<LogPart>> {
        self.read(|conn, view| reads::log::log(conn, view, task, attempt, after))
    }

    async fn result(&self, task: TaskId) -> Result<Option<Stored>> {
        self.read(|conn, view| match view.partitions.get(&Partition::of(task)) {
            Some(tables) if reads::task::has_tag(conn, tables, task)? => {
                reads::task::result(conn, tables, task.seq())
            }
            _ => Ok(None),
        })
    }

    async fn counts(&self, project: Option<ProjectId>) -> Result<Vec<LaneCounts>> {
        let view = self.shared.view();
        let counters = self.shared.counters.read();
        let mut lanes = Vec::new();
        for (number, lane) in view.catalog.lanes().iter().enumerate() {
            if project.is_some_and(|project| lane.project != project) {
                continue;
            }
            let mut counts = Counts::default();
            for (status, n) in Status::ALL.into_iter().zip(counters.of_lane(number)) {
                counts.add(status, n.unsigned_abs());
            }
            if counts.total() > 0 {
                lanes.push(LaneCounts { code: lane.code, cluster: lane.cluster.to_string(), counts });
            }
        }
        lanes.sort_by(|a, b| (a.code, &a.cluster).cmp(&(b.code, &b.cluster)));
        Ok(lanes)
    }

    async fn ended_between(&self, code: CodeId, from: Timestamp, to: Timestamp) -> Result<Counts> {
        let Some(package) = self.package(code) else { return Ok(Counts::default()) };
        self.read(|conn, _| reads::usage::ended_between(conn, package, from, to))
    }

    async fn rollups(
        &self,
        project: ProjectId,
        code: Option<CodeId>,
        from: Timestamp,
        to: Timestamp,
        grain: Grain,
    ) -> Result<Vec<(CodeId, Timestamp, Rollup)>> {
        self.read_at_length(move |conn, view| {
            let packages =
                view.catalog.packages_of(project).filter(|(_, id)| code.is_none_or(|code| code == *id));
            let mut packages: Vec<_> = packages.collect();
            packages.sort_unstable_by_key(|(_, id)| *id);
            reads::usage::rollups(conn, &packages, from, to, grain)
        })
        .await
    }

    async fn newest_of(&self, project: ProjectId, codes: &[CodeId]) -> Result<Vec<Option<Task>>> {
        let of_code = |code: &CodeId| TaskQuery { code: Some(*code), ..TaskQuery::of(project, 1) };
        let queries: Vec<TaskQuery> = codes.iter().map(of_code).collect();
        self.read_at_length(move |conn, view| {
            queries.iter().map(|q| Ok(reads::list::tasks(conn, view, q)?.pop())).collect()
        })
        .await
    }

    async fn usage(
        &self,
        project: ProjectId,
        from: Timestamp,
        to: Timestamp,
        by: UsageBy,
    ) -> Result<Vec<(UsageOf, ComputeTime)>> {
        self.read_at_length(move |conn, view| reads::usage::usage(conn, view, project, from, to, by)).await
    }

    async fn ahead_of(&self, task: TaskId, limit: usize) -> Result<Option<usize>> {
        let shared = self.shared.clone();
        self.read_at_length(move |conn, view| {
            let may_start = |package: usize| {
                let code = &view.catalog.packages()[package];
                let lanes = view.catalog.lanes_of(package);
                let counters = shared.counters.read();
                let running: i64 = lanes.iter().map(|&lane| counters.get(lane, Status::Running)).sum();
                !code.is_paused && code.max_concurrency.is_none_or(|max| running < i64::from(max))
            };
            reads::queue::ahead_of(conn, view, task, limit, may_start)
        })
        .await
    }

    async fn claimable(&self, cluster: &str, limit: usize) -> Result<usize> {
        let (shared, cluster) = (self.shared.clone(), cluster.to_owned());
        self.read_at_length(move |conn, view| {
            let room = |package: usize| {
                let code = &view.catalog.packages()[package];
                let lanes = view.catalog.lanes_of(package);
                let counters = shared.counters.read();
                let running: i64 = lanes.iter().map(|&lane| counters.get(lane, Status::Running)).sum();
                match code.max_concurrency {
                    _ if code.is_paused => 0,
                    None => usize::MAX,
                    Some(max) => usize::try_from(i64::from(max) - running).unwrap_or(0),
                }
            };
            reads::queue::claimable(conn, view, &cluster, limit, room)
        })
        .await
    }

    async fn oldest_ready(&self, project: Option<ProjectId>) -> Result<Option<Timestamp>> {
        let counters = self.shared.counters.read().clone();
        self.read(|conn, view| reads::queue::oldest_ready(conn, view, &counters, project))
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned> {
        let mut tasks = 0;
        while let Some(dropped) = self.ask(prune::PruneOne(retention, now)).await? {
            tasks += dropped;
        }
        Ok(Pruned { tasks, kept: self.shared.view().partitions.keys().copied().collect() })
    }

    async fn check(&self) -> Result<()> {
        let was_bad = self.shared.health.is_bad();
        if was_bad {
            let dir = self.dir.clone();
            let room = tokio::task::spawn_blocking(move || health::has_room(&dir)).await;
            room.map_err(|e| StoreError::Unavailable(e.to_string()))??;
        }
        self.ask(prune::Check { must_grow: was_bad }).await
    }

    async fn close(&self) {
        if let Some(queue) = &self.queue {
            self.is_closed.store(true, Ordering::Release);
            self.readers.close();
            writer::close(queue).await;
        }
    }
}
