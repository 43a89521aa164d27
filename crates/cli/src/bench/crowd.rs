//! Runners that run nothing: they speak the protocol, and say at once that what they were handed has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windlass_client::Client;
use windlass_client::RunnerSession;
use windlass_model::exit::{Exit, Usage};
use windlass_model::isolation::{Isolation, Level};
use windlass_model::runner::{Assignment, Claim, ClaimRequest, Finish, Heartbeat, Held, Register, Report};

/// Registers `count` runners with as many slots each; they use the servers behind `clients` in turn.
pub(super) async fn register(
    clients: &[Client],
    count: usize,
    slots: u32,
) -> Result<Vec<(RunnerSession, Duration)>> {
    let one = |n: usize| async move {
        let name = format!("crowd-{n}");
        let about = Register {
            instance: format!("{name}-{}", std::process::id()),
            name,
            cluster: "default".to_owned(),
            slots,
            labels: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            isolation: Isolation::new(Level::Process, Vec::new()),
        };
        let (session, told) = clients[n % clients.len()].register_runner(&about).await?;
        Ok::<_, anyhow::Error>((session, Duration::from_millis(told.heartbeat_ms)))
    };
    let mut sessions = Vec::with_capacity(count);
    for start in (0..count).step_by(50) {
        sessions.extend(try_join_all((start..count.min(start + 50)).map(one)).await?);
    }
    Ok(sessions)
}

fn ended(task: &Assignment) -> Report {
    Report {
        held: Held { task: task.task, fence: task.fence },
        exit: Exit::Code(0),
        usage: Usage { wall_ms: 1, user_us: 400, system_us: 600, peak_memory_bytes: 1 << 20 },
        isolation: Isolation::new(Level::Process, Vec::new()),
        log: Vec::new(),
        stderr_tail: windlass_model::bytes::Bytes::default(),
        result: None,
    }
}

/// Claims `want` tasks at a time with each session and finishes them, with the claim of the next ones in the same call,
/// for `time`. Tasks finished per second; the queue must not run dry before.
pub(super) async fn drain(sessions: &[RunnerSession], want: u32, time: Duration) -> Result<f64> {
    let start = Instant::now();
    let one = |session: RunnerSession| async move {
        let request = ClaimRequest { want, wait_ms: 0, is_idle: false, load: None };
        let mut claim = session.claim(&request).await?;
        let mut done = 0;
        while !claim.tasks.is_empty() {
            let reports: Vec<Report> = claim.tasks.iter().map(ended).collect();
            let next = (start.elapsed() < time).then_some(request);
            done += reports.len();
            let answer = session.finish(&Finish { reports, claim: next }).await?;
            done -= answer.lost.len();
            claim = answer.claim;
        }
        Ok::<_, anyhow::Error>(done)
    };
    let workers: Vec<_> = sessions.iter().map(|session| tokio::spawn(one(session.clone()))).collect();
    let mut done = 0;
    for worker in workers {
        done += worker.await.context("a simulated runner panicked")??;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// Runners that wait for tasks and finish them as they come, and send heartbeats, until this is stopped.
#[derive(Debug)]
pub(super) struct Crowd {
    stop: CancellationToken,
    workers: Vec<JoinHandle<Result<()>>>,
    finished: Arc<AtomicUsize>,
}

impl Crowd {
    /// Starts them; `seen` hears of each task as it arrives.
    pub(super) fn start(
        sessions: Vec<(RunnerSession, Duration)>,
        want: u32,
        seen: impl Fn(&Assignment) + Clone + Send + Sync + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let finished = Arc::new(AtomicUsize::new(0));
        let count = sessions.len().max(1) as u32;
        let mut workers = Vec::with_capacity(2 * sessions.len());
        for (n, (session, every)) in sessions.into_iter().enumerate() {
            // As runners that started at different times do.
            let first = every * n as u32 / count;
            let beats = beat(session.clone(), every, first, stop.clone());
            let work = work(session, want, seen.clone(), finished.clone(), stop.clone());
            workers.extend([tokio::spawn(beats), tokio::spawn(work)]);
        }
        Self { stop, workers, finished }
    }

    /// Tasks finished so far.
    pub(super) fn finished(&self) -> usize {
        self.finished.load(Ordering::Relaxed)
    }

    /// Stops them. An error is the first one that any of them met.
    pub(super) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        for worker in self.workers {
            worker.await.context("a simulated runner panicked")??;
        }
        Ok(())
    }
}

async fn beat(
    session: RunnerSession,
    every: Duration,
    first: Duration,
    stop: CancellationToken,
) -> Result<()> {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, every);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        // What is held for a moment only is not worth telling: the lease is the session's.
        session.heartbeat(&Heartbeat::default()).await?;
    }
    Ok(())
}

async fn work(
    session: RunnerSession,
    want: u32,
    seen: impl Fn(&Assignment),
    finished: Arc<AtomicUsize>,
    stop: CancellationToken,
) -> Result<()> {
    let request = ClaimRequest { want, wait_ms: 30_000, is_idle: false, load: None };
    let mut claim = Claim::default();
    loop {
        claim.tasks.iter().for_each(&seen);
        let reports: Vec<Report> = claim.tasks.iter().map(ended).collect();
        let count = reports.len();
        let call = async {
            Ok::<_, anyhow::Error>(match count {
                0 => session.claim(&request).await?,
                _ => session.finish(&Finish { reports, claim: None }).await.map(|answer| answer.claim)?,
            })
        };
        match stop.run_until_cancelled(call).await {
            Some(next) => claim = next?,
            None => return Ok(()),
        }
        finished.fetch_add(count, Ordering::Relaxed);
    }
}
