//! One session with a server: claims tasks, runs them, reports them, keeps their leases.
//!
//! One task owns all of it, so there is nothing to lock. It waits for whatever happens first (an attempt ends, a call
//! is answered, somebody stops it) and then starts the calls that are due:
//!
//! - At most one call waits at the server for work to come. Every other that asks for work takes what is there. What
//!   comes to be due answers the one that waits, and the next call asks for every slot that is free by then: so no
//!   slot waits longer than a round trip, and a claim never has to be called off.
//! - Reports go out at once, with the claim for the slots they freed; what ends meanwhile goes with the next.
//! - If tasks are so short that the round trip would cost more than they do, some are claimed ahead; what then has to
//!   wait for a slot after all is given back.
//! - A claim whose answer was lost may have handed out tasks that nobody knows of. The session then takes no more,
//!   ends what it has and leaves, which gives them back; another session takes its place meanwhile.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};
use windlass_client::{RunnerSession, SessionError};
use windlass_model::bytes::Bytes;
use windlass_model::exit::{Exit, Usage};
use windlass_model::lease::Fence;
use windlass_model::runner::{
    Claim, ClaimRequest, Finish, FinishAnswer, Heartbeat, HeartbeatAnswer, Held, Registered, Release, Report,
    RevisionSpec,
};

use crate::run::{Bench, Job, Outcome, report, run};
use crate::slots::{SLOT_LIMIT, Slots};
use crate::supervise::Command;

/// Longest time a claim waits at the server, as a share of the lease: the wait is a sign of life, too.
const POLL_PER_LEASE: (u32, u32) = (2, 3);
/// Longest time a server may take for a call beyond what it was asked to wait.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Time before a call that failed is tried again, doubled each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// An attempt that runs for so long is worth a heartbeat of its own, so that a cancel finds it at once.
const WORTH_A_HEARTBEAT: Duration = Duration::from_secs(1);
/// Least time between two heartbeats.
const HEARTBEAT_PAUSE: Duration = Duration::from_millis(500);
/// Work that is claimed ahead: what the slots do in this time.
const AHEAD: Duration = Duration::from_millis(25);
/// Most tasks claimed ahead per slot.
const AHEAD_PER_SLOT: usize = 16;
/// Most reports in one call, and most bytes of output and results in it.
const BATCH: (usize, usize) = (64, 8 * 1024 * 1024);
/// Longest time a runner that stops tries to say good-bye.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a runner is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Go on.
    No,
    /// Take no more; give back what has not ended by then.
    By(Instant),
}

/// Why a session takes no more tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It does take them.
    Open,
    /// The runner stops.
    Stopping,
    /// A claim may have been lost: another session is to take over.
    Doubtful,
    /// The server has ended it.
    Over,
}

type Call = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A call that was answered, with what it was about.
enum Answer {
    Claim { want: usize, answer: Result<Claim, CallError> },
    Finish { reports: Vec<Report>, want: usize, answer: Result<FinishAnswer, CallError> },
    Heartbeat { sent_at: Instant, answer: Result<HeartbeatAnswer, CallError> },
    Release { holds: Vec<Held>, leave: bool, answer: Result<(), CallError> },
}

/// Why a call failed.
#[derive(Debug)]
enum CallError {
    /// The session is over.
    Over,
    /// The server did nothing of it.
    Refused { status: u16, why: String },
    /// Nobody knows what it did.
    Unknown(String),
}

struct Running {
    commands: watch::Sender<Command>,
    since: Instant,
    /// Whether a heartbeat has named it.
    is_known: bool,
    task: tokio::task::AbortHandle,
}

/// One session with a server.
pub(crate) struct Session {
    link: RunnerSession,
    bench: Arc<Bench>,
    slots: Arc<Slots>,
    lost: mpsc::UnboundedReceiver<Vec<Held>>,
    poll: Duration,
    heartbeat: Duration,

    phase: Phase,
    /// An operator asked the runner to take no more for now.
    is_drained: bool,
    backlog: VecDeque<(Job, Instant)>,
    running: HashMap<Fence, (Held, Running)>,
    attempts: JoinSet<(Held, Outcome)>,
    reports: VecDeque<Report>,
    give_back: Vec<Held>,

