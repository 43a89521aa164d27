//! Between rows and the model.

use std::str::FromStr as _;

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use serde::de::DeserializeOwned;
use windlass_model::code::BlobRef;
use windlass_model::exit::{Exit, Outcome, Usage};
use windlass_model::id::{Id, RunnerId, ScheduleId, Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::retry::RetryPolicy;
use windlass_model::schedule::Schedule;
use windlass_model::task::{Attempt, NewTask, Priority, Status, Stored, Task, TaskState};
use windlass_model::time::Timestamp;
use windlass_model::trace::TraceParent;

use super::catalog::Catalog;
use crate::encoding::{ID_BYTES, id_from_bytes, id_to_bytes};
pub(super) use crate::encoding::{int, json, prank, status, status_number};
pub(super) use crate::run::Run;

/// An id in 12 bytes that sort as the id does.
pub(super) struct IdBytes(pub(super) Id);

impl ToSql for IdBytes {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Blob(id_to_bytes(self.0).to_vec())))
    }
}

impl FromSql for IdBytes {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
        Ok(IdBytes(id_from_bytes(bytes)))
    }
}

/// Ids one after the other.
pub(super) struct IdList(pub(super) Vec<Id>);

impl ToSql for IdList {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Blob(self.0.iter().copied().flat_map(id_to_bytes).collect())))
    }
}

impl FromSql for IdList {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let (ids, rest) = value.as_blob()?.as_chunks::<ID_BYTES>();
        if !rest.is_empty() {
            return Err(FromSqlError::InvalidType);
        }
        Ok(IdList(ids.iter().copied().map(id_from_bytes).collect()))
    }
}

/// An instant as milliseconds.
pub(super) struct Millis(pub(super) Timestamp);

impl ToSql for Millis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Integer(self.0.as_millis())))
    }
}

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(|ms| Millis(Timestamp::from_millis(ms)))
    }
}

/// A piece of data: bytes where it is inline, the text `sha256:size` where it is a blob elsewhere.
pub(super) struct StoredValue<T>(pub(super) T);

impl ToSql for StoredValue<&Stored> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Stored::Inline(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Stored::Blob(blob) => {
                ToSqlOutput::Owned(Value::Text(format!("{}:{}", blob.sha256, blob.size_bytes)))
            }
        })
    }
}

impl FromSql for StoredValue<Stored> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => Ok(StoredValue(Stored::Inline(bytes.to_vec()))),
            value => {
                let (sha256, size) = value.as_str()?.split_once(':').ok_or(FromSqlError::InvalidType)?;
                let size_bytes = u64::from_str(size).map_err(|_| FromSqlError::InvalidType)?;
                Ok(StoredValue(Stored::Blob(BlobRef { sha256: sha256.to_owned(), size_bytes })))
            }
        }
    }
}

/// An outcome: the exit code where the process ended by itself, JSON for everything else.
pub(super) struct OutcomeValue<T>(pub(super) T);

impl ToSql for OutcomeValue<&Outcome> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match self.0 {
            Outcome::Exited(Exit::Code(code)) => Value::Integer(i64::from(*code)),
            outcome => Value::Text(json(outcome)),
        }))
    }
}

impl FromSql for OutcomeValue<Outcome> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(code) => i32::try_from(code)
                .map(|code| OutcomeValue(Outcome::Exited(Exit::Code(code))))
                .map_err(|_| FromSqlError::OutOfRange(code)),
            value => from_json(value).map(OutcomeValue),
        }
    }
}

/// Something that serde reads, from a JSON column.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        from_json(value).map(Json)
    }
}

fn from_json<T: DeserializeOwned>(value: ValueRef<'_>) -> FromSqlResult<T> {
    serde_json::from_str(value.as_str()?).map_err(|e| FromSqlError::Other(Box::new(e)))
}

pub(super) fn uint(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0))
}

