//! The model: every operation in its plainest form.

use std::collections::{BTreeMap, BTreeSet};

use windlass_model::cluster::Cluster;
use windlass_model::code::{Code, Revision, Upload, revise};
use windlass_model::exit::{Again, Outcome, Verdict};
use windlass_model::id::{
    ClusterId, CodeId, Id, ProjectId, RunnerId, ScheduleId, Seq, SeqClock, TaskId, TokenId,
};
use windlass_model::isolation::Level;
use windlass_model::lease::Fence;
use windlass_model::lifecycle::{CANCELLED_MSG, CODE_DELETED_MSG, GIVEN_BACK_MSG, LOST_MSG, Trial, conclude};
use windlass_model::log::{self, LogChunk};
use windlass_model::project::{Project, TokenRecord};
use windlass_model::runner::{AttemptLog, Held, RunnerRecord};
use windlass_model::schedule::Schedule;
use windlass_model::secret::Sealed;
use windlass_model::task::{Attempt, NewTask, Status, Stored, Task, TaskState};
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain, UsageBy};
use windlass_model::wire::Page;

use super::usage::Sums;
use crate::error::StoreError;
use crate::moving::{self, Attempted, Mark, Record, Standing};
use crate::signals::Signals;
use crate::store::Result;
use crate::types::{
    Cancelled, Claimed, Claiming, Counts, Finish, Finished, Firing, LaneCounts, Leased, LogBody, LogPart,
    Once, OnceKey, Partition, Pruned, Pulse, Rescued, Retention, TaskQuery,
};
use crate::usage::{Rollup, UsageOf};

/// Where a task's key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Delayed,
    Ready,
    Running(Fence),
    Done,
}

#[derive(Clone, Debug)]
struct Row {
    task: Task,
    place: Place,
    attempts: Vec<Attempt>,
    chunks: BTreeMap<u32, LogChunk>,
    result: Option<Stored>,
}

impl Row {
    fn rank(&self) -> (u8, Seq) {
        (2 - self.task.new.priority.get(), self.task.new.id.seq())
    }

    fn is_current(&self, held: Held) -> bool {
        self.task.new.id == held.task && self.place == Place::Running(held.fence)
    }
}

#[derive(Clone, Debug)]
struct Session {
    record: RunnerRecord,
    lease_until: Timestamp,
}

#[derive(Clone, Debug)]
struct UsedKey {
    used_at: Timestamp,
    asked: [u8; 32],
    ids: Vec<TaskId>,
}

/// Everything a store keeps.
#[derive(Clone, Debug, Default)]
pub struct State {
    secrets: BTreeMap<String, [u8; 32]>,
    projects: BTreeMap<ProjectId, Project>,
    tokens: BTreeMap<TokenId, TokenRecord>,
    clusters: BTreeMap<ClusterId, Cluster>,
    codes: BTreeMap<CodeId, Code>,
    revisions: BTreeMap<(CodeId, u32), Revision>,
    tasks: BTreeMap<Seq, Row>,
    schedules: BTreeMap<ScheduleId, Schedule>,
    sessions: BTreeMap<RunnerId, Session>,
    sums: Sums,
    fences: SeqClock,
    keys: BTreeMap<(ProjectId, String), UsedKey>,
    /// How far a move into it has come, while it goes on.
    moved: Option<Mark>,
}

impl State {
    pub(super) fn standing(&self) -> Standing {
        match self.moved {
            Some(mark) => Standing::Partial(mark),
            None if self.projects.is_empty() => Standing::Empty,
            None => Standing::InUse,
        }
    }

    pub(super) fn import(
        &mut self,
        records: Vec<Record>,
        from: Option<Mark>,
        to: Option<Mark>,
        now: Timestamp,
    ) -> bool {
        let stands = from.map_or(Standing::Empty, Standing::Partial);
        if self.standing() != stands {
            return false;
        }
        records.into_iter().for_each(|record| self.take(record, now));
        self.moved = to;
        true
    }

    fn take(&mut self, record: Record, now: Timestamp) {
        match record {
            Record::Secret(name, value) => self.replace_secret(&name, value),
            Record::Fences(fence) => self.fences = SeqClock::after(Seq(fence.0)),
            Record::Project(project) => self.create_project(project),
            Record::Token(token) => self.create_token(token),
            Record::Cluster(cluster) => drop(self.create_cluster(cluster)),
            Record::Code(code, revisions) => {
                self.revisions.extend(revisions.into_iter().map(|r| ((code.id, r.rev), r)));
                self.codes.insert(code.id, *code);
            }
            Record::Schedule(schedule) => {
                self.schedules.insert(schedule.id, *schedule);
            }
            Record::Key(moving::UsedKey { project, key, used_at, asked, ids }) => {
                self.keys.insert((project, key), UsedKey { used_at, asked, ids });
            }
            Record::Rollup(grain, code, step, rollup) => self.sums.put_step(grain, code, step, *rollup),
            Record::Day(code, day, schedule, used) => self.sums.put_day(code, day, schedule, used),
            Record::Task(moved) => {
                let Attempted { task, attempts, result } = *moved;
                let place = match task.state.status {
                    status if status.is_final() => Place::Done,
                    _ if task.state.run_at > now => Place::Delayed,
                    _ => Place::Ready,
                };
                let row = Row { place, attempts, chunks: BTreeMap::new(), result, task };
                self.tasks.insert(row.task.new.id.seq(), row);
            }
        }
    }

