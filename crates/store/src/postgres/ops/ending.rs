//! What follows from the ends of attempts, and the ends of tasks.

use std::collections::{BTreeMap, BTreeSet};

use windlass_model::exit::{Again, Outcome, Usage, Verdict};
use windlass_model::id::{RunnerId, TaskId};
use windlass_model::lease::Fence;
use windlass_model::runner::Isolation;
use windlass_model::task::{Status, Stored, TaskState};
use windlass_model::time::Timestamp;

use super::codes;
use super::enqueue::{Placed, place};
use crate::encoding::int;
use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows::{self, Lane, Run};
use crate::postgres::work::Work;
use crate::types::Partition;

/// What an attempt came to.
pub(super) struct Ended<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) msg: &'a str,
    pub(super) usage: Option<Usage>,
    pub(super) isolation: Option<&'a Isolation>,
    pub(super) log: Option<&'a Stored>,
    pub(super) log_size_bytes: u64,
}

/// The end of an attempt whose row in `running` is gone, and what follows.
pub(super) struct Ending<'a> {
    pub(super) run: Run,
    pub(super) ended: Ended<'a>,
    pub(super) verdict: Verdict,
    /// Runners lost by it.
    pub(super) losses: u32,
}

/// The end of a task. Its last attempt is part of it, if it ended by one.
pub(super) struct Final<'a> {
    pub(super) task: TaskId,
    pub(super) lane: Lane,
    pub(super) state: TaskState,
    pub(super) status: Status,
    pub(super) ended_at: Timestamp,
    pub(super) last: Option<(Fence, Ended<'a>)>,
}

/// An attempt that was not the last of its task.
pub(super) struct Past<'a> {
    pub(super) task: TaskId,
    pub(super) n: u32,
    pub(super) fence: Fence,
    pub(super) runner: Option<RunnerId>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Timestamp,
    pub(super) ended: Ended<'a>,
}

/// Writes the ends of attempts and what follows for their tasks; answers in order.
pub(super) async fn end(
    work: &mut Work<'_>,
    endings: Vec<Ending<'_>>,
    now: Timestamp,
) -> Result<Vec<Status>, Stop> {
    if endings.is_empty() {
        return Ok(Vec::new());
    }
    let chunks: Vec<i64> = endings.iter().map(|ending| ending.run.task.seq().0).collect();
    work.later("DELETE FROM chunk WHERE seq = ANY($1)", params![chunks]);
    let mut slots: BTreeMap<i32, i32> = BTreeMap::new();
    let (mut finals, mut attempts, mut waiting, mut placed) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut statuses = Vec::with_capacity(endings.len());
    for Ending { run, ended, verdict, losses } in endings {
        *slots.entry(run.lane.code).or_default() += 1;
        work.attempt_ended(&run, ended.usage, now);
        work.signal_task(run.task);
        let mut state = run.state.clone();
        state.log_size_bytes = ended.log_size_bytes;
        state.losses += losses;
        state.updated_at = now;
        let after = match verdict {
            Verdict::Final { status, msg, error_class } => {
                if let Some(msg) = msg {
                    state.msg = msg;
                }
                state.error_class = error_class;
                let last = Some((run.fence, ended));
                let (task, lane, ended_at) = (run.task, run.lane, now);
                finals.push(Final { task, lane, state, status, ended_at, last });
                status
            }
            Verdict::Again { run_at, why, msg } => {
                state.run_at = run_at;
                state.msg = msg;
                state.retries += u32::from(why == Again::Retry);
                placed.push(Placed { seq: run.task.seq().0, lane: run.lane, prank: run.prank, run_at });
                waiting.push((run.task.seq().0, state));
                attempts.push(Past {
                    task: run.task,
                    n: run.state.attempts,
                    fence: run.fence,
                    runner: run.state.runner,
                    started_at: run.state.started_at,
                    ended_at: now,
                    ended,
                });
                Status::Queued
            }
        };
        work.count(run.lane, Status::Running, -1, now);
        work.count(run.lane, after, 1, now);
        statuses.push(after);
    }
    finish_tasks(work, finals).await?;
    insert_attempts(work, attempts).await?;
    put_waiting(work, &waiting);
    place(work, &placed, now).await?;
    give_back(work, slots).await?;
    Ok(statuses)
}

/// Gives back slots; packages without a limit have none.
async fn give_back(work: &mut Work<'_>, slots: BTreeMap<i32, i32>) -> Result<(), Stop> {
    let has_limit =
        |code: &i32| work.state.known().package(*code).is_none_or(|code| code.max_concurrency.is_some());
    let limited: BTreeSet<i32> = slots.keys().copied().filter(has_limit).collect();
    let (codes, counts): (Vec<i32>, Vec<i32>) = slots.into_iter().unzip();
    let give_back = include_str!("../sql/give_back.sql");
    if limited.is_empty() {
        // Nobody is known to wait for one; another server may have set a limit just now.
        work.later(give_back, params![codes, counts]);
        return Ok(());
    }
    work.query(give_back, params![codes, counts]).await?;
    codes::signal_room(work, limited.into_iter().collect()).await
}

/// Writes the ends of tasks, before the commit; their keys are in no other table any more.
pub(super) async fn finish_tasks(work: &mut Work<'_>, finals: Vec<Final<'_>>) -> Result<(), Stop> {
    for done in &finals {
        work.task_ended(done.lane.code, done.status, done.ended_at);
    }
    insert_done(work, finals).await
}

