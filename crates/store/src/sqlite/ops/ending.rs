//! What follows from the end of an attempt, and the end of a task.

use rusqlite::params;
use windlass_model::exit::{Again, Outcome, Usage, Verdict};
use windlass_model::id::{Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::runner::Isolation;
use windlass_model::task::{Status, Stored, TaskState};
use windlass_model::time::Timestamp;

use super::enqueue;
use crate::sqlite::rows::{IdBytes, OutcomeValue, Run, StoredValue, int, json};
use crate::sqlite::window::Key;
use crate::sqlite::work::Work;
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

/// Writes the end of a running attempt and what follows for its task. `losses`: runners lost by it.
pub(super) fn end_attempt(
    work: &mut Work<'_>,
    run: &Run,
    ended: &Ended<'_>,
    verdict: &Verdict,
    losses: u32,
    now: Timestamp,
) -> rusqlite::Result<Status> {
    let seq = run.task.seq();
    work.forget_running(seq);
    work.write("DELETE FROM running WHERE seq = ?1")?.execute([seq.0])?;
    if run.has_chunks {
        work.write("DELETE FROM chunk WHERE seq = ?1")?.execute([seq.0])?;
    }
    let mut state = run.state.clone();
    state.log_size_bytes = ended.log_size_bytes;
    state.losses += losses;
    state.updated_at = now;
    let after = match verdict {
        Verdict::Final { status, msg, error_class } => {
            if let Some(msg) = msg {
                state.msg.clone_from(msg);
            }
            state.error_class.clone_from(error_class);
            finish_task(work, run.task, run.lane, &state, *status, Some((run.fence, ended)), now)?;
            *status
        }
        Verdict::Again { run_at, why, msg } => {
            insert_attempt(work, run, ended, now)?;
            state.run_at = *run_at;
            state.msg.clone_from(msg);
            state.retries += u32::from(*why == Again::Retry);
            work.put_waiting(seq, &state)?;
            enqueue::place(work, run.lane, Key { prank: run.prank, seq: seq.0 }, *run_at, now)?;
            Status::Queued
        }
    };
    work.count(run.lane, Some(Status::Running), Some(after), now);
    work.signal_task(run.task);
    let package = work.state.view.catalog.lanes()[run.lane].package;
    work.attempt_ended(package, run, ended.usage, now);
    if work.state.windows.stopped(package) {
        work.signal_package(package);
    }
    Ok(after)
}

/// Writes the end of a task; its key is in no other table any more. The last attempt is part of it.
pub(super) fn finish_task(
    work: &mut Work<'_>,
    task: TaskId,
    lane: usize,
    state: &TaskState,
    status: Status,
    last: Option<(Fence, &Ended<'_>)>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let tables = work.tables_or_create(Partition::of(task))?;
    let isolation = match last.and_then(|(_, ended)| ended.isolation) {
        Some(isolation) => Some(isolation_id(work, isolation)?),
        None => None,
    };
    let usage = last.and_then(|(_, ended)| ended.usage);
    work.write(&tables.insert_done)?.execute(params![
        task.seq().0,
        lane,
        status as u8,
        state.run_at.as_millis(),
        state.attempts,
        state.retries,
        state.losses,
        state.started_at.map(Timestamp::as_millis),
        now.as_millis(),
        state.percent,
        state.msg,
        state.error_class,
        state.runner.map(|id| IdBytes(id.0)),
        int(state.log_size_bytes),
        last.map(|(fence, _)| fence.0),
        last.map(|(_, ended)| OutcomeValue(ended.outcome)),
        last.map(|(_, ended)| ended.msg).filter(|msg| *msg != state.msg),
        usage.map(|u| int(u.wall_ms)),
        usage.map(|u| int(u.user_us)),
        usage.map(|u| int(u.system_us)),
        usage.map(|u| int(u.peak_memory_bytes)),
        isolation,
        last.and_then(|(_, ended)| ended.log).map(StoredValue),
    ])?;
    let package = work.state.view.catalog.lanes()[lane].package;
    work.task_ended(package, status, now);
    Ok(())
}

fn insert_attempt(work: &mut Work<'_>, run: &Run, ended: &Ended<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let tables = work.tables_or_create(Partition::of(run.task))?;
    let isolation = match ended.isolation {
        Some(isolation) => Some(isolation_id(work, isolation)?),
        None => None,
    };
    work.write(&tables.insert_attempt)?.execute(params![
        run.task.seq().0,
        run.state.attempts,
        run.state.runner.map(|id| IdBytes(id.0)),
        run.state.started_at.map(Timestamp::as_millis),
        now.as_millis(),
        int(ended.log_size_bytes),
        run.fence.0,
        OutcomeValue(ended.outcome),
        ended.msg,
        ended.usage.map(|u| int(u.wall_ms)),
        ended.usage.map(|u| int(u.user_us)),
        ended.usage.map(|u| int(u.system_us)),
        ended.usage.map(|u| int(u.peak_memory_bytes)),
        isolation,
        ended.log.map(StoredValue),
    ])?;
    Ok(())
}

/// The row of an isolation: there are as many as kinds of runner hosts, so attempts only name it.
fn isolation_id(work: &mut Work<'_>, isolation: &Isolation) -> rusqlite::Result<i64> {
    if let Some((_, id)) = work.state.isolations.iter().find(|(known, _)| known == isolation) {
        return Ok(*id);
    }
    let data = json(isolation);
    work.write("INSERT OR IGNORE INTO isolation(data) VALUES (?1)")?.execute([&data])?;
    let id = work.read("SELECT id FROM isolation WHERE data = ?1")?.query_row([&data], |row| row.get(0))?;
    work.state.isolations.push((isolation.clone(), id));
    Ok(id)
}

/// The result that a worker left.
pub(super) fn put_result(work: &mut Work<'_>, seq: Seq, result: &Stored) -> rusqlite::Result<()> {
    let tables = work.tables_or_create(Partition::at(seq.created_at()))?;
    work.write(&tables.put_result)?.execute(params![seq.0, StoredValue(result)])?;
    Ok(())
}
