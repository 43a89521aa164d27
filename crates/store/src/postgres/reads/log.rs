//! Logs, live and whole.

use tokio_postgres::Row;
use windlass_model::bytes::Bytes;
use windlass_model::id::TaskId;
use windlass_model::log::{LogChunk, Stream};
use windlass_model::task::Status;

use super::task;
use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows::narrow;
use crate::postgres::state::State;
use crate::types::{LogBody, LogPart, Partition};

/// A chunk from its columns `n`, `stream`, `at_ms` and `data`.
pub(in crate::postgres) fn chunk(row: &Row) -> Result<LogChunk, Stop> {
    let stream = match row.try_get::<_, i16>(1)? {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => Stream::System,
    };
    Ok(LogChunk { n: narrow(row, 0)?, stream, at_ms: narrow(row, 2)?, data: Bytes(row.try_get(3)?) })
}

/// The log of one attempt.
pub(in crate::postgres) async fn log(
    state: &State,
    id: TaskId,
    attempt: Option<u32>,
    after: u32,
) -> Result<Option<LogPart>, Stop> {
    /// Looks at an attempt that ends while it is looked at.
    const LOOKS: usize = 3;
    for _ in 0..LOOKS {
        let Some(found) = task::task(state, id).await? else { return Ok(None) };
        let Some(tables) = state.tables(Partition::of(id)).await? else { return Ok(None) };
        let newest = found.state.attempts;
        let attempt = attempt.unwrap_or(newest);
        if let Some(ended) = task::attempts(state, &tables, id, Some(attempt)).await?.pop() {
            return Ok(Some(LogPart { attempt, is_whole: true, log: LogBody::Whole(ended.log) }));
        }
        if found.state.status != Status::Running || attempt != newest {
            return Ok(None);
        }
        let sql = "SELECT n, stream, at_ms, data FROM chunk WHERE seq = $1 AND n > $2 \
                   AND EXISTS (SELECT 1 FROM running WHERE seq = $1 AND attempts = $3) ORDER BY n";
        let rows = state.read(sql, params![id.seq().0, i64::from(after), attempt as i32]).await?;
        let chunks = rows.iter().map(chunk).collect::<Result<Vec<_>, _>>()?;
        let is_running = "SELECT 1 FROM running WHERE seq = $1 AND attempts = $2";
        if !chunks.is_empty()
            || !state.read(is_running, params![id.seq().0, attempt as i32]).await?.is_empty()
        {
            return Ok(Some(LogPart { attempt, is_whole: false, log: LogBody::Live(chunks) }));
        }
    }
    Ok(None)
}
