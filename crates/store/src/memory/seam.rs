//! The lock around the model that makes it a [`Store`].

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
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
use windlass_model::usage::{ComputeTime, Grain, UsageBy};
use windlass_model::wire::Page;

use super::State;
use crate::moving::{Import, Mark, Record, Standing};
use crate::signals::Signals;
use crate::store::{Result, Store};
use crate::types::{
    Cancelled, Claimed, Claiming, Counts, Finish, Finished, Firing, LaneCounts, Leased, LogPart, Once,
    OnceKey, Pruned, Pulse, Rescued, Retention, TaskQuery,
};
use crate::usage::{Rollup, UsageOf};

/// The model as a [`Store`]. It forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    signals: Arc<Signals>,
}

#[async_trait]
impl Store for Memory {
    fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    async fn newest_seq(&self) -> Result<Seq> {
        Ok(self.state.lock().newest_seq())
    }

    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        Ok(self.state.lock().secret(name, fresh))
    }

    async fn replace_secret(&self, name: &str, value: [u8; 32]) -> Result<()> {
        self.state.lock().replace_secret(name, value);
        Ok(())
    }

    async fn create_project(&self, project: Project) -> Result<()> {
        self.state.lock().create_project(project);
        Ok(())
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        Ok(self.state.lock().projects())
    }

    async fn set_min_isolation(&self, project: ProjectId, level: Level) -> Result<bool> {
        Ok(self.state.lock().set_min_isolation(project, level, &self.signals))
    }

    async fn create_cluster(&self, cluster: Cluster) -> Result<bool> {
        Ok(self.state.lock().create_cluster(cluster))
    }

    async fn clusters(&self) -> Result<Vec<Cluster>> {
        Ok(self.state.lock().clusters())
    }

    async fn change_cluster(&self, cluster: Cluster) -> Result<bool> {
        Ok(self.state.lock().change_cluster(&cluster))
    }

    async fn delete_cluster(&self, id: ClusterId) -> Result<bool> {
        Ok(self.state.lock().delete_cluster(id))
    }

    async fn set_registry(&self, project: ProjectId, registry: &str, login: Option<Sealed>) -> Result<bool> {
        Ok(self.state.lock().set_registry(project, registry, login))
    }

    async fn create_token(&self, token: TokenRecord) -> Result<()> {
        self.state.lock().create_token(token);
        Ok(())
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        Ok(self.state.lock().tokens())
    }

    async fn revoke_token(&self, id: TokenId) -> Result<bool> {
        Ok(self.state.lock().revoke_token(id))
    }

    async fn note_tokens_used(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<()> {
        self.state.lock().note_tokens_used(&uses);
        Ok(())
    }

    async fn upload(&self, upload: Upload) -> Result<Code> {
        self.state.lock().upload(upload)
    }

    async fn code(&self, id: CodeId) -> Result<Option<Code>> {
        Ok(self.state.lock().code(id))
    }

    async fn code_named(&self, project: ProjectId, name: &str) -> Result<Option<Arc<Code>>> {
        Ok(self.state.lock().code_named(project, name).map(Arc::new))
    }

    async fn codes(&self, project: ProjectId, page: Page) -> Result<Vec<Code>> {
        Ok(self.state.lock().codes(project, page))
    }

    async fn revision(&self, code: CodeId, rev: u32) -> Result<Option<Revision>> {
        Ok(self.state.lock().revision(code, rev))
    }

    async fn revisions(&self, code: CodeId, page: Page) -> Result<Vec<Revision>> {
        Ok(self.state.lock().revisions(code, page))
    }

    async fn set_paused(&self, code: CodeId, paused: bool, now: Timestamp) -> Result<Option<bool>> {
        Ok(self.state.lock().set_paused(code, paused, now, &self.signals))
    }

    async fn delete_code(&self, code: CodeId, now: Timestamp) -> Result<bool> {
        Ok(self.state.lock().delete_code(code, now, &self.signals))
    }

    async fn enqueue(&self, tasks: Vec<NewTask>) -> Result<()> {
        self.state.lock().enqueue(tasks, &self.signals);
        Ok(())
    }

    async fn enqueue_once(&self, project: ProjectId, key: &OnceKey, tasks: Vec<NewTask>) -> Result<Once> {
        Ok(self.state.lock().enqueue_once(project, key, tasks, &self.signals))
    }

    async fn promote(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        Ok(self.state.lock().promote(now, &self.signals))
    }

    async fn claim(&self, claiming: Claiming, now: Timestamp) -> Result<Vec<Claimed>> {
        self.state.lock().claim(&claiming, now)
    }

    async fn leased(&self, attempts: &[Held]) -> Result<Vec<Option<Leased>>> {
        Ok(self.state.lock().leased(attempts))
    }

    async fn append_logs(&self, logs: Vec<AttemptLog>) -> Result<Vec<Held>> {
        Ok(self.state.lock().append_logs(logs, &self.signals))
    }

    async fn progress(
        &self,
        task: TaskId,
        percent: Option<u8>,
        msg: Option<String>,
        now: Timestamp,
    ) -> Result<bool> {
        Ok(self.state.lock().progress(task, percent, msg, now, &self.signals))
    }

    async fn finish_if_leased(&self, finishes: Vec<Finish>, now: Timestamp) -> Result<Vec<Finished>> {
        Ok(self.state.lock().finish_if_leased(finishes, now, &self.signals))
    }

    async fn cancel_unless_final(&self, tasks: &[TaskId], now: Timestamp) -> Result<Vec<Cancelled>> {
        Ok(self.state.lock().cancel_unless_final(tasks, now, &self.signals))
    }

    async fn register_runner(&self, runner: RunnerRecord, lease_until: Timestamp) -> Result<()> {
        self.state.lock().register_runner(runner, lease_until, &self.signals);
        Ok(())
    }

    async fn heartbeat(
        &self,
        runner: RunnerId,
        holds: &[Held],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Pulse> {
        self.state.lock().heartbeat(runner, holds, now, lease_until)
    }

    async fn release(&self, runner: RunnerId, holds: &[Held], leave: bool, now: Timestamp) -> Result<()> {
        self.state.lock().release(runner, holds, leave, now, &self.signals);
        Ok(())
    }

    async fn rescue(&self, now: Timestamp) -> Result<Rescued> {
        Ok(self.state.lock().rescue(now, &self.signals))
    }

    async fn set_draining(&self, runner: RunnerId, draining: bool) -> Result<bool> {
        Ok(self.state.lock().set_draining(runner, draining))
    }

    async fn runners(&self) -> Result<Vec<(RunnerRecord, u32)>> {
        Ok(self.state.lock().runners())
    }

    async fn create_schedules(&self, schedules: Vec<Schedule>, limit: usize) -> Result<()> {
        self.state.lock().create_schedules(schedules, limit, &self.signals)
    }

    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>> {
        Ok(self.state.lock().schedule(id))
    }

    async fn schedules(&self, project: ProjectId, page: Page) -> Result<Vec<Schedule>> {
        Ok(self.state.lock().schedules(project, page))
    }

    async fn replace_schedule_if_unchanged(&self, before: &Schedule, after: Schedule) -> Result<bool> {
        Ok(self.state.lock().replace_schedule_if_unchanged(before, after, &self.signals))
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Schedule>, Option<Timestamp>)> {
        Ok(self.state.lock().due_schedules(now, limit))
    }

    async fn fire_if_due(&self, firings: Vec<Firing>, now: Timestamp) -> Result<Vec<bool>> {
        Ok(self.state.lock().fire_if_due(firings, now, &self.signals))
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>> {
        Ok(self.state.lock().task(id))
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<Task>> {
        Ok(self.state.lock().tasks(query))
    }

    async fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>> {
        Ok(self.state.lock().attempts(task))
    }

    async fn log(&self, task: TaskId, attempt: Option<u32>, after: u32) -> Result<Option<LogPart>> {
        Ok(self.state.lock().log(task, attempt, after))
    }

    async fn result(&self, task: TaskId) -> Result<Option<Stored>> {
        Ok(self.state.lock().result(task))
    }

    async fn counts(&self, project: Option<ProjectId>) -> Result<Vec<LaneCounts>> {
        Ok(self.state.lock().counts(project))
    }

    async fn ended_between(&self, code: CodeId, from: Timestamp, to: Timestamp) -> Result<Counts> {
        Ok(self.state.lock().ended_between(code, from, to))
    }

    async fn rollups(
        &self,
        project: ProjectId,
        code: Option<CodeId>,
        from: Timestamp,
        to: Timestamp,
        grain: Grain,
    ) -> Result<Vec<(CodeId, Timestamp, Rollup)>> {
        Ok(self.state.lock().rollups(project, code, from, to, grain))
    }

    async fn usage(
        &self,
        project: ProjectId,
        from: Timestamp,
        to: Timestamp,
        by: UsageBy,
    ) -> Result<Vec<(UsageOf, ComputeTime)>> {
        Ok(self.state.lock().usage(project, from, to, by))
    }

    async fn ahead_of(&self, task: TaskId, limit: usize) -> Result<Option<usize>> {
        Ok(self.state.lock().ahead_of(task, limit))
    }

    async fn claimable(&self, cluster: &str, limit: usize) -> Result<usize> {
        Ok(self.state.lock().claimable(cluster, limit))
    }

    async fn oldest_ready(&self, project: Option<ProjectId>) -> Result<Option<Timestamp>> {
        Ok(self.state.lock().oldest_ready(project))
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned> {
        Ok(self.state.lock().prune(retention, now))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) {}
}

#[async_trait]
impl Import for Memory {
    async fn standing(&self) -> Result<Standing> {
        Ok(self.state.lock().standing())
    }

    async fn import(
        &self,
        records: Vec<Record>,
        from: Option<Mark>,
        to: Option<Mark>,
        now: Timestamp,
    ) -> Result<bool> {
        Ok(self.state.lock().import(records, from, to, now))
    }
}
