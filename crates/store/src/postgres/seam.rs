//! Every operation of the seam: grouped with others of its kind, done in a transaction of its own, or read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use windlass_model::cluster::Cluster;
use windlass_model::code::{Code, Revision, Upload};
use windlass_model::id::{ClusterId, CodeId, ProjectId, RunnerId, ScheduleId, Seq, TaskId, TokenId};
use windlass_model::isolation::Level;
use windlass_model::project::{Project, TokenRecord};
use windlass_model::runner::{AttemptLog, Held, RunnerRecord};
use windlass_model::schedule::Schedule;
use windlass_model::secret::Sealed;
use windlass_model::task::{Attempt, NewTask, Stored, Task};
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain, UsageBy, minute};
use windlass_model::wire::Page;

use super::connect::{Address, Connections};
use super::group::Group;
use super::ops::codes::Deletion;
use super::ops::{
    accounts, cancel, claim, codes, enqueue, finish, import, lead, progress, prune, schedules, sessions,
};
use super::param::params;
use super::schema::{self, Standing};
use super::state::{Operation, State, Term};
use super::{poll, reads, rows};
use crate::error::StoreError;
use crate::moving::{self, Import, Mark, Record};
use crate::signals::Signals;
use crate::store::{Result, Store};
use crate::types::{
    Cancelled, Claimed, Claiming, Counts, Finish, Finished, Firing, LaneCounts, Lead, Leased, LogPart, Once,
    OnceKey, Pruned, Pulse, Rescued, Retention, TaskQuery,
};
use crate::usage::{Rollup, UsageOf};

/// The writers of a process: no two add to the same rows.
mod writer {
    pub(super) const ANY: i16 = 0;
    pub(super) const ENQUEUE: [i16; 2] = [1, 2];
    pub(super) const FINISH: [i16; 2] = [3, 4];
    pub(super) const CLAIM: [i16; 1] = [5];
    pub(super) const UPKEEP: i16 = 6;
    pub(super) const NO_SUMS: [i16; 1] = [7];
}

/// The store of many machines. Any number of processes may have the same database open.
#[derive(Debug)]
pub struct Postgres {
    state: Arc<State>,
    enqueues: Group<enqueue::Enqueue>,
    claims: Group<claim::Claim>,
    finishes: Group<finish::FinishIfLeased>,
    logs: Group<progress::AppendLogs>,
    heartbeats: Group<sessions::Heartbeat>,
    is_closed: AtomicBool,
}

impl Postgres {
    /// Connects, and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached, or its schema is newer than this version can use.
    pub async fn open(address: &Address) -> Result<Self> {
        let store = Self::open_to_import(address).await?;
        match Import::standing(&store).await? {
            moving::Standing::Partial(_) => Err(StoreError::Unavailable(
                "another store is being moved into it: `windlass migrate-store` goes on where it was"
                    .to_owned(),
            )),
            moving::Standing::Empty | moving::Standing::InUse => Ok(store),
        }
    }

    /// The same of a store that another one is to be moved into, or was in part.
    ///
    /// # Errors
    /// As [`Postgres::open`].
    pub async fn open_to_import(address: &Address) -> Result<Self> {
        let connections = Connections::new(address)?;
        schema::migrate(&connections).await?;
        let state = Arc::new(State::load(connections).await?);
        poll::start(&state);
        Ok(Self {
            enqueues: Group::start(&state, &writer::ENQUEUE),
            claims: Group::start(&state, &writer::CLAIM),
            finishes: Group::start(&state, &writer::FINISH),
            logs: Group::start(&state, &writer::NO_SUMS),
            heartbeats: Group::start(&state, &writer::NO_SUMS),
            state,
            is_closed: AtomicBool::new(false),
        })
    }