    pub(super) fn newest_seq(&self) -> Seq {
        let ids = self.projects.keys().map(|id| id.seq());
        let ids =
            ids.chain(self.tokens.keys().map(|id| id.seq())).chain(self.codes.keys().map(|id| id.seq()));
        let ids = ids.chain(self.revisions.values().map(|r| r.id.seq())).chain(self.tasks.keys().copied());
        let ids = ids
            .chain(self.schedules.keys().map(|id| id.seq()))
            .chain(self.clusters.keys().map(|id| id.seq()))
            .chain(self.sessions.keys().map(|id| id.seq()));
        ids.max().unwrap_or_default()
    }

    pub(super) fn secret(&mut self, name: &str, fresh: [u8; 32]) -> [u8; 32] {
        *self.secrets.entry(name.to_owned()).or_insert(fresh)
    }

    pub(super) fn replace_secret(&mut self, name: &str, value: [u8; 32]) {
        self.secrets.insert(name.to_owned(), value);
    }

    pub(super) fn create_project(&mut self, project: Project) {
        self.projects.insert(project.id, project);
    }

    pub(super) fn projects(&self) -> Vec<Project> {
        self.projects.values().cloned().collect()
    }

    pub(super) fn set_min_isolation(&mut self, project: ProjectId, level: Level, signals: &Signals) -> bool {
        let Some(project) = self.projects.get_mut(&project) else { return false };
        project.min_isolation = level;
        let id = project.id;
        for code in self.codes.values().filter(|c| c.project == id) {
            self.signal_ready(code.id, signals);
        }
        true
    }

    pub(super) fn set_registry(&mut self, project: ProjectId, registry: &str, login: Option<Sealed>) -> bool {
        let Some(project) = self.projects.get_mut(&project) else { return false };
        project.set_registry(registry, login);
        true
    }

    /// The weakest isolation that tasks of the package may run in.
    fn needs(&self, code: CodeId) -> Level {
        let project = self.codes.get(&code).and_then(|code| self.projects.get(&code.project));
        project.map(|project| project.min_isolation).unwrap_or_default()
    }

    pub(super) fn create_cluster(&mut self, cluster: Cluster) -> bool {
        let is_new = self.clusters.values().all(|other| other.name != cluster.name);
        if is_new {
            self.clusters.insert(cluster.id, cluster);
        }
        is_new
    }

    pub(super) fn clusters(&self) -> Vec<Cluster> {
        self.clusters.values().cloned().collect()
    }

    pub(super) fn change_cluster(&mut self, cluster: &Cluster) -> bool {
        let Some(kept) = self.clusters.get_mut(&cluster.id) else { return false };
        let name = std::mem::take(&mut kept.name);
        *kept = Cluster { name, ..cluster.clone() };
        true
    }

    pub(super) fn delete_cluster(&mut self, id: ClusterId) -> bool {
        self.clusters.remove(&id).is_some()
    }

    pub(super) fn create_token(&mut self, token: TokenRecord) {
        self.tokens.insert(token.id, token);
    }

    pub(super) fn tokens(&self) -> Vec<TokenRecord> {
        self.tokens.values().rev().cloned().collect()
    }

    pub(super) fn revoke_token(&mut self, id: TokenId) -> bool {
        self.tokens.remove(&id).is_some()
    }

    pub(super) fn note_tokens_used(&mut self, uses: &[(TokenId, Timestamp)]) {
        for (id, at) in uses {
            if let Some(token) = self.tokens.get_mut(id) {
                token.last_used_at = Some(*at);
            }
        }
    }

    pub(super) fn upload(&mut self, upload: Upload) -> Result<Code> {
        let previous = self.code_named(upload.project, &upload.order.name);
        let code = revise(previous.as_ref(), upload)?;
        self.revisions.insert((code.id, code.latest.rev), code.latest.clone());
        self.codes.insert(code.id, code.clone());
        Ok(code)
    }

    pub(super) fn code(&self, id: CodeId) -> Option<Code> {
        self.codes.get(&id).cloned()
    }

