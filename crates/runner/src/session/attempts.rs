//! The attempts that a session holds: they wait for a slot, run, and are then to be reported or given back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{error, info};
use windlass_model::exit::{Exit, Usage};
use windlass_model::lease::Fence;
use windlass_model::runner::{Claim, Held, Report, RevisionSpec};

use crate::run::{Bench, Job, Outcome, report, run};
use crate::slots::{SLOT_LIMIT, Slots};
use crate::supervise::Command;

/// Work that is claimed ahead: what the slots do in this time.
const AHEAD: Duration = Duration::from_millis(25);
/// Most tasks claimed ahead per slot.
const AHEAD_PER_SLOT: usize = 16;

/// Everything that a session holds, until the server knows what became of it.
pub(super) struct Attempts {
    bench: Arc<Bench>,
    pub(super) slots: Arc<Slots>,
    backlog: VecDeque<(Job, Instant)>,
    running: HashMap<Fence, (Held, Running)>,
    tasks: JoinSet<(Held, Outcome)>,
    /// Those that have ended, first first.
    pub(super) reports: VecDeque<Report>,
    /// When the first of those came.
    reports_since: Instant,
    /// Those that are to go back unfinished.
    pub(super) give_back: Vec<Held>,
    /// Mean time that an attempt runs.
    mean: Option<Duration>,
}

struct Running {
    commands: watch::Sender<Command>,
    since: Instant,
    /// Whether a heartbeat has named it.
    is_known: bool,
    task: tokio::task::AbortHandle,
}

impl Attempts {
    pub(super) fn new(bench: Arc<Bench>, slots: Arc<Slots>) -> Self {
        Self {
            bench,
            slots,
            backlog: VecDeque::new(),
            running: HashMap::new(),
            tasks: JoinSet::new(),
            reports: VecDeque::new(),
            reports_since: Instant::now(),
            give_back: Vec::new(),
            mean: None,
        }
    }

    /// Takes what was claimed; gives it back at once if no more `may_run`.
    pub(super) fn take(&mut self, claim: Claim, may_run: bool) {
        let now = Instant::now();
        let most = &self.bench.host.limits.most;
        let ours = |revision: RevisionSpec| {
            Arc::new(RevisionSpec { limits: revision.limits.at_most(most), ..revision })
        };
        let revisions: Vec<Arc<RevisionSpec>> = claim.revisions.into_iter().map(ours).collect();
        for task in claim.tasks {
            let held = Held { task: task.task, fence: task.fence };
            match revisions.iter().find(|revision| revision.id == task.revision) {
                Some(revision) if may_run => {
                    self.backlog.push_back((Job { task, revision: revision.clone() }, now));
                }
                Some(_) => self.give_back.push(held),
                None => {
                    error!(task.id = %held.task, "the server sent task {} without its revision", held.task);
                    self.give_back.push(held);
                }
            }
        }
    }

    /// Starts what can get a slot or be the next to get one.
    pub(super) fn start_backlog(&mut self) {
        while self.slots.waiting() < self.slots.open()
            && let Some((job, _)) = self.backlog.pop_front()
        {
            self.start(job);
        }
    }

    fn start(&mut self, job: Job) {
        let held = job.held();
        let (commands, told) = watch::channel(Command::Run);
        let (bench, mut slot) = (self.bench.clone(), self.slots.enter());
        let task = self.tasks.spawn(async move {
            let outcome = run(&bench, &job, &mut slot, told).await;
            (held, outcome)
        });
        let running = Running { commands, since: Instant::now(), is_known: false, task };
        self.running.insert(held.fence, (held, running));
    }

    /// Resolves when one that runs has come to its end, and takes down how; `None`: none runs. May be dropped.
    pub(super) async fn next_end(&mut self) -> Option<()> {
        match self.tasks.join_next_with_id().await? {
            Ok((_, (held, outcome))) => self.ended(held, outcome),
            Err(panic) => self.broke(&panic),
        }
        Some(())
    }

    fn ended(&mut self, held: Held, outcome: Outcome) {
        self.running.remove(&held.fence);
        match outcome {
            Outcome::Report(report) => {
                if !matches!(report.exit, Exit::Unable(_)) {
                    // The mean of about the last eight.
                    let took = Duration::from_millis(report.usage.wall_ms.max(1));
                    self.mean = Some(self.mean.map_or(took, |mean| (mean * 7 + took) / 8));
                }
                self.report(*report);
            }
            Outcome::GiveBack => self.give_back.push(held),
            Outcome::Abandoned => {}
        }
    }

    fn report(&mut self, report: Report) {
        if self.reports.is_empty() {
            self.reports_since = Instant::now();
        }
        self.reports.push_back(report);
    }

    /// Takes the first `count` of them.
    pub(super) fn take_reports(&mut self, count: usize) -> Vec<Report> {
        let reports = self.reports.drain(..count).collect();
        self.reports_since = Instant::now();
        reports
    }

    /// Reports that did not arrive.
    pub(super) fn report_again(&mut self, reports: Vec<Report>) {
        for report in reports.into_iter().rev() {
            self.reports.push_front(report);
        }
    }