    /// How the schema of the database stands to this binary. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached.
    pub async fn standing(address: &Address) -> Result<Standing> {
        Ok(schema::standing(&Connections::new(address)?).await?)
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// As [`Postgres::open`].
    pub async fn migrate(address: &Address) -> Result<()> {
        Ok(schema::migrate(&Connections::new(address)?).await?)
    }

    /// What all operations share, while it is open.
    fn open_state(&self) -> Result<&Arc<State>> {
        match self.is_closed.load(Ordering::Acquire) {
            false => Ok(&self.state),
            true => Err(StoreError::Unavailable("it is closed".to_owned())),
        }
    }

    /// Does it, also when the caller loses interest half way: who waits for what it did must be told of it.
    async fn run<O: Operation<Answer: 'static> + Send + 'static>(&self, operation: O) -> Result<O::Answer> {
        self.run_as(operation, writer::ANY).await
    }

    async fn run_as<O: Operation<Answer: 'static> + Send + 'static>(
        &self,
        operation: O,
        writer: i16,
    ) -> Result<O::Answer> {
        let state = self.open_state()?.clone();
        let done = tokio::spawn(async move { state.write(&operation, writer).await }).await;
        Ok(done.map_err(|e| StoreError::Unavailable(format!("a write ended: {e}")))??)
    }
}

#[async_trait]
impl Store for Postgres {
    fn signals(&self) -> &Arc<Signals> {
        &self.state.signals
    }

    fn node(&self) -> Option<u8> {
        Some(self.state.node())
    }

    async fn lead(&self, lease: Duration, url: Option<&str>) -> Result<Lead> {
        let lead = self.run(lead::Leads { lease, url: url.map(str::to_owned) }).await?;
        self.state.set_term(Term(if lead.is_ours { lead.term } else { 0 }));
        Ok(lead)
    }

    async fn newest_seq(&self) -> Result<Seq> {
        Ok(reads::accounts::newest_seq(self.open_state()?).await?)
    }

    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        self.run(accounts::Secret { name: name.to_owned(), fresh }).await
    }

    async fn replace_secret(&self, name: &str, value: [u8; 32]) -> Result<()> {
        self.run(accounts::ReplaceSecret { name: name.to_owned(), value }).await
    }

    async fn create_project(&self, project: Project) -> Result<()> {
        self.run(accounts::CreateProject(project)).await
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        Ok(reads::accounts::projects(self.open_state()?).await?)
    }

    async fn set_registry(&self, project: ProjectId, registry: &str, login: Option<Sealed>) -> Result<bool> {
        self.run(codes::SetRegistry(project, registry.to_owned(), login)).await
    }

    async fn set_min_isolation(&self, project: ProjectId, level: Level) -> Result<bool> {
        let Some(codes) = self.run(codes::SetMinIsolation(project, level)).await? else { return Ok(false) };
        self.state.refresh().await?;
        for code in codes {
            codes::settle(&self.state, code, writer::UPKEEP).await?;
        }
        Ok(true)
    }

    async fn create_cluster(&self, cluster: Cluster) -> Result<bool> {
        self.run(accounts::CreateCluster(cluster)).await
    }

    async fn clusters(&self) -> Result<Vec<Cluster>> {
        Ok(reads::accounts::clusters(self.open_state()?).await?)
    }

    async fn change_cluster(&self, cluster: Cluster) -> Result<bool> {
        self.run(accounts::ChangeCluster(cluster)).await
    }

    async fn delete_cluster(&self, id: ClusterId) -> Result<bool> {
        self.run(accounts::DeleteCluster(id)).await
    }

