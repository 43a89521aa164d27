//! Lists of tasks, newest first.
//!
//! A list is a merge of sources that each have their keys in order: the done tasks of one lane with one status, the
//! ready ones of one lane with one priority, the delayed ones of one lane, the running ones. Only sources that have
//! any (counters tell) are looked at, and only their keys until the page is full. Lists by label, schedule or parent
//! walk the index of those instead.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, params};
use windlass_model::id::Seq;
use windlass_model::task::{Status, Task};

use super::task;
use crate::sqlite::partition::Tables;
use crate::sqlite::rows::{self, IdBytes};
use crate::sqlite::state::View;
use crate::types::{Statuses, TaskQuery};

/// The tasks that the query asks for.
pub(in crate::sqlite) fn tasks(conn: &Connection, view: &View, q: &TaskQuery) -> rusqlite::Result<Vec<Task>> {
    let range = Range::of(q);
    let lanes = view.catalog.lanes().iter().map(|lane| {
        lane.project == q.project
            && q.code.is_none_or(|code| lane.code == code)
            && q.cluster.as_ref().is_none_or(|cluster| *lane.cluster == **cluster)
    });
    let lanes: Vec<bool> = lanes.collect();
    if q.label.is_some() || q.schedule.is_some() || q.parent.is_some() {
        walk(conn, view, q, range, &lanes)
    } else {
        merge(conn, view, q, range, &lanes)
    }
}

/// Up to `limit` queued tasks of the lane, in no order.
pub(in crate::sqlite) fn queued_of(
    conn: &Connection,
    lane: usize,
    limit: usize,
) -> rusqlite::Result<Vec<Seq>> {
    let mut keys = Vec::new();
    for sql in
        ["SELECT seq FROM ready WHERE lane = ?1 LIMIT ?2", "SELECT seq FROM delayed WHERE lane = ?1 LIMIT ?2"]
    {
        let mut rows = conn.prepare_cached(sql)?;
        let rows = rows.query_map(params![lane, limit - keys.len()], |row| row.get(0).map(Seq))?;
        for key in rows {
            keys.push(key?);
        }
    }
    Ok(keys)
}

/// Keys from `from` to before `before`.
#[derive(Clone, Copy)]
struct Range {
    from: i64,
    before: i64,
}

impl Range {
    fn of(q: &TaskQuery) -> Self {
        let after = |to| Seq::at(to + std::time::Duration::from_millis(1));
        let before = q.before.into_iter().chain(q.to.map(after)).min().unwrap_or(Seq(i64::MAX));
        Self { from: q.from.map_or(0, |from| Seq::at(from).0), before: before.0 }
    }

    /// The partitions it touches, newest first.
    fn partitions(self, view: &View) -> impl Iterator<Item = &Arc<Tables>> {
        let touched = view.partitions.iter().rev().filter(move |(partition, _)| {
            partition.first().0 < self.before && partition.next().first().0 > self.from
        });
        touched.map(|(_, tables)| tables)
    }
}

fn walk(
    conn: &Connection,
    view: &View,
    q: &TaskQuery,
    range: Range,
    lanes: &[bool],
) -> rusqlite::Result<Vec<Task>> {
    let mut found = Vec::new();
    let mut skip = q.skip;
    for tables in range.partitions(view) {
        // By the one that has the fewest tasks as a rule; the others are looked at in the task.
        let of = q.parent.map(|id| (&tables.list_parent, id.0));
        let of = of.or_else(|| q.schedule.map(|id| (&tables.list_schedule, id.0)));
        let mut keys = conn.prepare_cached(of.map_or(&tables.list_label, |(list, _)| list))?;
        let mut keys = match of {
            Some((_, id)) => keys.query(params![IdBytes(id), range.before])?,
            None => keys.query(params![q.label, range.before])?,
        };
        while let Some(row) = keys.next()? {
            if found.len() == q.limit {
                return Ok(found);
            }
            let (seq, lane): (i64, usize) = (row.get(0)?, row.get(1)?);
            if seq < range.from {
                return Ok(found);
            }
            if lanes.get(lane) != Some(&true) || !has_status(conn, tables, Seq(seq), q.statuses)? {
                continue;
            }
            let is_wanted = |task: &Task| {
                (q.label.is_none() || task.new.label == q.label)
                    && (q.schedule.is_none() || task.new.schedule == q.schedule)
            };
            let Some(task) = task::task(conn, view, Seq(seq))?.filter(is_wanted) else { continue };
            if skip > 0 {
                skip -= 1;
            } else {
                found.push(task);
            }
        }
    }
    Ok(found)
}

fn has_status(conn: &Connection, tables: &Tables, seq: Seq, wanted: Statuses) -> rusqlite::Result<bool> {
    if wanted == Statuses::ALL {
        return Ok(true);
    }
    if let Some(status) = task::final_status(conn, tables, seq)? {
        return Ok(wanted.contains(status));
    }
    let is_running = conn.prepare_cached("SELECT 1 FROM running WHERE seq = ?1")?.exists([seq.0])?;
    Ok(wanted.contains(if is_running { Status::Running } else { Status::Queued }))
}

