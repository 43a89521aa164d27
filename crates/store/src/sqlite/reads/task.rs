//! One task.

use rusqlite::{Connection, OptionalExtension as _, params};
use windlass_model::id::{Seq, TaskId};
use windlass_model::task::{Attempt, Status, Stored, Task};

use crate::sqlite::catalog::Catalog;
use crate::sqlite::partition::Tables;
use crate::sqlite::rows::{self, StoredValue};
use crate::sqlite::state::View;
use crate::types::Partition;

/// A task whole.
pub(in crate::sqlite) fn task(conn: &Connection, view: &View, seq: Seq) -> rusqlite::Result<Option<Task>> {
    let Some(tables) = view.partitions.get(&Partition::at(seq.created_at())) else { return Ok(None) };
    let Some((mut task, _, is_large)) = row(conn, &view.catalog, tables, seq)? else { return Ok(None) };
    if is_large {
        task.new.payload = large_payload(conn, tables, seq)?;
    }
    Ok(Some(task))
}

/// A task with its lane, and whether its payload is left out for being large.
pub(in crate::sqlite) fn row(
    conn: &Connection,
    catalog: &Catalog,
    tables: &Tables,
    seq: Seq,
) -> rusqlite::Result<Option<(Task, usize, bool)>> {
    let found = conn.prepare_cached(&tables.task)?.query_row([seq.0], |row| rows::task(row, catalog));
    found.optional().map(Option::flatten)
}

pub(in crate::sqlite) fn large_payload(
    conn: &Connection,
    tables: &Tables,
    seq: Seq,
) -> rusqlite::Result<Vec<u8>> {
    conn.prepare_cached(&tables.payload)?.query_row([seq.0], |row| row.get(0))
}

/// Whether the task is there: its key is only a part of its id.
pub(in crate::sqlite) fn has_tag(conn: &Connection, tables: &Tables, task: TaskId) -> rusqlite::Result<bool> {
    let tag = conn.prepare_cached(&tables.tag)?.query_row([task.seq().0], |row| row.get(0)).optional()?;
    Ok(tag == Some(task.0.tag))
}

/// The status of a task that has ended.
pub(in crate::sqlite) fn final_status(
    conn: &Connection,
    tables: &Tables,
    seq: Seq,
) -> rusqlite::Result<Option<Status>> {
    let status = conn.prepare_cached(&tables.place)?.query_row([seq.0], |row| row.get(0)).optional()?;
    Ok(status.map(rows::status))
}

pub(in crate::sqlite) fn attempts(
    conn: &Connection,
    tables: &Tables,
    seq: Seq,
    only: Option<u32>,
) -> rusqlite::Result<Vec<Attempt>> {
    let mut attempts = conn.prepare_cached(&tables.attempts)?;
    let attempts = attempts.query_map(params![seq.0, only], rows::attempt)?;
    attempts.collect()
}

pub(in crate::sqlite) fn result(
    conn: &Connection,
    tables: &Tables,
    seq: Seq,
) -> rusqlite::Result<Option<Stored>> {
    let mut result = conn.prepare_cached(&tables.result)?;
    let result = result.query_row([seq.0], |row| row.get::<_, StoredValue<Stored>>(0)).optional()?;
    Ok(result.map(|StoredValue(result)| result))
}