    /// Since when there is something to report; none: there is nothing.
    pub(super) fn reports_since(&self) -> Option<Instant> {
        (!self.reports.is_empty()).then_some(self.reports_since)
    }

    fn broke(&mut self, panic: &JoinError) {
        error!("an attempt came to grief in the runner: {panic}");
        let fence =
            self.running.iter().find(|(_, (_, r))| r.task.id() == panic.id()).map(|(&fence, _)| fence);
        if let Some((held, _)) = fence.and_then(|fence| self.running.remove(&fence)) {
            let why = "the attempt came to grief in the runner; its log says more".to_owned();
            self.report(report(&self.bench, held, Exit::Unable(why), Usage::default()));
        }
    }

    fn command(&self, held: Held, command: Command) {
        if let Some((_, running)) = self.running.get(&held.fence) {
            running.strengthen(command);
        }
    }

    /// They belong to others now: ends them, and says nothing of them.
    pub(super) fn lose(&mut self, lost: &[Held]) {
        for &held in lost {
            // A heartbeat may have named what has ended while it was answered.
            if self.running.contains_key(&held.fence) {
                info!(task.id = %held.task, "task {} is no longer ours", held.task);
            }
            self.command(held, Command::Abandon);
            self.backlog.retain(|(job, _)| job.held() != held);
            self.reports.retain(|report| report.held != held);
            self.give_back.retain(|other| *other != held);
        }
    }

    /// All of them do.
    pub(super) fn lose_all(&mut self) {
        self.backlog.clear();
        self.reports.clear();
        self.give_back.clear();
        for (_, running) in self.running.values() {
            running.strengthen(Command::Abandon);
        }
    }

    /// Ends them, to be reported as cancelled.
    pub(super) fn cancel(&mut self, cancel: &[Held]) {
        for &held in cancel {
            self.command(held, Command::Cancel);
            if let Some(at) = self.backlog.iter().position(|(job, _)| job.held() == held)
                && self.backlog.remove(at).is_some()
            {
                self.report(report(&self.bench, held, Exit::Cancelled, Usage::default()));
            }
        }
    }

    /// Gives back what has not been started.
    pub(super) fn give_back_backlog(&mut self) {
        self.give_back.extend(self.backlog.drain(..).map(|(job, _)| job.held()));
    }

    /// Gives back what has waited for too long.
    pub(super) fn give_back_late(&mut self) {
        let now = Instant::now();
        while let Some((job, _)) = self.backlog.pop_front_if(|(_, since)| now >= *since + SLOT_LIMIT) {
            self.give_back.push(job.held());
        }
    }

    /// When [`Attempts::give_back_late`] has something to do.
    pub(super) fn late_at(&self) -> Option<Instant> {
        self.backlog.front().map(|(_, since)| *since + SLOT_LIMIT)
    }

    /// Ends those that run, to be given back.
    pub(super) fn give_back_running(&mut self) {
        for (_, running) in self.running.values() {
            running.strengthen(Command::GiveBack);
        }
    }

    /// Every attempt that is ours.
    pub(super) fn holds(&self) -> impl Iterator<Item = Held> {
        let running = self.running.values().map(|(held, _)| *held);
        let waiting = self.backlog.iter().map(|(job, _)| job.held());
        running.chain(waiting).chain(self.reports.iter().map(|report| report.held))
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.backlog.is_empty() && self.reports.is_empty()
    }

    /// Whether one runs, or has not been taken down.
    pub(super) fn is_running(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// A heartbeat names all of them.
    pub(super) fn named(&mut self) {
        for (_, running) in self.running.values_mut() {
            running.is_known = true;
        }
    }

    /// Since when the first one runs that no heartbeat has named.
    pub(super) fn unnamed_since(&self) -> Option<Instant> {
        self.running.values().filter(|(_, r)| !r.is_known).map(|(_, r)| r.since).min()
    }

    /// Tasks that are here and whose process has not ended.
    pub(super) fn load(&self) -> usize {
        self.slots.taken() + self.slots.waiting() + self.backlog.len()
    }

    /// How many tasks to have here beside those that run.
    ///
    /// A slot that has run the same attempt for long will not be free soon.
    pub(super) fn ahead(&self) -> usize {
        let per_slot = match self.mean {
            Some(mean) if !self.slots.are_resting() => (AHEAD.as_micros() / mean.as_micros().max(1)) as usize,
            _ => 0,
        };
        let is_slow = |(_, running): &&(Held, Running)| running.since.elapsed() > SLOT_LIMIT;
        let slow = if per_slot == 0 { 0 } else { self.running.values().filter(is_slow).count() };
        self.slots.total().saturating_sub(slow) * per_slot.min(AHEAD_PER_SLOT)
    }
}

impl Running {
    /// Commands it, unless it was told something stronger.
    fn strengthen(&self, command: Command) {
        self.commands.send_if_modified(|now| {
            let is_stronger = command > *now;
            *now = command.max(*now);
            is_stronger
        });
    }
}