    calls: FuturesUnordered<Call>,
    /// Tasks that calls in flight may bring.
    wanted: usize,
    is_polling: bool,
    is_reporting: bool,
    is_releasing: bool,
    has_left: bool,
    failures: u32,
    retry_at: Instant,
    heartbeat_at: Instant,
    last_heartbeat_at: Instant,
    batch: usize,
    /// Mean time that an attempt runs.
    mean: Option<Duration>,
    give_up_at: Option<Instant>,
}

impl Session {
    /// A session that was just registered.
    pub(crate) fn new(
        link: RunnerSession,
        registered: &Registered,
        bench: Arc<Bench>,
        lost: mpsc::UnboundedReceiver<Vec<Held>>,
        slots: Arc<Slots>,
    ) -> Self {
        let now = Instant::now();
        Self {
            link,
            bench,
            slots,
            lost,
            poll: Duration::from_millis(registered.lease_ms) * POLL_PER_LEASE.0 / POLL_PER_LEASE.1,
            heartbeat: Duration::from_millis(registered.heartbeat_ms.max(10)),
            phase: Phase::Open,
            is_drained: false,
            backlog: VecDeque::new(),
            running: HashMap::new(),
            attempts: JoinSet::new(),
            reports: VecDeque::new(),
            give_back: Vec::new(),
            calls: FuturesUnordered::new(),
            wanted: 0,
            is_polling: false,
            is_reporting: false,
            is_releasing: false,
            has_left: false,
            failures: 0,
            retry_at: now,
            heartbeat_at: now,
            last_heartbeat_at: now,
            batch: BATCH.0,
            mean: None,
            give_up_at: None,
        }
    }

