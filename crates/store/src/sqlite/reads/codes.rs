//! Revisions; packages themselves are in memory.

use rusqlite::{Connection, OptionalExtension as _, params};
use windlass_model::code::Revision;
use windlass_model::wire::Page;

use crate::sqlite::rows::Json;

pub(in crate::sqlite) fn revision(
    conn: &Connection,
    package: usize,
    rev: u32,
) -> rusqlite::Result<Option<Revision>> {
    let mut row = conn.prepare_cached("SELECT data FROM revision WHERE code = ?1 AND rev = ?2")?;
    let found = row.query_row(params![package, rev], |row| row.get::<_, Json<Revision>>(0)).optional()?;
    Ok(found.map(|Json(revision)| revision))
}

pub(in crate::sqlite) fn revisions(
    conn: &Connection,
    package: usize,
    page: Page,
) -> rusqlite::Result<Vec<Revision>> {
    let mut rows =
        conn.prepare_cached("SELECT data FROM revision WHERE code = ?1 ORDER BY rev LIMIT ?2 OFFSET ?3")?;
    let rows =
        rows.query_map(params![package, page.limit, page.skip], |row| row.get::<_, Json<Revision>>(0))?;
    rows.map(|row| row.map(|Json(revision)| revision)).collect()
}
