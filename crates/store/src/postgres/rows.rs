//! Between rows and the model.

use std::str::FromStr as _;

use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use windlass_model::code::BlobRef;
use windlass_model::exit::{Exit, Outcome, Usage};
use windlass_model::id::{Id, RunnerId, ScheduleId, Seq, TaskId};
use windlass_model::isolation::Level;
use windlass_model::lease::Fence;
use windlass_model::retry::RetryPolicy;
use windlass_model::runner::RunnerRecord;
use windlass_model::schedule::Schedule;
use windlass_model::task::{Attempt, NewTask, Priority, Status, Stored, Task, TaskState};
use windlass_model::time::Timestamp;
use windlass_model::trace::TraceParent;

use super::catalog::Catalog;
use super::fault::{Stop, damaged};
use crate::encoding::{ID_BYTES, id_from_bytes, id_to_bytes, json, status};

/// The tasks of one package for one cluster, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) code: i32,
    pub(super) cluster: i32,
}

/// One running attempt.
pub(super) type Run = crate::run::Run<Lane>;

/// An id as a column has it.
pub(super) fn id(id: Id) -> Vec<u8> {
    id_to_bytes(id).to_vec()
}

/// Ids one after the other.
pub(super) fn ids(ids: impl Iterator<Item = Id>) -> Vec<u8> {
    ids.flat_map(id_to_bytes).collect()
}

/// The ids that [`ids`] made a column of.
pub(super) fn ids_from(bytes: &[u8]) -> Result<Vec<Id>, Stop> {
    let (ids, rest) = bytes.as_chunks::<ID_BYTES>();
    match rest {
        [] => Ok(ids.iter().copied().map(id_from_bytes).collect()),
        _ => Err(damaged("a list of ids is not whole")),
    }
}

fn id_from(bytes: &[u8]) -> Result<Id, Stop> {
    let bytes = bytes.try_into().map_err(|_| damaged("an id is not whole"))?;
    Ok(id_from_bytes(bytes))
}

/// An id in a column.
pub(super) fn id_at(row: &Row, at: usize) -> Result<Option<Id>, Stop> {
    row.try_get::<_, Option<&[u8]>>(at)?.map(id_from).transpose()
}

fn some_id(row: &Row, at: usize) -> Result<Id, Stop> {
    id_from(row.try_get(at)?)
}

fn millis(row: &Row, at: usize) -> Result<Timestamp, Stop> {
    Ok(Timestamp::from_millis(row.try_get(at)?))
}

fn some_millis(row: &Row, at: usize) -> Result<Option<Timestamp>, Stop> {
    Ok(row.try_get::<_, Option<i64>>(at)?.map(Timestamp::from_millis))
}

/// A number that the model has no sign for.
pub(super) fn uint(row: &Row, at: usize) -> Result<u64, Stop> {
    Ok(u64::try_from(row.try_get::<_, i64>(at)?).unwrap_or(0))
}

/// The same as a smaller type.
pub(super) fn narrow<T: TryFrom<i64> + Default>(row: &Row, at: usize) -> Result<T, Stop> {
    Ok(T::try_from(row.try_get::<_, i64>(at)?).unwrap_or_default())
}

fn count(row: &Row, at: usize) -> Result<u32, Stop> {
    Ok(u32::try_from(row.try_get::<_, i32>(at)?).unwrap_or(0))
}

fn percent(row: &Row, at: usize) -> Result<u8, Stop> {
    Ok(u8::try_from(row.try_get::<_, i16>(at)?).unwrap_or(0))
}

/// A level of isolation by its number in a column.
pub(super) fn level_at(row: &Row, at: usize) -> Result<Level, Stop> {
    let number = usize::try_from(row.try_get::<_, i16>(at)?).unwrap_or(0);
    Ok(Level::ALL.get(number).copied().unwrap_or_default())
}