    /// Works until the session has ended. `closed` is told as soon as it takes no more tasks for a reason that
    /// another session has not.
    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<Stopping>, closed: watch::Sender<bool>) {
        self.stop_if_told(*stopping.borrow_and_update());
        loop {
            self.start_backlog();
            self.begin_calls();
            if matches!(self.phase, Phase::Doubtful | Phase::Over) {
                closed.send_replace(true);
            }
            if self.has_ended() {
                return;
            }
            let wake_at = self.wake_at();
            let slots = self.slots.clone();
            tokio::select! {
                Some(answer) = self.calls.next() => self.answered(answer),
                Some(ended) = self.attempts.join_next_with_id() => match ended {
                    Ok((_, (held, outcome))) => self.ended(held, outcome),
                    Err(panic) => self.broke(&panic),
                },
                Some(lost) = self.lost.recv() => self.lose(&lost),
                Ok(()) = stopping.changed() => self.stop_if_told(*stopping.borrow_and_update()),
                () = slots.freed.notified(), if self.may_claim() => {}
                () = sleep_until(wake_at) => self.wake(),
            }
        }
    }

    fn stop_if_told(&mut self, stopping: Stopping) {
        let Stopping::By(deadline) = stopping else { return };
        if self.phase == Phase::Open {
            self.phase = Phase::Stopping;
        }
        self.give_back.extend(self.backlog.drain(..).map(|(job, _)| job.held()));
        self.give_up_at = Some(deadline);
        self.wake();
    }

    // Attempts.

    /// Starts what can get a slot or be the next to get one.
    fn start_backlog(&mut self) {
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
        let task = self.attempts.spawn(async move {
            let outcome = run(&bench, &job, &mut slot, told).await;
            (held, outcome)
        });
        let running = Running { commands, since: Instant::now(), is_known: false, task };
        self.running.insert(held.fence, (held, running));
    }

    fn ended(&mut self, held: Held, outcome: Outcome) {
        self.running.remove(&held.fence);
        match outcome {
            Outcome::Report(report) => {
                // The mean of about the last eight.
                let took = Duration::from_millis(report.usage.wall_ms.max(1));
                self.mean = Some(self.mean.map_or(took, |mean| (mean * 7 + took) / 8));
                self.reports.push_back(*report);
            }
            Outcome::GiveBack => self.give_back.push(held),
            Outcome::Abandoned => {}
        }
    }

    fn broke(&mut self, panic: &tokio::task::JoinError) {
        error!("an attempt came to grief in the runner: {panic}");
        let fence =
            self.running.iter().find(|(_, (_, r))| r.task.id() == panic.id()).map(|(&fence, _)| fence);
        if let Some((held, _)) = fence.and_then(|fence| self.running.remove(&fence)) {
            self.give_back.push(held);
        }
    }

    fn command(&self, held: Held, command: Command) {
        if let Some((_, running)) = self.running.get(&held.fence) {
            running.commands.send_if_modified(|now| {
                let is_stronger = command > *now;
                *now = command.max(*now);
                is_stronger
            });
        }
    }

    fn lose(&mut self, lost: &[Held]) {
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

    fn cancel(&mut self, cancel: &[Held]) {
        for &held in cancel {
            self.command(held, Command::Cancel);
            if let Some(at) = self.backlog.iter().position(|(job, _)| job.held() == held)
                && let Some((job, _)) = self.backlog.remove(at)
            {
                self.reports.push_back(report(&self.bench, &job, Exit::Cancelled, Usage::default()));
            }
        }
    }

    fn take(&mut self, claim: Claim) {
        self.is_drained = claim.drain;
        let now = Instant::now();
        if !claim.tasks.is_empty() && self.holds().next().is_none() {
            // The claim was a sign of life; most tasks will have ended before another is needed.
            self.heartbeat_at = self.heartbeat_at.max(now + WORTH_A_HEARTBEAT);
        }
        let revisions: Vec<Arc<RevisionSpec>> = claim.revisions.into_iter().map(Arc::new).collect();
        for task in claim.tasks {
            let held = Held { task: task.task, fence: task.fence };
            match revisions.iter().find(|revision| revision.id == task.revision) {
                Some(revision) if self.phase == Phase::Open => {
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

    // Calls.

    fn may_claim(&self) -> bool {
        self.phase == Phase::Open && !self.is_drained
    }

    /// How many more tasks can be used, beyond those that are here or on their way.
    fn wants(&self) -> usize {
        if !self.may_claim() {
            return 0;
        }
        (self.slots.total() + self.ahead()).saturating_sub(self.load())
    }

    /// Tasks that are here or on their way and whose process has not ended.
    fn load(&self) -> usize {
        self.slots.taken() + self.slots.waiting() + self.backlog.len() + self.wanted
    }

    /// How many tasks to have here beside those that run.
    ///
    /// A slot that has run the same attempt for long will not be free soon.
    fn ahead(&self) -> usize {
        let per_slot = match self.mean {
            Some(mean) => (AHEAD.as_micros() / mean.as_micros().max(1)) as usize,
            None => 0,
        };
        let is_slow = |(_, running): &&(Held, Running)| running.since.elapsed() > SLOT_LIMIT;
        let slow = if per_slot == 0 { 0 } else { self.running.values().filter(is_slow).count() };
        self.slots.total().saturating_sub(slow) * per_slot.min(AHEAD_PER_SLOT)
    }

    fn begin_calls(&mut self) {
        let now = Instant::now();
        if matches!(self.phase, Phase::Over) || self.has_left || now < self.retry_at {
            return;
        }
        if !self.reports.is_empty() && !self.is_reporting {
            self.begin_finish();
        }
        let has_free_slot = self.slots.total() > self.load();
        if !self.is_polling && has_free_slot && self.wants() > 0 {
            self.begin_claim();
        }
        if !self.is_releasing && (!self.give_back.is_empty() || self.is_done()) {
            self.begin_release();
        }
        if self.heartbeat_due().is_some_and(|due| due <= now) {
            self.begin_heartbeat(now);
        }
    }

    fn begin_finish(&mut self) {
        let mut bytes = 0;
        let fits = |report: &&Report| {
            let fits = bytes < BATCH.1;
            bytes += report.log.iter().map(|c| c.data.0.len()).sum::<usize>();
            bytes += report.result.as_ref().map_or(0, |result| result.0.len());
            fits
        };
        let count = self.reports.iter().take(self.batch).take_while(fits).count();
        let reports: Vec<Report> = self.reports.drain(..count).collect();
        let want = self.wants();
        self.wanted += want;
        self.is_reporting = true;
        // It does not wait for work: nobody could say whether the reports arrived while it does.
        let claim = (want > 0).then_some(ClaimRequest { want: want as u32, wait_ms: 0 });
        let (link, finish) = (self.link.clone(), Finish { reports, claim });
        self.calls.push(Box::pin(async move {
            let answer = within(Duration::ZERO, link.finish(&finish)).await;
            Answer::Finish { reports: finish.reports, want, answer }
        }));
    }

    fn begin_claim(&mut self) {
        let (want, wait, link) = (self.wants(), self.poll, self.link.clone());
        self.wanted += want;
        self.is_polling = true;
        let request = ClaimRequest { want: want as u32, wait_ms: wait.as_millis() as u64 };
        self.calls.push(Box::pin(async move {
            Answer::Claim { want, answer: within(wait, link.claim(&request)).await }
        }));
    }

    fn begin_release(&mut self) {
        let release = Release { holds: std::mem::take(&mut self.give_back), leave: self.is_done() };
        let link = self.link.clone();
        self.is_releasing = true;
        self.calls.push(Box::pin(async move {
            let answer = within(Duration::ZERO, link.release(&release)).await;
            Answer::Release { holds: release.holds, leave: release.leave, answer }
        }));
    }

    fn begin_heartbeat(&mut self, now: Instant) {
        for (_, running) in self.running.values_mut() {
            running.is_known = true;
        }
        let holds = self.holds().collect();
        let (wait, link) = (self.heartbeat, self.link.clone());
        let heartbeat = Heartbeat { holds, wait_ms: wait.as_millis() as u64 };
        self.last_heartbeat_at = now;
        self.heartbeat_at = now + wait;
        self.calls.push(Box::pin(async move {
            Answer::Heartbeat { sent_at: now, answer: within(wait, link.heartbeat(&heartbeat)).await }
        }));
    }

    /// Every attempt that is ours.
    fn holds(&self) -> impl Iterator<Item = Held> {
        let running = self.running.values().map(|(held, _)| *held);
        let waiting = self.backlog.iter().map(|(job, _)| job.held());
        running.chain(waiting).chain(self.reports.iter().map(|report| report.held))
    }

    /// When the next heartbeat is due; none while nothing is held: then waiting for work shows that we are there.
    fn heartbeat_due(&self) -> Option<Instant> {
        if self.holds().next().is_none() && !self.is_drained {
            return None;
        }
        let unknown = self.running.values().filter(|(_, r)| !r.is_known).map(|(_, r)| r.since).min();
        let first =
            unknown.map(|since| (since + WORTH_A_HEARTBEAT).max(self.last_heartbeat_at + HEARTBEAT_PAUSE));
        Some(first.map_or(self.heartbeat_at, |first| first.min(self.heartbeat_at)))
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Claim { want, answer } => {
                self.wanted -= want;
                self.is_polling = false;
                match answer {
                    Ok(claim) => {
                        self.went_well();
                        self.take(claim);
                    }
                    Err(error) => self.claim_failed(&error),
                }
            }
            Answer::Finish { reports, want, answer } => {
                self.wanted -= want;
                self.is_reporting = false;
                match answer {
                    Ok(answer) => {
                        self.went_well();
                        self.batch = (self.batch * 2).min(BATCH.0);
                        for held in answer.lost {
                            info!(task.id = %held.task, "the report of task {} came too late", held.task);
                        }
                        if want > 0 {
                            self.take(answer.claim);
                        }
                    }
                    Err(CallError::Refused { status, why }) if status < 500 => {
                        self.reports_refused(reports, &why);
                    }
                    Err(error) => {
                        for report in reports.into_iter().rev() {
                            self.reports.push_front(report);
                        }
                        match want {
                            0 => self.failed("report", &error),
                            _ => self.claim_failed(&error),
                        }
                    }
                }
            }
            Answer::Heartbeat { sent_at, answer } => match answer {
                Ok(answer) => {
                    self.went_well();
                    self.is_drained = answer.drain;
                    if !answer.lost.is_empty() || !answer.cancel.is_empty() {
                        // There may be more to come while this is dealt with.
                        self.heartbeat_at =
                            self.heartbeat_at.min(sent_at.max(Instant::now()) + HEARTBEAT_PAUSE);
                    }
                    self.lose(&answer.lost);
                    self.cancel(&answer.cancel);
                }
                Err(error) => {
                    self.heartbeat_at = Instant::now();
                    self.failed("heartbeat", &error);
                }
            },
            Answer::Release { holds, leave, answer } => {
                self.is_releasing = false;
                match answer {
                    Ok(()) => {
                        self.went_well();
                        self.has_left = leave;
                    }
                    Err(CallError::Refused { status, why }) if status < 500 => {
                        error!("the server refuses to take attempts back: {why}");
                        self.has_left = leave;
                    }
                    Err(error) => {
                        self.give_back.extend(holds);
                        self.failed("release", &error);
                    }
                }
            }
        }
    }

    fn went_well(&mut self) {
        self.failures = 0;
    }

    /// A call failed that may have brought work. If nobody knows what it did, work may be lost in it.
    fn claim_failed(&mut self, error: &CallError) {
        if matches!(error, CallError::Unknown(_)) && self.phase == Phase::Open {
            self.phase = Phase::Doubtful;
        }
        self.failed("claim", error);
    }

    fn failed(&mut self, what: &str, error: &CallError) {
        match error {
            CallError::Over => {
                if self.phase != Phase::Over {
                    warn!("the server has ended this runner's session; ending its attempts");
                }
                self.phase = Phase::Over;
                self.backlog.clear();
                self.reports.clear();
                self.give_back.clear();
                for (_, running) in self.running.values() {
                    running.commands.send_replace(Command::Abandon);
                }
            }
            CallError::Refused { why, .. } | CallError::Unknown(why) => {
                self.failures += 1;
                let pause = RETRY.0 * 2u32.saturating_pow(self.failures.min(10) - 1);
                self.retry_at = Instant::now() + pause.min(RETRY.1);
                match self.failures {
                    1 => debug!("{what} failed, trying again: {why}"),
                    3 => warn!("{what} failed three times, going on trying: {why}"),
                    _ => {}
                }
            }
        }
    }

    /// Reports that would be refused again: the one that is to blame is found, and what it carries is left out.
    fn reports_refused(&mut self, mut reports: Vec<Report>, why: &str) {
        match reports.as_mut_slice() {
            [report] if !report.log.is_empty() || report.result.is_some() => {
                error!(task.id = %report.held.task, "the server refuses a report, sending it without output: {why}");
                (report.log, report.result) = (Vec::new(), None);
                report.stderr_tail = Bytes::default();
            }
            [report] => {
                error!(task.id = %report.held.task, "the server refuses a report, giving the attempt back: {why}");
                self.give_back.push(report.held);
                reports.clear();
            }
            _ => self.batch = (reports.len() / 2).max(1),
        }
        for report in reports.into_iter().rev() {
            self.reports.push_front(report);
        }
    }

    // Time, and the end.

    /// Whether nothing is left to be done but to leave.
    fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Stopping | Phase::Doubtful)
            && self.running.is_empty()
            && self.backlog.is_empty()
            && self.reports.is_empty()
            && !self.is_reporting
    }

    fn has_ended(&self) -> bool {
        let is_hopeless = self.give_up_at.is_some_and(|at| Instant::now() >= at + GOODBYE);
        self.attempts.is_empty() && (self.has_left || self.phase == Phase::Over || is_hopeless)
    }

    fn wake_at(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let waits_to_retry = !self.calls.is_empty() || self.failures > 0;
        let calls = [
            self.heartbeat_due().map(|due| due.max(self.retry_at)),
            (waits_to_retry && self.retry_at > Instant::now()).then_some(self.retry_at),
            self.backlog.front().map(|(_, since)| *since + SLOT_LIMIT),
        ];
        let give_up = self.give_up_at.map(|at| if at > Instant::now() { at } else { at + GOODBYE });
        calls.into_iter().chain([give_up]).flatten().min().unwrap_or(far)
    }

    fn wake(&mut self) {
        let now = Instant::now();
        if self.give_up_at.is_some_and(|at| now >= at) {
            for (_, running) in self.running.values() {
                let is_told = *running.commands.borrow() >= Command::GiveBack;
                if !is_told {
                    running.commands.send_replace(Command::GiveBack);
                }
            }
        }
        while let Some((job, _)) = self.backlog.pop_front_if(|(_, since)| now >= *since + SLOT_LIMIT) {
            self.give_back.push(job.held());
        }
    }
}

/// The answer to a call that was asked to wait for `wait` at most.
async fn within<T>(
    wait: Duration,
    call: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, CallError> {
    match timeout(wait + CALL_LIMIT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(SessionError::Over)) => Err(CallError::Over),
        Ok(Err(SessionError::Call(error))) => Err(match error.status() {
            Some(status) if status < 500 || status == 503 => {
                CallError::Refused { status, why: error.to_string() }
            }
            _ => CallError::Unknown(error.to_string()),
        }),
        Err(_) => Err(CallError::Unknown("no answer".to_owned())),
    }
}