    pub(super) fn code_named(&self, project: ProjectId, name: &str) -> Option<Code> {
        let mut alive = self.codes.values().filter(|c| c.deleted_at.is_none());
        alive.find(|c| c.project == project && c.name == name).cloned()
    }

    pub(super) fn codes(&self, project: ProjectId, page: Page) -> Vec<Code> {
        let alive = self.codes.values().filter(|c| c.project == project && c.deleted_at.is_none());
        let mut codes: Vec<Code> = alive.cloned().collect();
        codes.sort_by_key(|c| std::cmp::Reverse((c.updated_at, c.id)));
        codes.into_iter().skip(page.skip).take(page.limit).collect()
    }

    pub(super) fn revision(&self, code: CodeId, rev: u32) -> Option<Revision> {
        self.revisions.get(&(code, rev)).cloned()
    }

    pub(super) fn revisions(&self, code: CodeId, page: Page) -> Vec<Revision> {
        let of_code = self.revisions.range((code, 0)..=(code, u32::MAX)).map(|(_, r)| r.clone());
        of_code.skip(page.skip).take(page.limit).collect()
    }

    pub(super) fn set_paused(
        &mut self,
        code: CodeId,
        paused: bool,
        now: Timestamp,
        signals: &Signals,
    ) -> Option<bool> {
        let code = self.codes.get_mut(&code).filter(|c| c.deleted_at.is_none())?;
        if code.is_paused == paused {
            return Some(false);
        }
        code.is_paused = paused;
        code.updated_at = now;
        let id = code.id;
        self.signal_ready(id, signals);
        Some(true)
    }

    pub(super) fn delete_code(&mut self, id: CodeId, now: Timestamp, signals: &Signals) -> bool {
        let Some(code) = self.codes.get_mut(&id).filter(|c| c.deleted_at.is_none()) else { return false };
        code.deleted_at = Some(now);
        code.updated_at = now;
        let waiting =
            self.tasks.values().filter(|r| r.task.new.code == id && r.task.state.status == Status::Queued);
        for task in waiting.map(|r| r.task.new.id.seq()).collect::<Vec<_>>() {
            self.end(task, Status::Cancelled, Some(CODE_DELETED_MSG.to_owned()), None, now, signals);
        }
        let alive = |s: &&mut Schedule| s.template.code == id && !s.state.status.is_over();
        for schedule in self.schedules.values_mut().filter(alive) {
            schedule.state = schedule.state.cancelled(CODE_DELETED_MSG);
            schedule.updated_at = now;
        }
        true
    }

    pub(super) fn enqueue(&mut self, tasks: Vec<NewTask>, signals: &Signals) {
        for new in tasks {
            let place = if new.run_at > new.created_at { Place::Delayed } else { Place::Ready };
            let (cluster, needs) = (new.cluster.clone(), self.needs(new.code));
            self.sums.queued(new.code, 1, new.created_at);
            let task = Task { state: TaskState::queued(&new), new };
            let seq = task.new.id.seq();
            let row = Row { task, place, attempts: Vec::new(), chunks: BTreeMap::new(), result: None };
            self.tasks.insert(seq, row);
            match place {
                Place::Delayed => signals.deadline_moved(),
                _ => signals.ready(&cluster, needs),
            }
        }
    }

    pub(super) fn enqueue_once(
        &mut self,
        project: ProjectId,
        key: &OnceKey,
        tasks: Vec<NewTask>,
        signals: &Signals,
    ) -> Once {
        let at = (project, key.key.clone());
        match self.keys.get(&at) {
            Some(known) if known.asked == key.asked => return Once::Before(known.ids.clone()),
            Some(_) => return Once::Other,
            None => {}
        }
        let ids = tasks.iter().map(|t| t.id).collect();
        let used_at = tasks.first().map(|t| t.created_at).unwrap_or_default();
        self.keys.insert(at, UsedKey { used_at, asked: key.asked, ids });
        self.enqueue(tasks, signals);
        Once::Queued
    }

    pub(super) fn promote(&mut self, now: Timestamp, signals: &Signals) -> Option<Timestamp> {
        let delayed = self.tasks.values_mut().filter(|r| r.place == Place::Delayed);
        let (mut next, mut ready) = (None, Vec::new());
        for row in delayed {
            let run_at = row.task.state.run_at;
            if run_at <= now {
                row.place = Place::Ready;
                ready.push((row.task.new.cluster.clone(), row.task.new.code));
            } else if next.is_none_or(|n| run_at < n) {
                next = Some(run_at);
            }
        }
        for (cluster, code) in ready {
            signals.ready(&cluster, self.needs(code));
        }
        next
    }