/// A status by its number in a column.
pub(super) fn status_at(row: &Row, at: usize) -> Result<Status, Stop> {
    Ok(status(usize::try_from(row.try_get::<_, i16>(at)?).unwrap_or(0)))
}

/// Something that serde reads, from its JSON.
pub(super) fn from_json<T: DeserializeOwned>(row: &Row, at: usize) -> Result<T, Stop> {
    from_text(row.try_get(at)?)
}

fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, Stop> {
    serde_json::from_str(text).map_err(|e| damaged(&e.to_string()))
}

/// A piece of data: a byte that says what follows, then the bytes themselves or where they are.
pub(super) fn stored(stored: &Stored) -> Vec<u8> {
    match stored {
        Stored::Inline(bytes) => [&[0], bytes.as_slice()].concat(),
        Stored::Blob(blob) => format!("\u{1}{}:{}", blob.sha256, blob.size_bytes).into_bytes(),
    }
}

/// The piece of data that [`stored`] made a column of.
pub(super) fn stored_from(bytes: &[u8]) -> Result<Stored, Stop> {
    match bytes {
        [0, bytes @ ..] => Ok(Stored::Inline(bytes.to_vec())),
        [1, text @ ..] => {
            let text = str::from_utf8(text).ok();
            let blob = text.and_then(|text| text.split_once(':')).and_then(|(sha256, size)| {
                Some(BlobRef { sha256: sha256.to_owned(), size_bytes: u64::from_str(size).ok()? })
            });
            blob.map(Stored::Blob).ok_or_else(|| damaged("the name of a blob is not whole"))
        }
        _ => Err(damaged("a piece of data is not whole")),
    }
}

/// An outcome: the exit code where the process ended by itself, JSON for everything else.
pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(Exit::Code(code)) => code.to_string(),
        outcome => json(outcome),
    }
}

fn outcome_from(text: &str) -> Result<Outcome, Stop> {
    match text.parse() {
        Ok(code) => Ok(Outcome::Exited(Exit::Code(code))),
        Err(_) => from_text(text),
    }
}

/// A task from the columns of `task.sql`. `None` if the catalog does not know its package: it is older than the row.
pub(super) fn task(row: &Row, catalog: &Catalog) -> Result<Option<Task>, Stop> {
    let Some(code) = catalog.package(row.try_get(2)?) else { return Ok(None) };
    let new = NewTask {
        id: TaskId::new(Seq(row.try_get(0)?), narrow(row, 1)?),
        project: code.project,
        code: code.id,
        rev: count(row, 3)?,
        priority: Priority::new(2 - i64::from(row.try_get::<_, i16>(4)?)).unwrap_or_default(),
        created_at: millis(row, 5)?,
        run_at: millis(row, 6)?,
        timeout_s: narrow(row, 7)?,
        retry: RetryPolicy { retries: narrow(row, 8)?, delay_ms: uint(row, 9)? },
        cluster: row.try_get(31)?,
        label: row.try_get(10)?,
        schedule: id_at(row, 11)?.map(ScheduleId),
        parent: id_at(row, 12)?.map(TaskId),
        retry_of: id_at(row, 13)?.map(TaskId),
        payload: row.try_get(14)?,
        trace: trace(row, 29)?,
    };
    let state = TaskState {
        status: status_at(row, 15)?,
        run_at: millis(row, 16)?,
        attempts: count(row, 17)?,
        retries: count(row, 18)?,
        losses: count(row, 19)?,
        started_at: some_millis(row, 20)?,
        ended_at: some_millis(row, 21)?,
        updated_at: millis(row, 22)?,
        percent: percent(row, 23)?,
        msg: row.try_get(24)?,
        error_class: row.try_get(25)?,
        runner: id_at(row, 26)?.map(RunnerId),
        log_size_bytes: uint(row, 27)?,
        cancel_requested: row.try_get(28)?,
    };
    Ok(Some(Task { new, state }))
}

