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
//!   wait for a slot after all is given back. As long as some wait here, no slot depends on a report, and a few that
//!   end within milliseconds share a call.
//! - A claim whose answer was lost may have handed out tasks that nobody knows of. The session then takes no more,
//!   ends what it has and leaves, which gives them back; another session takes its place meanwhile.
//!
//! | module | holds |
//! |---|---|
//! | [`attempts`] | what the session holds, from the claim until the server knows what became of it |
//! | [`calls`] | what it says to the server, and when that may be said again after a failure |
//! | here | what is to be done next |

mod attempts;
mod calls;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};
use windlass_client::RunnerSession;
use windlass_model::bytes::Bytes;
use windlass_model::runner::{Claim, Held, Registered, Report};

use self::attempts::Attempts;
use self::calls::{Answer, CallError, Calls};
use crate::run::Bench;
use crate::slots::Slots;

/// Longest time a claim waits at the server, as a share of the lease: the wait is a sign of life, too.
const POLL_PER_LEASE: (u32, u32) = (2, 3);
/// An attempt that runs for so long is worth a heartbeat of its own, so that a cancel finds it at once.
const WORTH_A_HEARTBEAT: Duration = Duration::from_secs(1);
/// Least time between two heartbeats.
const HEARTBEAT_PAUSE: Duration = Duration::from_millis(500);
/// Most reports in one call, and most bytes of output and results in it.
const BATCH: (usize, usize) = (64, 8 * 1024 * 1024);
/// A report waits for others to share its call until there are so many of them, or for so long; a call costs as much as
/// all else that a runner does for a short task.
const SHARED: (usize, Duration) = (16, Duration::from_millis(8));
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

/// One session with a server.
pub(crate) struct Session {
    attempts: Attempts,
    calls: Calls,
    lost: mpsc::UnboundedReceiver<Vec<Held>>,
    poll: Duration,
    heartbeat: Duration,