    pub(super) fn claim(&mut self, claiming: &Claiming, now: Timestamp) -> Result<Vec<Claimed>> {
        let runner = &self.session(claiming.runner)?.record;
        if runner.is_draining {
            return Ok(Vec::new());
        }
        let level = runner.about.isolation.at_least();
        let ready =
            self.tasks.values().filter(|r| r.place == Place::Ready && r.task.new.cluster == claiming.cluster);
        let order: BTreeSet<(u8, Seq)> = ready.map(Row::rank).collect();
        let mut claimed = Vec::new();
        for (_, seq) in order {
            if claimed.len() == claiming.want {
                break;
            }
            let code = self.tasks[&seq].task.new.code;
            if !self.has_room(code) || self.needs(code) > level {
                continue;
            }
            let fence = Fence(self.fences.next(now).0);
            let Some(row) = self.tasks.get_mut(&seq) else { continue };
            row.place = Place::Running(fence);
            let state = &mut row.task.state;
            state.status = Status::Running;
            state.attempts += 1;
            state.started_at = Some(now);
            state.updated_at = now;
            state.percent = 0;
            state.msg = String::new();
            state.runner = Some(claiming.runner);
            let task = row.task.new.clone();
            let attempt = row.task.state.attempts;
            self.sums.queued(code, -1, now);
            let revision = self.revision(code, task.rev);
            let revision =
                revision.ok_or_else(|| StoreError::Damaged("a task without its revision".to_owned()))?;
            claimed.push(Claimed {
                code_name: self.codes[&code].name.clone(),
                task,
                fence,
                attempt,
                revision,
            });
        }
        Ok(claimed)
    }

    fn has_room(&self, code: CodeId) -> bool {
        self.room(code) > 0
    }

    /// How many more tasks of the package may run.
    fn room(&self, code: CodeId) -> usize {
        let code = &self.codes[&code];
        let running = |r: &&Row| r.task.new.code == code.id && matches!(r.place, Place::Running(_));
        let running = self.tasks.values().filter(running).count();
        match code.max_concurrency {
            _ if code.is_paused => 0,
            None => usize::MAX,
            Some(max) => (max as usize).saturating_sub(running),
        }
    }

    fn session(&mut self, runner: RunnerId) -> Result<&mut Session> {
        let session = self.sessions.get_mut(&runner).filter(|s| s.record.gone_at.is_none());
        session.ok_or(StoreError::SessionOver)
    }

    pub(super) fn leased(&self, attempts: &[Held]) -> Vec<Option<Leased>> {
        let leased = |held: &Held| {
            let row = self.tasks.get(&held.task.seq()).filter(|r| r.is_current(*held))?;
            Some(Leased { trial: trial(row), policy: row.task.new.retry, attempt: row.task.state.attempts })
        };
        attempts.iter().map(leased).collect()
    }

    pub(super) fn append_logs(&mut self, logs: Vec<AttemptLog>, signals: &Signals) -> Vec<Held> {
        let mut lost = Vec::new();
        for AttemptLog { held, chunks } in logs {
            let Some(row) = self.tasks.get_mut(&held.task.seq()).filter(|r| r.is_current(held)) else {
                lost.push(held);
                continue;
            };
            for chunk in chunks {
                row.chunks.entry(chunk.n).or_insert(chunk);
            }
            signals.task_changed(held.task);
        }
        lost
    }

    pub(super) fn progress(
        &mut self,
        task: TaskId,
        percent: Option<u8>,
        msg: Option<String>,
        now: Timestamp,
        signals: &Signals,
    ) -> bool {
        let row = self.tasks.get_mut(&task.seq()).filter(|r| r.task.new.id == task);
        let Some(row) = row.filter(|r| r.place != Place::Done) else { return false };
        let state = &mut row.task.state;
        state.percent = percent.unwrap_or(state.percent);
        state.msg = msg.unwrap_or_else(|| std::mem::take(&mut state.msg));
        state.updated_at = now;
        signals.task_changed(task);
        true
    }

    pub(super) fn finish_if_leased(
        &mut self,
        finishes: Vec<Finish>,
        now: Timestamp,
        signals: &Signals,
    ) -> Vec<Finished> {
        finishes.into_iter().map(|finish| self.finish(finish, now, signals)).collect()
    }

    fn finish(&mut self, finish: Finish, now: Timestamp, signals: &Signals) -> Finished {
        let seq = finish.held.task.seq();
        let Some(row) = self.tasks.get_mut(&seq).filter(|r| r.is_current(finish.held)) else {
            return Finished::LeaseLost;
        };
        self.sums.attempt_ended(&row.task, finish.usage, now);
        row.chunks.clear();
        row.result = finish.result.or(row.result.take());
        let verdict = finish.verdict.unless_cancelled(row.task.state.cancel_requested);
        let runner = row.task.state.runner.unwrap_or(RunnerId(Id { seq: Seq(0), tag: 0 }));
        row.attempts.push(Attempt {
            n: row.task.state.attempts,
            fence: finish.held.fence,
            runner,
            started_at: row.task.state.started_at.unwrap_or(now),
            ended_at: now,
            outcome: finish.outcome,
            msg: finish.msg,
            usage: finish.usage,
            isolation: finish.isolation,
            log: finish.log,
            log_size_bytes: finish.log_size_bytes,
        });
        row.task.state.log_size_bytes = finish.log_size_bytes;
        let losses = u32::from(matches!(verdict, Verdict::Again { why: Again::Lost, .. }));
        self.follow(seq, verdict, losses, now, signals);
        Finished::Now(self.tasks[&seq].task.state.status)
    }