fn id_at(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Id>> {
    row.get::<_, Option<IdBytes>>(at).map(|id| id.map(|IdBytes(id)| id))
}

fn at(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<Millis>>(at).map(|ms| ms.map(|Millis(ms)| ms))
}

fn instant(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    row.get::<_, Millis>(at).map(|Millis(ms)| ms)
}

/// A task from the columns of `task.sql`, and its lane; the payload is missing where the flag says so.
///
/// `None` if the catalog does not know its lane: it is older than the row, which nobody was told of then.
pub(super) fn task(row: &Row<'_>, catalog: &Catalog) -> rusqlite::Result<Option<(Task, usize, bool)>> {
    let seq = Seq(row.get(0)?);
    let number = row.get::<_, usize>(2)?;
    let Some(lane) = catalog.lane(number) else { return Ok(None) };
    let payload = row.get::<_, Option<Vec<u8>>>(14)?;
    let is_large = payload.is_none();
    let new = NewTask {
        id: TaskId::new(seq, row.get(1)?),
        project: lane.project,
        code: lane.code,
        rev: row.get(3)?,
        priority: Priority::new(2 - row.get::<_, i64>(4)?).unwrap_or_default(),
        created_at: instant(row, 5)?,
        run_at: instant(row, 6)?,
        timeout_s: row.get(7)?,
        retry: RetryPolicy { retries: row.get(8)?, delay_ms: uint(row, 9)? },
        cluster: lane.cluster.to_string(),
        label: row.get(10)?,
        schedule: id_at(row, 11)?.map(ScheduleId),
        parent: id_at(row, 12)?.map(TaskId),
        retry_of: id_at(row, 13)?.map(TaskId),
        trace: row.get::<_, Option<_>>(29)?.map(TraceParent::from_bytes),
        payload: payload.unwrap_or_default(),
    };
    let state = TaskState {
        status: status(row.get(15)?),
        run_at: instant(row, 16)?,
        attempts: row.get(17)?,
        retries: row.get(18)?,
        losses: row.get(19)?,
        started_at: at(row, 20)?,
        ended_at: at(row, 21)?,
        updated_at: instant(row, 22)?,
        percent: row.get(23)?,
        msg: row.get(24)?,
        error_class: row.get(25)?,
        runner: id_at(row, 26)?.map(RunnerId),
        log_size_bytes: uint(row, 27)?,
        cancel_requested: row.get(28)?,
    };
    Ok(Some((Task { new, state }, number, is_large)))
}

/// A running attempt from the columns of `running.sql`.
pub(super) fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let state = TaskState {
        status: Status::Running,
        run_at: instant(row, 1)?,
        attempts: row.get(2)?,
        retries: row.get(3)?,
        losses: row.get(4)?,
        started_at: at(row, 5)?,
        ended_at: None,
        updated_at: instant(row, 6)?,
        percent: row.get(7)?,
        msg: row.get(8)?,
        error_class: None,
        runner: id_at(row, 9)?.map(RunnerId),
        log_size_bytes: uint(row, 10)?,
        cancel_requested: row.get(11)?,
    };
    Ok(Run {
        task: TaskId::new(Seq(row.get(0)?), row.get(13)?),
        lane: row.get(14)?,
        prank: row.get(15)?,
        fence: Fence(row.get(12)?),
        policy: RetryPolicy { retries: row.get(16)?, delay_ms: uint(row, 17)? },
        schedule: id_at(row, 18)?.map(ScheduleId),
        has_chunks: true,
        state,
    })
}

/// An attempt from the columns of `attempts.sql`.
pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    let wall: Option<i64> = row.get(8)?;
    let usage = match wall {
        None => None,
        Some(_) => Some(Usage {
            wall_ms: uint(row, 8)?,
            user_us: uint(row, 9)?,
            system_us: uint(row, 10)?,
            peak_memory_bytes: uint(row, 11)?,
        }),
    };
    Ok(Attempt {
        n: row.get(0)?,
        fence: Fence(row.get(5)?),
        runner: RunnerId(row.get::<_, IdBytes>(1)?.0),
        started_at: instant(row, 2)?,
        ended_at: instant(row, 3)?,
        outcome: row.get::<_, OutcomeValue<Outcome>>(6)?.0,
        msg: row.get(7)?,
        usage,
        isolation: row.get::<_, Option<Json<_>>>(12)?.map(|Json(isolation)| isolation),
        log: row.get::<_, Option<StoredValue<Stored>>>(13)?.map(|StoredValue(log)| log),
        log_size_bytes: uint(row, 4)?,
    })
}

/// A schedule from its columns `data` and `payload`.
pub(super) fn schedule(row: &Row<'_>) -> rusqlite::Result<Schedule> {
    let Json(mut schedule): Json<Schedule> = row.get(0)?;
    schedule.template.payload = row.get(1)?;
    Ok(schedule)
}