/// The lane of a task, from the columns of `task.sql`.
pub(super) fn lane(row: &Row) -> Result<Lane, Stop> {
    Ok(Lane { code: row.try_get(2)?, cluster: row.try_get(30)? })
}

fn trace(row: &Row, at: usize) -> Result<Option<TraceParent>, Stop> {
    let Some(bytes) = row.try_get::<_, Option<&[u8]>>(at)? else { return Ok(None) };
    let bytes = bytes.try_into().map_err(|_| damaged("a trace is not whole"))?;
    Ok(Some(TraceParent::from_bytes(bytes)))
}

/// The columns that [`run`] reads.
pub(super) const RUN: &str = "r.seq, r.run_at, r.attempts, r.retries, r.losses, r.started, r.updated, r.percent, r.msg, \
     r.runner, r.log_size, r.cancel_requested, r.fence, r.tag, r.code, r.cluster, r.prank, r.max_retries, r.retry_delay, \
     r.schedule";

/// A running attempt from the columns of [`RUN`].
pub(super) fn run(row: &Row) -> Result<Run, Stop> {
    let state = TaskState {
        status: Status::Running,
        run_at: millis(row, 1)?,
        attempts: count(row, 2)?,
        retries: count(row, 3)?,
        losses: count(row, 4)?,
        started_at: some_millis(row, 5)?,
        ended_at: None,
        updated_at: millis(row, 6)?,
        percent: percent(row, 7)?,
        msg: row.try_get(8)?,
        error_class: None,
        runner: Some(RunnerId(some_id(row, 9)?)),
        log_size_bytes: uint(row, 10)?,
        cancel_requested: row.try_get(11)?,
    };
    Ok(Run {
        task: TaskId::new(Seq(row.try_get(0)?), narrow(row, 13)?),
        lane: Lane { code: row.try_get(14)?, cluster: row.try_get(15)? },
        prank: percent(row, 16)?,
        fence: Fence(row.try_get(12)?),
        policy: RetryPolicy { retries: narrow(row, 17)?, delay_ms: uint(row, 18)? },
        schedule: id_at(row, 19)?.map(ScheduleId),
        has_chunks: true,
        state,
    })
}

/// An attempt from the columns of `attempts.sql`.
pub(super) fn attempt(row: &Row) -> Result<Attempt, Stop> {
    let usage = match row.try_get::<_, Option<i64>>(8)? {
        None => None,
        Some(_) => Some(Usage {
            wall_ms: uint(row, 8)?,
            user_us: uint(row, 9)?,
            system_us: uint(row, 10)?,
            peak_memory_bytes: uint(row, 11)?,
        }),
    };
    Ok(Attempt {
        n: count(row, 0)?,
        runner: RunnerId(some_id(row, 1)?),
        started_at: millis(row, 2)?,
        ended_at: millis(row, 3)?,
        log_size_bytes: uint(row, 4)?,
        fence: Fence(row.try_get(5)?),
        outcome: outcome_from(row.try_get(6)?)?,
        msg: row.try_get(7)?,
        usage,
        isolation: row.try_get::<_, Option<&str>>(12)?.map(from_text).transpose()?,
        log: row.try_get::<_, Option<&[u8]>>(13)?.map(stored_from).transpose()?,
    })
}

/// A schedule from its columns `data` and `payload`.
pub(super) fn schedule(row: &Row) -> Result<Schedule, Stop> {
    let mut schedule: Schedule = from_json(row, 0)?;
    schedule.template.payload = row.try_get(1)?;
    Ok(schedule)
}

/// A runner session from its columns `data`, `seen_at`, `is_draining` and `gone_at`.
pub(super) fn session(row: &Row) -> Result<RunnerRecord, Stop> {
    let record: RunnerRecord = from_json(row, 0)?;
    Ok(RunnerRecord {
        seen_at: millis(row, 1)?,
        is_draining: row.try_get(2)?,
        gone_at: some_millis(row, 3)?,
        ..record
    })
}
