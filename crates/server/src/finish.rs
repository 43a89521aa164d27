//! The end of attempts: from a runner's facts to what is written.
//!
//! read what is known of the attempts -> decide by the rules of the model -> put what is large into blobs -> write,
//! each only if its lease holds.

use windlass_model::bytes::Bytes as Lossless;
use windlass_model::exit::{Exit, Outcome, Verdict};
use windlass_model::id::TaskId;
use windlass_model::lifecycle::conclude;
use windlass_model::log::{self, LogChunk, Stream};
use windlass_model::runner::{Held, Report};
use windlass_model::task::Stored;
use windlass_store::blob::Area;
use windlass_store::types::{Finish, Finished, LogBody, Partition};

use crate::api::logs::chunks;
use crate::app::App;
use crate::error::ApiError;
use crate::metrics::Ended;
use crate::sessions::Session;

impl App {
    /// Writes the reports. Returns the attempts whose lease had passed to another; of those nothing is kept.
    pub(crate) async fn finish(
        &self,
        session: &Session,
        reports: Vec<Report>,
    ) -> Result<Vec<Held>, ApiError> {
        let held: Vec<Held> = reports.iter().map(|r| r.held).collect();
        let leased = self.store.leased(&held).await?;
        let now = self.now();
        let (mut lost, mut finishes) = (Vec::new(), Vec::with_capacity(reports.len()));
        let mut compute_ms = Vec::with_capacity(reports.len());
        let ran = |report: &&Report| !matches!(report.exit, Exit::Unable(_) | Exit::NotStarted(_));
        self.clusters.took(&session.cluster, reports.iter().filter(ran).map(|report| report.usage.wall_ms));
        for (mut report, leased) in reports.into_iter().zip(leased) {
            let Some(mut leased) = leased else {
                lost.push(report.held);
                continue;
            };
            if let Exit::Unable(why) = &report.exit {
                leased.trial.unable = self.times_unable(report.held.task).await?;
                tracing::warn!(runner.id = %session.runner, task.id = %report.held.task,
                    "a runner could not run task {}: {why}", report.held.task);
            }
            let outcome = Outcome::Exited(report.exit.clone());
            let stderr = String::from_utf8_lossy(&report.stderr_tail.0);
            let verdict = conclude(leased.trial, &outcome, &stderr, leased.policy, self.ids.jitter(), now);
            let mut msg = match &verdict {
                Verdict::Final { msg, .. } => msg.clone().unwrap_or_default(),
                Verdict::Again { msg, .. } => msg.clone(),
            };
            let mut chunks = self.whole_log(session, leased.attempt, &mut report).await?;
            let result = report.result.take().map(|r| r.0);
            let result = match result {
                Some(result) if result.len() > self.config.result_bytes => {
                    let limit = self.config.result_bytes;
                    msg = format!(
                        "the result was left out: it has {} bytes, the limit is {limit}",
                        result.len()
                    );
                    chunks.push(note(&chunks, report.usage.wall_ms, &msg));
                    None
                }
                result => result,
            };
            compute_ms.push(report.usage.wall_ms);
            finishes.push(Finish {
                held: report.held,
                outcome,
                msg,
                usage: Some(report.usage),
                isolation: Some(report.isolation),
                verdict,
                log_size_bytes: log::size_bytes(&chunks),
                log: match chunks.is_empty() {
                    true => None,
                    false => Some(self.keep(report.held.task, log::encode(&chunks)).await?),
                },
                result: match result {
                    Some(result) => Some(self.keep(report.held.task, result).await?),
                    None => None,
                },
            });
        }
        let written: Vec<Held> = finishes.iter().map(|f| f.held).collect();
        if !finishes.is_empty() {
            let outcomes = self.store.finish_if_leased(finishes, now).await?;
            for ((held, finished), ms) in written.into_iter().zip(outcomes).zip(compute_ms) {
                match finished {
                    Finished::Now(status) => {
                        self.metrics.finished.get_or_create(&Ended { status: status.as_str() }).inc();
                        self.metrics.compute.inc_by(ms as f64 / 1000.0);
                    }
                    Finished::LeaseLost => lost.push(held),
                }
            }
        }
        self.metrics.refused.inc_by(lost.len() as u64);
        session.forget(held.iter());
        Ok(lost)
    }

    /// How many of the task's attempts their runners could not do their part for.
    pub(crate) async fn times_unable(&self, task: TaskId) -> Result<u32, ApiError> {
        let attempts = self.store.attempts(task).await?;
        let unable = attempts.iter().filter(|a| matches!(a.outcome, Outcome::Exited(Exit::Unable(_))));
        Ok(unable.count() as u32)
    }

    /// The chunks that were uploaded before and those of the report, each number once.
    async fn whole_log(
        &self,
        session: &Session,
        attempt: u32,
        report: &mut Report,
    ) -> Result<Vec<LogChunk>, ApiError> {
        let reported = std::mem::take(&mut report.log);
        // Most attempts are short: everything they wrote comes with the report, and there is nothing to look up.
        if reported.first().is_some_and(|c| c.n <= 1) || !session.may_have_log(report.held) {
            return Ok(reported);
        }
        let task = report.held.task;
        let mut whole = match self.store.log(task, Some(attempt), 0).await? {
            Some(part) if matches!(part.log, LogBody::Live(_)) => chunks(self, task, &part, 0).await?,
            _ => Vec::new(),
        };
        whole.extend(reported);
        // What came twice is the same both times; the sort is stable, so the first of them stays.
        whole.sort_by_key(|c| c.n);
        whole.dedup_by_key(|c| c.n);
        Ok(whole)
    }

    /// Keeps bytes with the row of a task, or as a blob if there are many.
    async fn keep(&self, task: TaskId, bytes: Vec<u8>) -> Result<Stored, ApiError> {
        if bytes.len() <= self.config.inline_bytes {
            return Ok(Stored::Inline(bytes));
        }
        let area = Area::Tasks(Partition::of(task));
        Ok(Stored::Blob(self.blobs.put(area, bytes.into()).await?))
    }
}

/// A line of our own at the end of a log.
fn note(chunks: &[LogChunk], wall_ms: u64, msg: &str) -> LogChunk {
    LogChunk {
        n: chunks.last().map_or(1, |c| c.n + 1),
        stream: Stream::System,
        at_ms: u32::try_from(wall_ms).unwrap_or(u32::MAX),
        data: Lossless(format!("windlass: {msg}\n").into_bytes()),
    }
}