/// The same for tasks whose ends are in all sums already.
pub(super) async fn insert_done(work: &mut Work<'_>, finals: Vec<Final<'_>>) -> Result<(), Stop> {
    let mut days: BTreeMap<Partition, Vec<Final<'_>>> = BTreeMap::new();
    for done in finals {
        days.entry(Partition::of(done.task)).or_default().push(done);
    }
    for (partition, done) in days {
        let tables = work.state.tables_or_create(partition).await?;
        let mut isolations = Vec::with_capacity(done.len());
        for done in &done {
            isolations.push(isolation(work, done.last.as_ref().map(|(_, ended)| ended)).await?);
        }
        macro_rules! column {
            (|$done:ident| $value:expr) => {
                done.iter().map(|$done| $value).collect::<Vec<_>>()
            };
        }
        let ended = |done: &Final<'_>| done.last.as_ref().and_then(|(_, ended)| ended.usage);
        work.later_on(
            &tables.insert_done,
            params![
                column!(|d| d.task.seq().0),
                column!(|d| d.lane.code),
                column!(|d| d.lane.cluster),
                column!(|d| d.status as i16),
                column!(|d| d.state.run_at.as_millis()),
                column!(|d| d.state.attempts as i32),
                column!(|d| d.state.retries as i32),
                column!(|d| d.state.losses as i32),
                column!(|d| d.state.started_at.map(Timestamp::as_millis)),
                column!(|d| d.ended_at.as_millis()),
                column!(|d| i16::from(d.state.percent)),
                column!(|d| text(&d.state.msg)),
                column!(|d| d.state.error_class.clone()),
                column!(|d| d.state.runner.map(|id| rows::id(id.0))),
                column!(|d| int(d.state.log_size_bytes)),
                column!(|d| d.last.as_ref().map(|(fence, _)| fence.0)),
                column!(|d| d.last.as_ref().map(|(_, ended)| rows::outcome(ended.outcome))),
                column!(|d| d.last.as_ref().map(|(_, e)| e.msg).filter(|msg| *msg != d.state.msg).map(text)),
                column!(|d| ended(d).map(|usage| int(usage.wall_ms))),
                column!(|d| ended(d).map(|usage| int(usage.user_us))),
                column!(|d| ended(d).map(|usage| int(usage.system_us))),
                column!(|d| ended(d).map(|usage| int(usage.peak_memory_bytes))),
                isolations,
                column!(|d| d.last.as_ref().and_then(|(_, ended)| ended.log).map(rows::stored)),
            ],
        );
    }
    Ok(())
}

/// Writes attempts, before the commit.
pub(super) async fn insert_attempts(work: &mut Work<'_>, attempts: Vec<Past<'_>>) -> Result<(), Stop> {
    let mut days: BTreeMap<Partition, Vec<Past<'_>>> = BTreeMap::new();
    for attempt in attempts {
        days.entry(Partition::of(attempt.task)).or_default().push(attempt);
    }
    for (partition, attempts) in days {
        let tables = work.state.tables_or_create(partition).await?;
        let mut isolations = Vec::with_capacity(attempts.len());
        for attempt in &attempts {
            isolations.push(isolation(work, Some(&attempt.ended)).await?);
        }
        macro_rules! column {
            (|$attempt:ident| $value:expr) => {
                attempts.iter().map(|$attempt| $value).collect::<Vec<_>>()
            };
        }
        work.later_on(
            &tables.insert_attempt,
            params![
                column!(|a| a.task.seq().0),
                column!(|a| a.n as i32),
                column!(|a| a.runner.map(|id| rows::id(id.0))),
                column!(|a| a.started_at.map(Timestamp::as_millis)),
                column!(|a| a.ended_at.as_millis()),
                column!(|a| int(a.ended.log_size_bytes)),
                column!(|a| a.fence.0),
                column!(|a| rows::outcome(a.ended.outcome)),
                column!(|a| text(a.ended.msg)),
                column!(|a| a.ended.usage.map(|usage| int(usage.wall_ms))),
                column!(|a| a.ended.usage.map(|usage| int(usage.user_us))),
                column!(|a| a.ended.usage.map(|usage| int(usage.system_us))),
                column!(|a| a.ended.usage.map(|usage| int(usage.peak_memory_bytes))),
                isolations,
                column!(|a| a.ended.log.map(rows::stored)),
            ],
        );
    }
    Ok(())
}

/// Writes how queued tasks stand that are not as they were when they were first queued, before the commit.
pub(super) fn put_waiting(work: &mut Work<'_>, waiting: &[(i64, TaskState)]) {
    if waiting.is_empty() {
        return;
    }
    macro_rules! column {
        (|$state:ident| $value:expr) => {
            waiting.iter().map(|(_, $state)| $value).collect::<Vec<_>>()
        };
    }
    work.later(
        include_str!("../sql/put_waiting.sql"),
        params![
            waiting.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
            column!(|s| s.run_at.as_millis()),
            column!(|s| s.attempts as i32),
            column!(|s| s.retries as i32),
            column!(|s| s.losses as i32),
            column!(|s| s.started_at.map(Timestamp::as_millis)),
            column!(|s| s.updated_at.as_millis()),
            column!(|s| i16::from(s.percent)),
            column!(|s| text(&s.msg)),
            column!(|s| s.runner.map(|id| rows::id(id.0))),
            column!(|s| int(s.log_size_bytes)),
        ],
    );
}

async fn isolation(work: &Work<'_>, ended: Option<&Ended<'_>>) -> Result<Option<i32>, Stop> {
    match ended.and_then(|ended| ended.isolation) {
        Some(isolation) => Ok(Some(work.state.isolation(isolation).await?)),
        None => Ok(None),
    }
}

/// Text as a column takes it: PostgreSQL has no place for the character 0, and what workers say may have it.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
