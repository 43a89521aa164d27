//! The calls of a session to its server: at most one of each kind is on its way, and none while the last one has just
//! failed.

use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};
use windlass_client::{RunnerSession, SessionError};
use windlass_model::runner::{
    Claim, ClaimRequest, Finish, FinishAnswer, Heartbeat, HeartbeatAnswer, Held, Release, Report,
};

use crate::load::Host;

/// Longest time a server may take for reports beyond what it was asked to wait: they may be large.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Longest time that anything else may take is a third of the lease, but not less than this.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);
/// Time before a call that failed is tried again, doubled each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A call that was answered, with what it was about.
pub(super) enum Answer {
    Claim(Result<Claim, CallError>),
    Finish { reports: Vec<Report>, want: usize, answer: Result<FinishAnswer, CallError> },
    Heartbeat { sent_at: Instant, answer: Result<HeartbeatAnswer, CallError> },
    Release { holds: Vec<Held>, leave: bool, answer: Result<(), CallError> },
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// The session is over.
    Over,
    /// The server did nothing of it.
    Refused { status: u16, why: String },
    /// Nobody knows what it did.
    Unknown(String),
}

type Call = Pin<Box<dyn Future<Output = (Answer, usize)> + Send>>;

/// The calls of a session.
pub(super) struct Calls {
    link: RunnerSession,
    /// Longest time a server may take for anything else: so much less than the lease that another one can be asked.
    patience: Duration,
    host: Host,
    /// Each with the tasks that it may bring.
    on_their_way: FuturesUnordered<Call>,
    wanted: usize,
    is_polling: bool,
    /// What the reports on their way are of.
    reporting: Vec<Held>,
    is_releasing: bool,
    failures: u32,
    retry_at: Instant,
}

impl Calls {
    pub(super) fn new(link: RunnerSession, lease: Duration) -> Self {
        Self {
            link,
            patience: (lease / 3).max(LEAST_PATIENCE),
            host: Host::new(),
            on_their_way: FuturesUnordered::new(),
            wanted: 0,
            is_polling: false,
            reporting: Vec::new(),
            is_releasing: false,
            failures: 0,
            retry_at: Instant::now(),
        }
    }

    /// Asks for up to `want` tasks and lets the server wait for `wait` until it has one; says whether the session
    /// `is_idle`.
    pub(super) fn claim(&mut self, want: usize, wait: Duration, is_idle: bool) {
        let (link, limit) = (self.link.clone(), self.patience);
        let wait_ms = wait.as_millis() as u64;
        let request = ClaimRequest { want: want as u32, wait_ms, is_idle, load: self.host.load() };
        self.wanted += want;
        self.is_polling = true;
        self.on_their_way.push(Box::pin(async move {
            (Answer::Claim(within(wait + limit, link.claim(&request)).await), want)
        }));
    }

    /// Reports, and asks for up to `want` tasks that are due at once.
    pub(super) fn finish(&mut self, reports: Vec<Report>, want: usize) {
        // It does not wait for work: nobody could say whether the reports arrived while it does.
        let claim =
            (want > 0).then_some(ClaimRequest { want: want as u32, wait_ms: 0, is_idle: false, load: None });
        let (link, finish) = (self.link.clone(), Finish { reports, claim });
        self.wanted += want;
        self.reporting = finish.reports.iter().map(|report| report.held).collect();
        self.on_their_way.push(Box::pin(async move {
            let answer = within(CALL_LIMIT, link.finish(&finish)).await;
            (Answer::Finish { reports: finish.reports, want, answer }, want)
        }));
    }

    /// Names everything that is held, and lets the server wait for `wait` until it has news.
    pub(super) fn heartbeat(&mut self, holds: Vec<Held>, wait: Duration) {
        let (link, limit) = (self.link.clone(), wait + self.patience);
        let heartbeat = Heartbeat { holds, wait_ms: wait.as_millis() as u64, load: self.host.load() };
        let sent_at = Instant::now();
        self.on_their_way.push(Box::pin(async move {
            (Answer::Heartbeat { sent_at, answer: within(limit, link.heartbeat(&heartbeat)).await }, 0)
        }));
    }

    /// Gives attempts back; ends the session if it is to `leave`.
    pub(super) fn release(&mut self, holds: Vec<Held>, leave: bool) {
        let (link, limit) = (self.link.clone(), self.patience);
        let release = Release { holds, leave };
        self.is_releasing = true;
        self.on_their_way.push(Box::pin(async move {
            let answer = within(limit, link.release(&release)).await;
            (Answer::Release { holds: release.holds, leave, answer }, 0)
        }));
    }

    /// The next answer; `None`: no call is on its way. May be dropped.
    pub(super) async fn next_answer(&mut self) -> Option<Answer> {
        let (answer, want) = self.on_their_way.next().await?;
        self.wanted -= want;
        match &answer {
            Answer::Claim(_) => self.is_polling = false,
            Answer::Finish { .. } => self.reporting.clear(),
            Answer::Release { .. } => self.is_releasing = false,
            Answer::Heartbeat { .. } => {}
        }
        Some(answer)
    }

    /// Tasks that calls on their way may bring.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Whether a claim waits at the server.
    pub(super) fn is_polling(&self) -> bool {
        self.is_polling
    }

    /// Whether reports are on their way.
    pub(super) fn is_reporting(&self) -> bool {
        !self.reporting.is_empty()
    }

    /// What they are of. It is held until they have arrived.
    pub(super) fn reporting(&self) -> &[Held] {
        &self.reporting
    }

    /// Whether attempts are on their way back.
    pub(super) fn is_releasing(&self) -> bool {
        self.is_releasing
    }

    /// Not before then, as a call has failed.
    pub(super) fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// When calls may begin again, if they may not now.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        let waits = !self.on_their_way.is_empty() || self.failures > 0;
        (waits && self.retry_at > Instant::now()).then_some(self.retry_at)
    }

    /// A call did what it was to do.
    pub(super) fn went_well(&mut self) {
        self.failures = 0;
    }

    /// It did not: the next ones wait, the longer the more have failed.
    pub(super) fn failed(&mut self, what: &str, why: &str) {
        self.failures += 1;
        let pause = RETRY.0 * 2u32.saturating_pow(self.failures.min(10) - 1);
        self.retry_at = Instant::now() + pause.min(RETRY.1).min(self.patience / 2);
        match self.failures {
            1 => debug!("{what} failed, trying again: {why}"),
            3 => warn!("{what} failed three times, going on trying: {why}"),
            _ => {}
        }
    }
}

/// The answer to a call, if it comes in time.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, CallError> {
    match timeout(limit, call).await {
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