    async fn create_token(&self, token: TokenRecord) -> Result<()> {
        self.run(accounts::CreateToken(token)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        Ok(reads::accounts::tokens(self.open_state()?).await?)
    }

    async fn revoke_token(&self, id: TokenId) -> Result<bool> {
        self.run(accounts::RevokeToken(id)).await
    }

    async fn note_tokens_used(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<()> {
        self.run(accounts::NoteTokensUsed(uses)).await
    }

    async fn upload(&self, upload: Upload) -> Result<Code> {
        let code = self.run(codes::UploadCode(upload)).await?;
        self.state.refresh().await?;
        codes::settle(&self.state, code.id, writer::UPKEEP).await?;
        Ok(code)
    }

    async fn code(&self, id: CodeId) -> Result<Option<Code>> {
        Ok(self.open_state()?.code(id).await?.map(|code| (*code).clone()))
    }

    async fn code_named(&self, project: ProjectId, name: &str) -> Result<Option<Arc<Code>>> {
        let state = self.open_state()?;
        if let Some(code) = state.catalog().await?.named(project, name) {
            return Ok(Some(code.clone()));
        }
        state.refresh().await?;
        Ok(state.known().named(project, name).cloned())
    }

    async fn codes(&self, project: ProjectId, page: Page) -> Result<Vec<Code>> {
        let state = self.open_state()?;
        state.refresh().await?;
        let catalog = state.known();
        let of_project = catalog.packages_of(project).map(|(_, code)| code);
        let mut codes: Vec<&Arc<Code>> = of_project.filter(|code| code.deleted_at.is_none()).collect();
        codes.sort_by_key(|code| std::cmp::Reverse((code.updated_at, code.id)));
        Ok(codes.into_iter().skip(page.skip).take(page.limit).map(|code| (**code).clone()).collect())
    }

    async fn revision(&self, code: CodeId, rev: u32) -> Result<Option<Revision>> {
        let state = self.open_state()?;
        let Some(known) = state.code(code).await? else { return Ok(None) };
        if known.latest.rev == rev {
            return Ok(Some(known.latest.clone()));
        }
        let Some(number) = state.known().number(code) else { return Ok(None) };
        Ok(state.revision(number, rev).await?.map(Arc::unwrap_or_clone))
    }

    async fn revisions(&self, code: CodeId, page: Page) -> Result<Vec<Revision>> {
        let state = self.open_state()?;
        state.code(code).await?;
        let Some(number) = state.known().number(code) else { return Ok(Vec::new()) };
        Ok(reads::codes::revisions(state, number, page).await?)
    }

    async fn set_paused(&self, code: CodeId, paused: bool, now: Timestamp) -> Result<Option<bool>> {
        let changed = self.run(codes::SetPaused { code, paused, now }).await?;
        self.state.refresh().await?;
        codes::settle(&self.state, code, writer::UPKEEP).await?;
        Ok(changed)
    }

    async fn delete_code(&self, code: CodeId, now: Timestamp) -> Result<bool> {
        loop {
            match self.run(codes::DeleteCode { code, now }).await? {
                Deletion::Unknown => return Ok(false),
                Deletion::Done => break,
                Deletion::GoesOn => {}
            }
        }
        self.state.refresh().await?;
        Ok(true)
    }

    async fn enqueue(&self, tasks: Vec<NewTask>) -> Result<()> {
        self.enqueues.ask(enqueue::Enqueue(tasks)).await
    }

    async fn enqueue_once(&self, project: ProjectId, key: &OnceKey, tasks: Vec<NewTask>) -> Result<Once> {
        self.run(enqueue::EnqueueOnce { project, key: key.clone(), tasks }).await
    }

    async fn promote(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        loop {
            let (is_all, next) = self.run_as(enqueue::Promote(now), writer::UPKEEP).await?;
            if is_all {
                return Ok(next);
            }
        }
    }

    async fn claim(&self, claiming: Claiming, now: Timestamp) -> Result<Vec<Claimed>> {
        let mut taken = self.claims.ask(claim::Claim(claiming.clone(), now)).await?;
        while !taken.strays.is_empty() && taken.claimed.len() < claiming.want {
            claim::clear(&self.state, &taken.strays, writer::UPKEEP).await?;
            let rest = Claiming { want: claiming.want - taken.claimed.len(), ..claiming.clone() };
            let more = self.claims.ask(claim::Claim(rest, now)).await?;
            taken.claimed.extend(more.claimed);
            taken.strays = more.strays;
        }
        Ok(taken.claimed)
    }

    async fn leased(&self, attempts: &[Held]) -> Result<Vec<Option<Leased>>> {
        let state = self.open_state()?;
        if attempts.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT {} FROM running r WHERE r.seq = ANY($1)", rows::RUN);
        let seqs: Vec<i64> = attempts.iter().map(|held| held.task.seq().0).collect();
        let found = state.read(&sql, params![seqs]).await?;
        let runs = found.iter().map(rows::run).collect::<std::result::Result<Vec<_>, _>>()?;
        let leased = |held: &Held| {
            let run = runs.iter().find(|run| run.is(*held))?;
            Some(Leased { trial: run.trial(), policy: run.policy, attempt: run.state.attempts })
        };
        Ok(attempts.iter().map(leased).collect())
    }

    async fn append_logs(&self, logs: Vec<AttemptLog>) -> Result<Vec<Held>> {
        self.logs.ask(progress::AppendLogs(logs)).await
    }

    async fn progress(
        &self,
        task: TaskId,
        percent: Option<u8>,
        msg: Option<String>,
        now: Timestamp,
    ) -> Result<bool> {
        self.run(progress::Progress { task, percent, msg, now }).await
    }

    async fn finish_if_leased(&self, finishes: Vec<Finish>, now: Timestamp) -> Result<Vec<Finished>> {
        self.finishes.ask(finish::FinishIfLeased(finishes, now)).await
    }

    async fn cancel_unless_final(&self, tasks: &[TaskId], now: Timestamp) -> Result<Vec<Cancelled>> {
        self.run(cancel::CancelUnlessFinal(tasks.to_vec(), now)).await
    }

    async fn register_runner(&self, runner: RunnerRecord, lease_until: Timestamp) -> Result<()> {
        self.run(sessions::Register(runner, lease_until)).await
    }

    async fn heartbeat(
        &self,
        runner: RunnerId,
        holds: &[Held],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Pulse> {
        self.heartbeats.ask(sessions::Heartbeat { runner, holds: holds.to_vec(), now, lease_until }).await
    }

    async fn release(&self, runner: RunnerId, holds: &[Held], leave: bool, now: Timestamp) -> Result<()> {
        self.run(sessions::Release { runner, holds: holds.to_vec(), leave, now }).await
    }

    async fn rescue(&self, now: Timestamp) -> Result<Rescued> {
        self.run(sessions::Rescue(now)).await
    }

    async fn set_draining(&self, runner: RunnerId, draining: bool) -> Result<bool> {
        self.run(sessions::SetDraining(runner, draining)).await
    }

    async fn runners(&self) -> Result<Vec<(RunnerRecord, u32)>> {
        Ok(reads::runners::runners(self.open_state()?).await?)
    }

    async fn create_schedules(&self, schedules: Vec<Schedule>, limit: usize) -> Result<()> {
        self.run(schedules::CreateSchedules(schedules, limit)).await
    }

    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>> {
        Ok(reads::schedules::schedule(self.open_state()?, id).await?)
    }

    async fn schedules(&self, project: ProjectId, page: Page) -> Result<Vec<Schedule>> {
        Ok(reads::schedules::schedules(self.open_state()?, project, page).await?)
    }

    async fn replace_schedule_if_unchanged(&self, before: &Schedule, after: Schedule) -> Result<bool> {
        self.run(schedules::ReplaceIfUnchanged { before: before.clone(), after }).await
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Schedule>, Option<Timestamp>)> {
        Ok(reads::schedules::due(self.open_state()?, now, limit).await?)
    }

    async fn fire_if_due(&self, firings: Vec<Firing>, now: Timestamp) -> Result<Vec<bool>> {
        self.run(schedules::FireIfDue(firings, now)).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>> {
        Ok(reads::task::task(self.open_state()?, id).await?)
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<Task>> {
        Ok(reads::list::tasks(self.open_state()?, query).await?)
    }

    async fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>> {
        let state = self.open_state()?;
        let Some(tables) = reads::task::there(state, task).await? else { return Ok(Vec::new()) };
        Ok(reads::task::attempts(state, &tables, task, None).await?)
    }

    async fn log(&self, task: TaskId, attempt: Option<u32>, after: u32) -> Result<Option<LogPart>> {
        Ok(reads::log::log(self.open_state()?, task, attempt, after).await?)
    }

    async fn result(&self, task: TaskId) -> Result<Option<Stored>> {
        Ok(reads::task::result(self.open_state()?, task).await?)
    }

    async fn counts(&self, project: Option<ProjectId>) -> Result<Vec<LaneCounts>> {
        Ok(reads::usage::counts(self.open_state()?, project).await?)
    }

    async fn ended_between(&self, code: CodeId, from: Timestamp, to: Timestamp) -> Result<Counts> {
        let state = self.open_state()?;
        state.code(code).await?;
        let Some(number) = state.known().number(code) else { return Ok(Counts::default()) };
        Ok(reads::usage::ended_between(state, number, minute(from), minute(to)).await?)
    }

    async fn rollups(
        &self,
        project: ProjectId,
        code: Option<CodeId>,
        from: Timestamp,
        to: Timestamp,
        grain: Grain,
    ) -> Result<Vec<(CodeId, Timestamp, Rollup)>> {
        let state = self.open_state()?;
        let catalog = state.catalog().await?;
        let of_project = catalog.packages_of(project);
        let wanted = of_project.filter(|(_, package)| code.is_none_or(|code| code == package.id));
        let packages = wanted.map(|(number, package)| (number, package.id)).collect();
        Ok(reads::usage::rollups(state, packages, from, to, grain).await?)
    }

    async fn usage(
        &self,
        project: ProjectId,
        from: Timestamp,
        to: Timestamp,
        by: UsageBy,
    ) -> Result<Vec<(UsageOf, ComputeTime)>> {
        Ok(reads::usage::usage(self.open_state()?, project, from, to, by).await?)
    }

    async fn ahead_of(&self, task: TaskId, limit: usize) -> Result<Option<usize>> {
        Ok(reads::queue::ahead_of(self.open_state()?, task, limit).await?)
    }

    async fn claimable(&self, cluster: &str, limit: usize) -> Result<usize> {
        Ok(reads::queue::claimable(self.open_state()?, cluster, limit).await?)
    }

    async fn oldest_ready(&self, project: Option<ProjectId>) -> Result<Option<Timestamp>> {
        Ok(reads::queue::oldest_ready(self.open_state()?, project).await?)
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned> {
        let state = self.open_state()?;
        let tasks = prune::drop_partitions(state, retention, now, writer::UPKEEP).await?;
        self.run_as(prune::PruneRest(retention, now), writer::UPKEEP).await?;
        state.forget_clusters();
        prune::make_ahead(state, now).await?;
        Ok(Pruned { tasks, kept: prune::kept(state).await? })
    }

    async fn check(&self) -> Result<()> {
        self.run(accounts::Check).await
    }

    async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.enqueues.close().await;
        self.claims.close().await;
        self.finishes.close().await;
        self.logs.close().await;
        self.heartbeats.close().await;
        // What is not given up runs out.
        if let Err(stop) = self.state.write(&lead::Leave(self.state.term()), writer::ANY).await {
            tracing::debug!(stop = ?stop, "the lead was not given up");
        }
        self.state.connections.close();
    }
}

#[async_trait]
impl Import for Postgres {
    async fn standing(&self) -> Result<moving::Standing> {
        self.run(import::Stands).await
    }

    async fn import(
        &self,
        records: Vec<Record>,
        from: Option<Mark>,
        to: Option<Mark>,
        now: Timestamp,
    ) -> Result<bool> {
        let is_last = to.is_none();
        if !self.run(import::Import { records, from, to, now }).await? {
            return Ok(false);
        }
        self.state.refresh().await?;
        if is_last {
            // Packages that have lanes of their own have no tasks in them yet.
            for code in self.state.known().with_own_lanes() {
                codes::settle(&self.state, code, writer::UPKEEP).await?;
            }
        }
        Ok(true)
    }
}
