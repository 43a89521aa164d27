//! Schedules.

use rusqlite::{Connection, OptionalExtension as _, params};
use windlass_model::id::{ProjectId, ScheduleId};
use windlass_model::schedule::Schedule;
use windlass_model::time::Timestamp;
use windlass_model::wire::Page;

use crate::sqlite::rows;

pub(in crate::sqlite) fn schedule(conn: &Connection, id: ScheduleId) -> rusqlite::Result<Option<Schedule>> {
    let mut row = conn.prepare_cached("SELECT data, payload FROM schedule WHERE seq = ?1")?;
    let found = row.query_row([id.seq().0], rows::schedule).optional()?;
    Ok(found.filter(|schedule| schedule.id == id))
}

pub(in crate::sqlite) fn schedules(
    conn: &Connection,
    project: ProjectId,
    page: Page,
) -> rusqlite::Result<Vec<Schedule>> {
    let mut rows = conn.prepare_cached(
        "SELECT data, payload FROM schedule WHERE project = ?1 ORDER BY seq DESC LIMIT ?2 OFFSET ?3",
    )?;
    let rows = rows.query_map(params![project.seq().0, page.limit, page.skip], rows::schedule)?;
    rows.collect()
}

/// Due schedules, the longest overdue first, and when the next one after them is due.
pub(in crate::sqlite) fn due(
    conn: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<(Vec<Schedule>, Option<Timestamp>)> {
    let mut rows = conn.prepare_cached(
        "SELECT data, payload FROM schedule WHERE next_at <= ?1 ORDER BY next_at, seq LIMIT ?2",
    )?;
    let rows = rows.query_map(params![now.as_millis(), limit], rows::schedule)?;
    let due = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut next = conn.prepare_cached(
        "SELECT next_at FROM schedule WHERE next_at IS NOT NULL ORDER BY next_at, seq LIMIT 1 OFFSET ?1",
    )?;
    let next = next.query_row([due.len()], |row| row.get(0)).optional()?;
    Ok((due, next.map(Timestamp::from_millis)))
}