fn merge(
    conn: &Connection,
    view: &View,
    q: &TaskQuery,
    range: Range,
    lanes: &[bool],
) -> rusqlite::Result<Vec<Task>> {
    let mut sources = sources(conn, q.statuses, lanes, range)?;
    let wanted = q.skip.saturating_add(q.limit);
    // Rows that no page needs are read when a source turns out to have none of the newest.
    let chunk = (2 * wanted / sources.len().max(1)).clamp(4, 512);
    let mut heads = BinaryHeap::new();
    for (at, source) in sources.iter_mut().enumerate() {
        if let Some(key) = source.next(conn, view, range, chunk)? {
            heads.push((key, at));
        }
    }
    let mut found = Vec::new();
    let mut skip = q.skip;
    while found.len() < q.limit
        && let Some((key, at)) = heads.pop()
    {
        if let Some(next) = sources[at].next(conn, view, range, chunk)? {
            heads.push((next, at));
        }
        if skip > 0 {
            skip -= 1;
        } else {
            found.extend(task::task(conn, view, Seq(key))?);
        }
    }
    Ok(found)
}

enum Kind {
    Done { lane: usize, status: u8 },
    Ready { lane: usize, prank: u8 },
    Delayed { lane: usize },
    Running,
}

struct Source {
    kind: Kind,
    keys: VecDeque<i64>,
    /// Keys below it were not read yet.
    before: i64,
    is_at_end: bool,
}

/// Every source that has keys, by the counters of the same snapshot.
fn sources(
    conn: &Connection,
    statuses: Statuses,
    lanes: &[bool],
    range: Range,
) -> rusqlite::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let before = range.before;
    let mut add = |kind| sources.push(Source { kind, keys: VecDeque::new(), before, is_at_end: false });
    let mut running = Vec::new();
    let mut counters = conn.prepare_cached("SELECT lane, status FROM counter WHERE n > 0")?;
    let mut counters = counters.query([])?;
    while let Some(row) = counters.next()? {
        let (lane, number): (usize, u8) = (row.get(0)?, row.get(1)?);
        let status = rows::status(number.into());
        if lanes.get(lane) != Some(&true) || !statuses.contains(status) {
            continue;
        }
        match status {
            Status::Queued => {
                (0..3).for_each(|prank| add(Kind::Ready { lane, prank }));
                add(Kind::Delayed { lane });
            }
            Status::Preparing | Status::Running => running.push(lane),
            _ => add(Kind::Done { lane, status: number }),
        }
    }
    if !running.is_empty() {
        let mut keys = conn.prepare_cached("SELECT seq, lane FROM running ORDER BY seq DESC")?;
        let mut keys = keys.query([])?;
        let mut source = Source { kind: Kind::Running, keys: VecDeque::new(), before, is_at_end: true };
        while let Some(row) = keys.next()? {
            let key: i64 = row.get(0)?;
            if running.contains(&row.get(1)?) && (range.from..range.before).contains(&key) {
                source.keys.push_back(key);
            }
        }
        sources.push(source);
    }
    Ok(sources)
}

impl Source {
    fn next(
        &mut self,
        conn: &Connection,
        view: &View,
        range: Range,
        chunk: usize,
    ) -> rusqlite::Result<Option<i64>> {
        if self.keys.is_empty() && !self.is_at_end {
            self.read(conn, view, range, chunk)?;
        }
        Ok(self.keys.pop_front().filter(|key| *key >= range.from))
    }

    fn read(&mut self, conn: &Connection, view: &View, range: Range, chunk: usize) -> rusqlite::Result<()> {
        let before = self.before;
        match self.kind {
            Kind::Running => {}
            Kind::Ready { lane, prank } => {
                let sql = "SELECT seq FROM ready WHERE lane = ?1 AND prank = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4";
                self.take(conn.prepare_cached(sql)?, params![lane, prank, before, chunk])?;
            }
            Kind::Delayed { lane } => {
                let sql = "SELECT seq FROM delayed WHERE lane = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
                self.take(conn.prepare_cached(sql)?, params![lane, before, chunk])?;
            }
            Kind::Done { lane, status } => {
                let rest = Range { before: self.before, ..range };
                for tables in rest.partitions(view) {
                    let read = conn.prepare_cached(&tables.list_done)?;
                    let left = chunk - self.keys.len();
                    self.take(read, params![lane, status, before, left])?;
                    if self.keys.len() == chunk {
                        break;
                    }
                }
            }
        }
        self.is_at_end = self.keys.len() < chunk;
        Ok(())
    }

    fn take(
        &mut self,
        mut read: CachedStatement<'_>,
        params: &[&dyn rusqlite::ToSql],
    ) -> rusqlite::Result<()> {
        let mut rows = read.query(params)?;
        while let Some(row) = rows.next()? {
            let key = row.get(0)?;
            self.keys.push_back(key);
            self.before = key;
        }
        Ok(())
    }
}