    fn follow(&mut self, seq: Seq, verdict: Verdict, losses: u32, now: Timestamp, signals: &Signals) {
        if let Some(row) = self.tasks.get_mut(&seq) {
            row.task.state.losses += losses;
        }
        match verdict {
            Verdict::Final { status, msg, error_class } => {
                self.end(seq, status, msg, error_class, now, signals);
            }
            Verdict::Again { run_at, why, msg } => {
                let Some(row) = self.tasks.get_mut(&seq) else { return };
                row.place = if run_at > now { Place::Delayed } else { Place::Ready };
                self.sums.queued(row.task.new.code, 1, now);
                let state = &mut row.task.state;
                state.status = Status::Queued;
                state.run_at = run_at;
                state.updated_at = now;
                state.msg = msg;
                state.retries += u32::from(why == Again::Retry);
                signals.task_changed(row.task.new.id);
                signals.deadline_moved();
                let (cluster, code) = (row.task.new.cluster.clone(), row.task.new.code);
                signals.ready(&cluster, self.needs(code));
            }
        }
        // A slot of its package may have become free.
        let code = self.tasks[&seq].task.new.code;
        self.signal_ready(code, signals);
    }

    fn end(
        &mut self,
        seq: Seq,
        status: Status,
        msg: Option<String>,
        error_class: Option<String>,
        now: Timestamp,
        signals: &Signals,
    ) {
        let Some(row) = self.tasks.get_mut(&seq) else { return };
        if row.task.state.status == Status::Queued {
            self.sums.queued(row.task.new.code, -1, now);
        }
        row.place = Place::Done;
        let state = &mut row.task.state;
        state.status = status;
        state.cancel_requested = false;
        state.msg = msg.unwrap_or_else(|| std::mem::take(&mut state.msg));
        state.error_class = error_class;
        state.ended_at = Some(now);
        state.updated_at = now;
        self.sums.task_ended(row.task.new.code, status, now);
        signals.task_changed(row.task.new.id);
    }

    fn signal_ready(&self, code: CodeId, signals: &Signals) {
        let ready = self.tasks.values().filter(|r| r.task.new.code == code && r.place == Place::Ready);
        for cluster in ready.map(|r| r.task.new.cluster.as_str()).collect::<BTreeSet<_>>() {
            signals.ready(cluster, self.needs(code));
        }
    }

    pub(super) fn cancel_unless_final(
        &mut self,
        tasks: &[TaskId],
        now: Timestamp,
        signals: &Signals,
    ) -> Vec<Cancelled> {
        tasks.iter().map(|task| self.cancel(*task, now, signals)).collect()
    }

    fn cancel(&mut self, task: TaskId, now: Timestamp, signals: &Signals) -> Cancelled {
        let Some(row) = self.tasks.get_mut(&task.seq()).filter(|r| r.task.new.id == task) else {
            return Cancelled::Unknown;
        };
        match row.place {
            Place::Done => Cancelled::WasFinal,
            Place::Delayed | Place::Ready => {
                self.end(task.seq(), Status::Cancelled, Some(CANCELLED_MSG.to_owned()), None, now, signals);
                Cancelled::AtOnce
            }
            Place::Running(_) => {
                if !row.task.state.cancel_requested {
                    row.task.state.cancel_requested = true;
                    row.task.state.updated_at = now;
                }
                signals.cancel_requested();
                signals.task_changed(task);
                Cancelled::Requested
            }
        }
    }

    pub(super) fn register_runner(
        &mut self,
        runner: RunnerRecord,
        lease_until: Timestamp,
        signals: &Signals,
    ) {
        let now = runner.started_at;
        let before = self.sessions.values().filter(|s| s.record.gone_at.is_none());
        let before = before.filter(|s| s.record.about.instance == runner.about.instance).map(|s| s.record.id);
        for id in before.collect::<Vec<_>>() {
            self.lose_session(id, now, signals);
        }
        self.sessions.insert(runner.id, Session { record: runner, lease_until });
        signals.deadline_moved();
    }

