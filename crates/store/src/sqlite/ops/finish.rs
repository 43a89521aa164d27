//! Ends of attempts as they are reported.

use windlass_model::exit::{Again, Verdict};
use windlass_model::time::Timestamp;

use super::ending::{self, Ended};
use crate::sqlite::work::{Stop, Work};
use crate::sqlite::writer::Operation;
use crate::types::{Finish, Finished};

pub(in crate::sqlite) struct FinishIfLeased(
    pub(in crate::sqlite) Vec<Finish>,
    pub(in crate::sqlite) Timestamp,
);

impl Operation for FinishIfLeased {
    type Answer = Vec<Finished>;

    fn rows(&self) -> usize {
        self.0.len()
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<Vec<Finished>, Stop> {
        let now = self.1;
        let mut answers = Vec::with_capacity(self.0.len());
        for finish in &self.0 {
            answers.push(write(work, finish, now)?);
        }
        Ok(answers)
    }
}

fn write(work: &mut Work<'_>, finish: &Finish, now: Timestamp) -> rusqlite::Result<Finished> {
    let Some(run) = work.current(finish.held) else { return Ok(Finished::LeaseLost) };
    if let Some(result) = &finish.result {
        ending::put_result(work, run.task.seq(), result)?;
    }
    let ended = Ended {
        outcome: &finish.outcome,
        msg: &finish.msg,
        usage: finish.usage,
        isolation: finish.isolation.as_ref(),
        log: finish.log.as_ref(),
        log_size_bytes: finish.log_size_bytes,
    };
    let cancelled;
    let mut verdict = &finish.verdict;
    if run.state.cancel_requested {
        cancelled = verdict.clone().unless_cancelled(true);
        verdict = &cancelled;
    }
    let losses = u32::from(matches!(verdict, Verdict::Again { why: Again::Lost, .. }));
    ending::end_attempt(work, &run, &ended, verdict, losses, now).map(Finished::Now)
}
