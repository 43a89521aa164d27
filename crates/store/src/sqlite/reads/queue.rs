//! What waits: places in the queue, ages.

use rusqlite::{Connection, OptionalExtension as _, params};
use windlass_model::id::{ProjectId, Seq, TaskId};
use windlass_model::task::Status;
use windlass_model::time::Timestamp;

use super::task;
use crate::sqlite::counters::Counters;
use crate::sqlite::rows::prank;
use crate::sqlite::state::View;
use crate::types::Partition;

/// How many claimable tasks go before this one, counted up to `limit`, in the lanes that `may_start` lets and that need
/// no more isolation than this one.
pub(in crate::sqlite) fn ahead_of(
    conn: &Connection,
    view: &View,
    id: TaskId,
    limit: usize,
    may_start: impl Fn(usize) -> bool,
) -> rusqlite::Result<Option<usize>> {
    let Some(tables) = view.partitions.get(&Partition::of(id)) else { return Ok(None) };
    let found = task::row(conn, &view.catalog, tables, id.seq())?;
    let Some((task, lane, _)) = found.filter(|(task, ..)| task.new.id == id) else { return Ok(None) };
    let prank = prank(task.new.priority);
    let mut ready = conn.prepare_cached("SELECT 1 FROM ready WHERE lane = ?1 AND prank = ?2 AND seq = ?3")?;
    if !ready.exists(params![lane, prank, id.seq().0])? {
        return Ok(None);
    }
    let mut before = conn.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM ready WHERE lane = ?1 AND (prank, seq) < (?2, ?3) LIMIT ?4)",
    )?;
    let catalog = &view.catalog;
    let mine = &catalog.lanes()[lane];
    let most = catalog.needs(mine.package);
    let mut ahead = 0;
    for (number, other) in catalog.lanes().iter().enumerate() {
        if ahead == limit {
            break;
        }
        if other.cluster == mine.cluster && catalog.needs(other.package) <= most && may_start(other.package) {
            let params = params![number, prank, id.seq().0, limit - ahead];
            ahead += before.query_row(params, |row| row.get::<_, usize>(0))?;
        }
    }
    Ok(Some(ahead))
}

/// How many tasks of the cluster could be claimed, of each package as many as there is `room` for.
pub(in crate::sqlite) fn claimable(
    conn: &Connection,
    view: &View,
    cluster: &str,
    limit: usize,
    room: impl Fn(usize) -> usize,
) -> rusqlite::Result<usize> {
    let mut count =
        conn.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM ready WHERE lane = ?1 LIMIT ?2)")?;
    let mut claimable = 0;
    for (number, lane) in view.catalog.lanes().iter().enumerate() {
        if claimable == limit {
            break;
        }
        if &*lane.cluster == cluster {
            let most = room(lane.package).min(limit - claimable);
            claimable += count.query_row(params![number, most], |row| row.get::<_, usize>(0))?;
        }
    }
    Ok(claimable)
}

/// When the oldest claimable task was created.
pub(in crate::sqlite) fn oldest_ready(
    conn: &Connection,
    view: &View,
    counters: &Counters,
    project: Option<ProjectId>,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut first =
        conn.prepare_cached("SELECT seq FROM ready WHERE lane = ?1 AND prank = ?2 ORDER BY seq LIMIT 1")?;
    let mut oldest: Option<i64> = None;
    let packages = view.catalog.packages();
    for (lane, about) in view.catalog.lanes().iter().enumerate() {
        let is_of = |of| packages.get(about.package).is_some_and(|code| code.project == of);
        if counters.get(lane, Status::Queued) == 0 || !project.is_none_or(is_of) {
            continue;
        }
        for prank in 0..3 {
            let seq: Option<i64> = first.query_row(params![lane, prank], |row| row.get(0)).optional()?;
            oldest = oldest.into_iter().chain(seq).min();
        }
    }
    Ok(oldest.map(|seq| Seq(seq).created_at()))
}