    pub(super) fn heartbeat(
        &mut self,
        runner: RunnerId,
        holds: &[Held],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Pulse> {
        let session = self.session(runner)?;
        session.record.seen_at = now;
        session.lease_until = lease_until;
        let is_draining = session.record.is_draining;
        let mut pulse = Pulse { is_draining, ..Pulse::default() };
        for held in holds {
            let row = self.tasks.get(&held.task.seq()).filter(|r| r.is_current(*held));
            match row.filter(|r| r.task.state.runner == Some(runner)) {
                None => pulse.lost.push(*held),
                Some(row) if row.task.state.cancel_requested => pulse.cancel.push(*held),
                Some(_) => {}
            }
        }
        Ok(pulse)
    }

    pub(super) fn release(
        &mut self,
        runner: RunnerId,
        holds: &[Held],
        leave: bool,
        now: Timestamp,
        signals: &Signals,
    ) {
        let mine = |r: &&Row| r.task.state.runner == Some(runner) && matches!(r.place, Place::Running(_));
        let wanted = |r: &&Row| leave || holds.iter().any(|held| r.is_current(*held));
        let given = self.tasks.values().filter(mine).filter(wanted).map(|r| r.task.new.id.seq());
        for seq in given.collect::<Vec<_>>() {
            let again = Verdict::Again { run_at: now, why: Again::Lost, msg: GIVEN_BACK_MSG.to_owned() };
            let cancelled = self.tasks[&seq].task.state.cancel_requested;
            self.lose(seq, GIVEN_BACK_MSG, again.unless_cancelled(cancelled), 0, now, signals);
        }
        if leave && let Some(session) = self.sessions.get_mut(&runner) {
            session.record.gone_at.get_or_insert(now);
        }
    }

    pub(super) fn rescue(&mut self, now: Timestamp, signals: &Signals) -> Rescued {
        let live = self.sessions.values().filter(|s| s.record.gone_at.is_none());
        let silent: Vec<RunnerId> = live.filter(|s| s.lease_until <= now).map(|s| s.record.id).collect();
        let tasks = silent.iter().map(|id| self.lose_session(*id, now, signals)).sum();
        let live = self.sessions.values().filter(|s| s.record.gone_at.is_none());
        Rescued { runners: silent, tasks, next_at: live.map(|s| s.lease_until).min() }
    }

    fn lose_session(&mut self, runner: RunnerId, now: Timestamp, signals: &Signals) -> u64 {
        if let Some(session) = self.sessions.get_mut(&runner) {
            session.record.gone_at = Some(now);
        }
        let held = |r: &&Row| r.task.state.runner == Some(runner) && matches!(r.place, Place::Running(_));
        let held: Vec<Seq> = self.tasks.values().filter(held).map(|r| r.task.new.id.seq()).collect();
        for seq in &held {
            let row = &self.tasks[seq];
            let verdict = conclude(trial(row), &Outcome::Lost, "", row.task.new.retry, 0.0, now);
            self.lose(*seq, LOST_MSG, verdict, 1, now, signals);
        }
        held.len() as u64
    }

    fn lose(
        &mut self,
        seq: Seq,
        msg: &str,
        verdict: Verdict,
        losses: u32,
        now: Timestamp,
        signals: &Signals,
    ) {
        let Some(row) = self.tasks.get_mut(&seq) else { return };
        let Place::Running(fence) = row.place else { return };
        self.sums.attempt_ended(&row.task, None, now);
        let chunks: Vec<LogChunk> = std::mem::take(&mut row.chunks).into_values().collect();
        let log_size_bytes = log::size_bytes(&chunks);
        row.task.state.log_size_bytes = log_size_bytes;
        row.attempts.push(Attempt {
            n: row.task.state.attempts,
            fence,
            runner: row.task.state.runner.unwrap_or(RunnerId(Id { seq: Seq(0), tag: 0 })),
            started_at: row.task.state.started_at.unwrap_or(now),
            ended_at: now,
            outcome: Outcome::Lost,
            msg: msg.to_owned(),
            usage: None,
            isolation: None,
            log: (!chunks.is_empty()).then(|| Stored::Inline(log::encode(&chunks))),
            log_size_bytes,
        });
        self.follow(seq, verdict, losses, now, signals);
    }

    pub(super) fn set_draining(&mut self, runner: RunnerId, draining: bool) -> bool {
        let Ok(session) = self.session(runner) else { return false };
        session.record.is_draining = draining;
        true
    }

    pub(super) fn runners(&self) -> Vec<(RunnerRecord, u32)> {
        let holds = |id: RunnerId| {
            let held = |r: &&Row| r.task.state.runner == Some(id) && matches!(r.place, Place::Running(_));
            self.tasks.values().filter(held).count() as u32
        };
        self.sessions.values().rev().map(|s| (s.record.clone(), holds(s.record.id))).collect()
    }

    pub(super) fn create_schedules(
        &mut self,
        schedules: Vec<Schedule>,
        limit: usize,
        signals: &Signals,
    ) -> Result<()> {
        for project in schedules.iter().map(|s| s.project).collect::<BTreeSet<_>>() {
            let alive = |s: &&Schedule| s.project == project && !s.state.status.is_over();
            let count =
                self.schedules.values().filter(alive).count() + schedules.iter().filter(alive).count();
            if count > limit {
                return Err(StoreError::LimitReached(format!(
                    "a project may have {limit} schedules that have not ended"
                )));
            }
        }
        self.schedules.extend(schedules.into_iter().map(|s| (s.id, s)));
        signals.deadline_moved();
        Ok(())
    }

    pub(super) fn schedule(&self, id: ScheduleId) -> Option<Schedule> {
        self.schedules.get(&id).cloned()
    }

    pub(super) fn schedules(&self, project: ProjectId, page: Page) -> Vec<Schedule> {
        let of_project = self.schedules.values().rev().filter(|s| s.project == project);
        of_project.skip(page.skip).take(page.limit).cloned().collect()
    }

    pub(super) fn replace_schedule_if_unchanged(
        &mut self,
        before: &Schedule,
        after: Schedule,
        signals: &Signals,
    ) -> bool {
        match self.schedules.get_mut(&before.id) {
            Some(schedule) if schedule == before => {
                *schedule = after;
                signals.deadline_moved();
                true
            }
            _ => false,
        }
    }

    pub(super) fn due_schedules(&self, now: Timestamp, limit: usize) -> (Vec<Schedule>, Option<Timestamp>) {
        let waiting = self.schedules.values().filter_map(|s| s.state.next_at.map(|at| (at, s.id)));
        let order: BTreeSet<(Timestamp, ScheduleId)> = waiting.collect();
        let due: Vec<_> = order.iter().take_while(|(at, _)| *at <= now).take(limit).collect();
        let next = order.iter().nth(due.len()).map(|(at, _)| *at);
        (due.iter().map(|(_, id)| self.schedules[id].clone()).collect(), next)
    }

    pub(super) fn fire_if_due(
        &mut self,
        firings: Vec<Firing>,
        now: Timestamp,
        signals: &Signals,
    ) -> Vec<bool> {
        let fire = |firing: Firing| {
            let schedule = self.schedules.get_mut(&firing.schedule);
            let Some(schedule) = schedule.filter(|s| s.state.next_at == Some(firing.due_at)) else {
                return false;
            };
            schedule.state = firing.state;
            schedule.updated_at = now;
            self.enqueue(firing.task.into_iter().collect(), signals);
            true
        };
        firings.into_iter().map(fire).collect()
    }

    fn row(&self, task: TaskId) -> Option<&Row> {
        self.tasks.get(&task.seq()).filter(|r| r.task.new.id == task)
    }

    pub(super) fn task(&self, id: TaskId) -> Option<Task> {
        self.row(id).map(|r| r.task.clone())
    }

    pub(super) fn tasks(&self, q: &TaskQuery) -> Vec<Task> {
        let wanted = |task: &Task| {
            let (new, seq) = (&task.new, task.new.id.seq());
            new.project == q.project
                && q.code.is_none_or(|code| new.code == code)
                && q.statuses.contains(task.state.status)
                && q.label.as_ref().is_none_or(|label| new.label.as_ref() == Some(label))
                && q.cluster.as_ref().is_none_or(|cluster| new.cluster == *cluster)
                && q.schedule.is_none_or(|schedule| new.schedule == Some(schedule))
                && q.parent.is_none_or(|parent| new.parent == Some(parent))
                && q.from.is_none_or(|from| seq >= Seq::at(from))
                && q.to.is_none_or(|to| seq < Seq::at(to + std::time::Duration::from_millis(1)))
                && q.before.is_none_or(|before| seq < before)
        };
        let newest_first = self.tasks.values().rev().map(|r| &r.task).filter(|t| wanted(t));
        newest_first.skip(q.skip).take(q.limit).cloned().collect()
    }

    pub(super) fn attempts(&self, task: TaskId) -> Vec<Attempt> {
        self.row(task).map(|r| r.attempts.clone()).unwrap_or_default()
    }

    pub(super) fn log(&self, task: TaskId, attempt: Option<u32>, after: u32) -> Option<LogPart> {
        let row = self.row(task)?;
        let newest = row.task.state.attempts;
        let attempt = attempt.unwrap_or(newest);
        if let Some(ended) = row.attempts.iter().find(|a| a.n == attempt) {
            return Some(LogPart { attempt, is_whole: true, log: LogBody::Whole(ended.log.clone()) });
        }
        let is_running = matches!(row.place, Place::Running(_)) && attempt == newest;
        let chunks = row.chunks.range(after.saturating_add(1)..).map(|(_, c)| c.clone());
        is_running.then(|| LogPart { attempt, is_whole: false, log: LogBody::Live(chunks.collect()) })
    }

    pub(super) fn result(&self, task: TaskId) -> Option<Stored> {
        self.row(task).and_then(|r| r.result.clone())
    }

    pub(super) fn counts(&self, project: Option<ProjectId>) -> Vec<LaneCounts> {
        let mut lanes: BTreeMap<(CodeId, &str), Counts> = BTreeMap::new();
        for task in
            self.tasks.values().map(|r| &r.task).filter(|t| project.is_none_or(|p| t.new.project == p))
        {
            lanes.entry((task.new.code, &task.new.cluster)).or_default().add(task.state.status, 1);
        }
        let lane = |((code, cluster), counts): ((CodeId, &str), Counts)| LaneCounts {
            code,
            cluster: cluster.to_owned(),
            counts,
        };
        lanes.into_iter().map(lane).collect()
    }

    pub(super) fn ended_between(&self, code: CodeId, from: Timestamp, to: Timestamp) -> Counts {
        self.sums.ended_between(code, from, to)
    }

    pub(super) fn rollups(
        &self,
        project: ProjectId,
        code: Option<CodeId>,
        from: Timestamp,
        to: Timestamp,
        grain: Grain,
    ) -> Vec<(CodeId, Timestamp, Rollup)> {
        let is_wanted = |id| code.is_none_or(|code| code == id) && self.is_of(id, project);
        self.sums.rollups(is_wanted, from, to, grain)
    }

    pub(super) fn usage(
        &self,
        project: ProjectId,
        from: Timestamp,
        to: Timestamp,
        by: UsageBy,
    ) -> Vec<(UsageOf, ComputeTime)> {
        self.sums.usage(|id| self.is_of(id, project), from, to, by)
    }

    fn is_of(&self, code: CodeId, project: ProjectId) -> bool {
        self.codes.get(&code).is_some_and(|code| code.project == project)
    }

    pub(super) fn ahead_of(&self, task: TaskId, limit: usize) -> Option<usize> {
        let me = self.row(task).filter(|r| r.place == Place::Ready)?;
        let before = |r: &&Row| {
            r.place == Place::Ready && r.task.new.cluster == me.task.new.cluster && r.rank() < me.rank()
        };
        let most = self.needs(me.task.new.code);
        let may_start = |r: &&Row| self.has_room(r.task.new.code) && self.needs(r.task.new.code) <= most;
        let ahead = self.tasks.values().filter(before).filter(may_start);
        Some(ahead.take(limit).count())
    }

    pub(super) fn claimable(&self, cluster: &str, limit: usize) -> usize {
        let mut claimable: BTreeMap<CodeId, usize> = BTreeMap::new();
        let here = |r: &&Row| r.place == Place::Ready && r.task.new.cluster == cluster;
        for row in self.tasks.values().filter(here) {
            *claimable.entry(row.task.new.code).or_default() += 1;
        }
        claimable.into_iter().map(|(code, n)| n.min(self.room(code))).sum::<usize>().min(limit)
    }

    pub(super) fn oldest_ready(&self, project: Option<ProjectId>) -> Option<Timestamp> {
        let is_one = |r: &Row| r.place == Place::Ready && project.is_none_or(|p| r.task.new.project == p);
        self.tasks.iter().find(|(_, r)| is_one(r)).map(|(seq, _)| seq.created_at())
    }

    pub(super) fn prune(&mut self, retention: Retention, now: Timestamp) -> Pruned {
        let partition = |seq: &Seq| Partition::at(seq.created_at());
        let live: BTreeSet<Partition> = self
            .tasks
            .iter()
            .filter(|(_, r)| r.place != Place::Done)
            .map(|(seq, _)| partition(seq))
            .collect();
        let is_old = |p: Partition| p.next().first() <= Seq::at(now - retention.tasks);
        let before = self.tasks.len();
        self.tasks.retain(|seq, _| !is_old(partition(seq)) || live.contains(&partition(seq)));
        self.sums.prune(retention, now);
        self.sessions.retain(|_, s| s.record.gone_at.is_none_or(|gone| gone + retention.runners > now));
        self.keys.retain(|_, key| key.used_at + retention.keys > now);
        let kept: BTreeSet<Partition> = self.tasks.keys().map(partition).collect();
        Pruned { tasks: (before - self.tasks.len()) as u64, kept: kept.into_iter().collect() }
    }
}

fn trial(row: &Row) -> Trial {
    let state = &row.task.state;
    Trial {
        retries: state.retries,
        losses: state.losses,
        unable: 0,
        cancel_requested: state.cancel_requested,
    }
}
