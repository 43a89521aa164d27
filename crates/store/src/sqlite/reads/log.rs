//! Logs, live and whole.

use rusqlite::{Connection, params};
use windlass_model::bytes::Bytes;
use windlass_model::id::{Seq, TaskId};
use windlass_model::log::{LogChunk, Stream};
use windlass_model::task::Status;

use super::task;
use crate::sqlite::state::View;
use crate::types::{LogBody, LogPart, Partition};

/// Chunks of a running attempt after number `after`.
pub(in crate::sqlite) fn chunks(conn: &Connection, seq: Seq, after: u32) -> rusqlite::Result<Vec<LogChunk>> {
    let mut chunks =
        conn.prepare_cached("SELECT n, stream, at_ms, data FROM chunk WHERE seq = ?1 AND n > ?2 ORDER BY n")?;
    let chunks = chunks.query_map(params![seq.0, after], |row| {
        let stream = match row.get::<_, u8>(1)? {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => Stream::System,
        };
        Ok(LogChunk { n: row.get(0)?, stream, at_ms: row.get(2)?, data: Bytes(row.get(3)?) })
    })?;
    chunks.collect()
}

/// The log of one attempt.
pub(in crate::sqlite) fn log(
    conn: &Connection,
    view: &View,
    id: TaskId,
    attempt: Option<u32>,
    after: u32,
) -> rusqlite::Result<Option<LogPart>> {
    let Some(tables) = view.partitions.get(&Partition::of(id)) else { return Ok(None) };
    let found = task::row(conn, &view.catalog, tables, id.seq())?;
    let Some((task, ..)) = found.filter(|(task, ..)| task.new.id == id) else { return Ok(None) };
    let newest = task.state.attempts;
    let attempt = attempt.unwrap_or(newest);
    if let Some(ended) = task::attempts(conn, tables, id.seq(), Some(attempt))?.pop() {
        return Ok(Some(LogPart { attempt, is_whole: true, log: LogBody::Whole(ended.log) }));
    }
    if task.state.status != Status::Running || attempt != newest {
        return Ok(None);
    }
    let log = LogBody::Live(chunks(conn, id.seq(), after)?);
    Ok(Some(LogPart { attempt, is_whole: false, log }))
}