    phase: Phase,
    /// An operator asked the runner to take no more for now.
    is_drained: bool,
    has_left: bool,
    heartbeat_at: Instant,
    last_heartbeat_at: Instant,
    /// Most reports in the next call.
    batch: usize,
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
        let (now, lease) = (Instant::now(), Duration::from_millis(registered.lease_ms));
        Self {
            attempts: Attempts::new(bench, slots),
            calls: Calls::new(link, lease),
            lost,
            poll: lease * POLL_PER_LEASE.0 / POLL_PER_LEASE.1,
            heartbeat: Duration::from_millis(registered.heartbeat_ms.max(10)),
            phase: Phase::Open,
            is_drained: false,
            has_left: false,
            heartbeat_at: now,
            last_heartbeat_at: now,
            batch: BATCH.0,
            give_up_at: None,
        }
    }

    /// Works until the session has ended. `closed` is told as soon as it takes no more tasks for a reason that
    /// another session has not.
    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<Stopping>, closed: watch::Sender<bool>) {
        self.stop_if_told(*stopping.borrow_and_update());
        loop {
            self.attempts.start_backlog();
            self.begin_calls();
            if matches!(self.phase, Phase::Doubtful | Phase::Over) {
                closed.send_replace(true);
            }
            if self.has_ended() {
                return;
            }
            let (wake_at, may_claim) = (self.wake_at(), self.may_claim());
            let slots = self.attempts.slots.clone();
            tokio::select! {
                Some(answer) = self.calls.next_answer() => self.answered(answer),
                Some(()) = self.attempts.next_end() => {}
                Some(lost) = self.lost.recv() => self.attempts.lose(&lost),
                Ok(()) = stopping.changed() => self.stop_if_told(*stopping.borrow_and_update()),
                () = slots.freed.notified(), if may_claim => {}
                () = sleep_until(wake_at) => self.wake(),
            }
        }
    }

    fn stop_if_told(&mut self, stopping: Stopping) {
        let Stopping::By(deadline) = stopping else { return };
        if self.phase == Phase::Open {
            self.phase = Phase::Stopping;
        }
        self.attempts.give_back_backlog();
        self.give_up_at = Some(deadline);
        self.wake();
    }

    // Calls that are due.

    fn may_claim(&self) -> bool {
        self.phase == Phase::Open && !self.is_drained
    }

    /// Tasks that are here or on their way and whose process has not ended.
    fn load(&self) -> usize {
        self.attempts.load() + self.calls.wanted()
    }

    /// How many more tasks can be used, beyond those that are here or on their way.
    fn wants(&self) -> usize {
        if !self.may_claim() {
            return 0;
        }
        (self.attempts.slots.total() + self.attempts.ahead()).saturating_sub(self.load())
    }

    fn begin_calls(&mut self) {
        let now = Instant::now();
        if matches!(self.phase, Phase::Over) || self.has_left || now < self.calls.retry_at() {
            return;
        }
        if !self.calls.is_reporting() && self.reports_due().is_some_and(|due| due <= now) {
            let (reports, want) = (self.next_reports(), self.wants());
            self.calls.finish(reports, want);
        }
        let has_free_slot = self.attempts.slots.total() > self.load();
        let want = self.wants();
        if !self.calls.is_polling() && has_free_slot && want > 0 {
            let is_idle = self.attempts.is_empty() && !self.calls.is_reporting() && self.calls.wanted() == 0;
            self.calls.claim(want, self.poll, is_idle);
        }
        if !self.calls.is_releasing() && (!self.attempts.give_back.is_empty() || self.is_done()) {
            let leave = self.is_done();
            self.calls.release(std::mem::take(&mut self.attempts.give_back), leave);
        }
        if self.heartbeat_due().is_some_and(|due| due <= now) {
            self.attempts.named();
            self.last_heartbeat_at = now;
            self.heartbeat_at = now + self.heartbeat;
            let reporting = self.calls.reporting().iter().copied();
            let holds = self.attempts.holds().chain(reporting).collect();
            self.calls.heartbeat(holds, self.heartbeat);
        }
    }

    /// When the reports that are there are to go out; none: there are none.
    fn reports_due(&self) -> Option<Instant> {
        let since = self.attempts.reports_since()?;
        let is_urgent = self.phase != Phase::Open
            || self.attempts.reports.len() >= SHARED.0
            || self.attempts.load() <= self.attempts.slots.total();
        Some(if is_urgent { since } else { since + SHARED.1 })
    }

    /// As many as one call is to carry.
    fn next_reports(&mut self) -> Vec<Report> {
        let mut bytes = 0;
        let fits = |report: &&Report| {
            let fits = bytes < BATCH.1;
            bytes += report.log.iter().map(|c| c.data.0.len()).sum::<usize>();
            bytes += report.result.as_ref().map_or(0, |result| result.0.len());
            fits
        };
        let count = self.attempts.reports.iter().take(self.batch).take_while(fits).count();
        self.attempts.take_reports(count)
    }

    /// When the next heartbeat is due; none while nothing is held: then waiting for work shows that we are there.
    fn heartbeat_due(&self) -> Option<Instant> {
        if self.attempts.is_empty() && !self.is_drained {
            return None;
        }
        let first = self.attempts.unnamed_since();
        let first =
            first.map(|since| (since + WORTH_A_HEARTBEAT).max(self.last_heartbeat_at + HEARTBEAT_PAUSE));
        Some(first.map_or(self.heartbeat_at, |first| first.min(self.heartbeat_at)))
    }

    // Their answers.

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Claim(Ok(claim)) => {
                self.calls.went_well();
                self.take(claim);
            }
            Answer::Claim(Err(error)) => self.claim_failed(&error),
            Answer::Finish { want, answer: Ok(answer), .. } => {
                self.calls.went_well();
                self.batch = (self.batch * 2).min(BATCH.0);
                for held in answer.lost {
                    info!(task.id = %held.task, "the report of task {} came too late", held.task);
                }
                if want > 0 {
                    self.take(answer.claim);
                }
            }
            Answer::Finish { reports, answer: Err(CallError::Refused { status, why }), .. }
                if status < 500 =>
            {
                self.reports_refused(reports, &why);
            }
            Answer::Finish { reports, want, answer: Err(error) } => {
                self.attempts.report_again(reports);
                match want {
                    0 => self.failed("report", &error),
                    _ => self.claim_failed(&error),
                }
            }
            Answer::Heartbeat { sent_at, answer: Ok(answer) } => {
                self.calls.went_well();
                self.is_drained = answer.drain;
                if !answer.lost.is_empty() || !answer.cancel.is_empty() {
                    // There may be more to come while this is dealt with.
                    self.heartbeat_at = self.heartbeat_at.min(sent_at.max(Instant::now()) + HEARTBEAT_PAUSE);
                }
                self.attempts.lose(&answer.lost);
                self.attempts.cancel(&answer.cancel);
            }
            Answer::Heartbeat { answer: Err(error), .. } => {
                self.heartbeat_at = Instant::now();
                self.failed("heartbeat", &error);
            }
            Answer::Release { leave, answer: Ok(()), .. } => {
                self.calls.went_well();
                self.has_left = leave;
            }
            Answer::Release { leave, answer: Err(CallError::Refused { status, why }), .. }
                if status < 500 =>
            {
                error!("the server refuses to take attempts back: {why}");
                self.has_left = leave;
            }
            Answer::Release { holds, answer: Err(error), .. } => {
                self.attempts.give_back.extend(holds);
                self.failed("release", &error);
            }
        }
    }

    fn take(&mut self, claim: Claim) {
        self.is_drained = claim.drain;
        if !claim.tasks.is_empty() && self.attempts.is_empty() {
            // The claim was a sign of life; most tasks will have ended before another is needed.
            self.heartbeat_at = self.heartbeat_at.max(Instant::now() + WORTH_A_HEARTBEAT);
        }
        self.attempts.take(claim, self.phase == Phase::Open);
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
                self.attempts.lose_all();
            }
            CallError::Refused { why, .. } | CallError::Unknown(why) => self.calls.failed(what, why),
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
                self.attempts.give_back.push(report.held);
                reports.clear();
            }
            _ => self.batch = (reports.len() / 2).max(1),
        }
        self.attempts.report_again(reports);
    }

    // Time, and the end.

    /// Whether nothing is left to be done but to leave.
    fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Stopping | Phase::Doubtful)
            && self.attempts.is_empty()
            && !self.calls.is_reporting()
    }

    fn has_ended(&self) -> bool {
        let is_hopeless = self.give_up_at.is_some_and(|at| Instant::now() >= at + GOODBYE);
        !self.attempts.is_running() && (self.has_left || self.phase == Phase::Over || is_hopeless)
    }

    fn wake_at(&self) -> Instant {
        let give_up = self.give_up_at.map(|at| if at > Instant::now() { at } else { at + GOODBYE });
        [
            self.heartbeat_due().map(|due| due.max(self.calls.retry_at())),
            self.calls.paused_until(),
            self.reports_due()
                .filter(|_| !self.calls.is_reporting())
                .map(|due| due.max(self.calls.retry_at())),
            self.attempts.late_at(),
            give_up,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    fn wake(&mut self) {
        if self.give_up_at.is_some_and(|at| Instant::now() >= at) {
            self.attempts.give_back_running();
        }
        self.attempts.give_back_late();
    }
}
