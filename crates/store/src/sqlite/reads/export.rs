//! Everything that is kept, record by record, for another store.

use rusqlite::{Connection, params};
use windlass_model::id::{ScheduleId, Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::project::Project;
use windlass_model::schedule::Schedule;
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain};
use windlass_model::wire::Page;

use super::{accounts, codes, task};
use crate::moving::{Attempted, Mark, Record, UsedKey};
use crate::sqlite::rows::{self, IdBytes, IdList, Json};
use crate::sqlite::state::View;
use crate::sqlite::usage::{compute_time, rollup};
use crate::types::Partition;

/// Payloads that are read at once.
const BYTES: usize = 16 * 1024 * 1024;

/// A part of the database: the records in it after a key, about so many of them, and the last key of those; no key if
/// nothing is left of the part.
type Part = fn(&Connection, &View, i64, usize) -> rusqlite::Result<(Vec<Record>, Option<i64>)>;

/// In an order in which nothing names what comes later.
const PARTS: [Part; 6] = [small, packages, schedules, keys, sums, tasks];

/// Records after the mark, about so many, and the mark to go on from; none: that was all.
pub(in crate::sqlite) fn export(
    conn: &Connection,
    view: &View,
    mark: Option<Mark>,
    most: usize,
) -> rusqlite::Result<(Vec<Record>, Option<Mark>)> {
    let mut mark = mark.unwrap_or(Mark { part: 0, after: i64::MIN });
    let mut all = Vec::new();
    while let Some(part) = PARTS.get(mark.part as usize) {
        let (mut records, last) = part(conn, view, mark.after, most - all.len())?;
        all.append(&mut records);
        mark = match last {
            Some(after) => Mark { after, ..mark },
            None => Mark { part: mark.part + 1, after: i64::MIN },
        };
        if all.len() >= most || last.is_some() {
            return Ok((all, Some(mark)));
        }
    }
    Ok((all, None))
}

/// What there is little of, all at once.
fn small(conn: &Connection, _: &View, _: i64, _: usize) -> rusqlite::Result<(Vec<Record>, Option<i64>)> {
    let mut records = Vec::new();
    let mut secrets = conn.prepare("SELECT name, value FROM secret ORDER BY name")?;
    for secret in secrets.query_map([], |row| Ok(Record::Secret(row.get(0)?, row.get(1)?)))? {
        records.push(secret?);
    }
    let mark = conn.query_row("SELECT mark FROM fence", [], |row| row.get(0))?;
    records.push(Record::Fences(Fence(mark)));
    records.extend(accounts::projects(conn)?.into_iter().map(Record::Project));
    records.extend(accounts::tokens(conn)?.into_iter().map(Record::Token));
    Ok((records, None))
}

fn packages(
    conn: &Connection,
    view: &View,
    after: i64,
    most: usize,
) -> rusqlite::Result<(Vec<Record>, Option<i64>)> {
    let all = Page { skip: 0, limit: usize::from(u16::MAX) };
    by_package(view, after, most, |number, records| {
        let code = (*view.catalog.packages()[number]).clone();
        records.push(Record::Code(Box::new(code), codes::revisions(conn, number, all)?));
        Ok(())
    })
}

/// Package by package, each whole.
fn by_package(
    view: &View,
    after: i64,
    most: usize,
    mut read: impl FnMut(usize, &mut Vec<Record>) -> rusqlite::Result<()>,
) -> rusqlite::Result<(Vec<Record>, Option<i64>)> {
    let mut records = Vec::new();
    let first = usize::try_from(after).map_or(0, |after| after + 1);
    for number in first..view.catalog.packages().len() {
        read(number, &mut records)?;
        if records.len() >= most {
            return Ok((records, i64::try_from(number).ok()));
        }
    }
    Ok((records, None))
}

fn schedules(
    conn: &Connection,
    _: &View,
    after: i64,
    most: usize,
) -> rusqlite::Result<(Vec<Record>, Option<i64>)> {
    let mut rows = conn.prepare("SELECT data, payload FROM schedule WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let rows = rows.query_map(params![after, most], rows::schedule)?;
    let schedules = rows.collect::<rusqlite::Result<Vec<Schedule>>>()?;
    let last = schedules.last().filter(|_| schedules.len() == most).map(|schedule| schedule.id.seq().0);
    Ok((schedules.into_iter().map(|s| Record::Schedule(Box::new(s))).collect(), last))
}

/// The keys of the last day: their place in the order is what is gone on from.
fn keys(
    conn: &Connection,
    _: &View,
    after: i64,
    most: usize,
) -> rusqlite::Result<(Vec<Record>, Option<i64>)> {
    let skip = after.max(0);
    let mut rows = conn.prepare(
        "SELECT k.key, k.at, k.asked, k.ids, p.data FROM queue_key k JOIN project p ON p.seq = k.project
         ORDER BY k.project, k.key LIMIT ?1 OFFSET ?2",
    )?;
    let rows = rows.query_map(params![most, skip], |row| {
        let Json(project): Json<Project> = row.get(4)?;
        let IdList(ids) = row.get(3)?;
        Ok(Record::Key(UsedKey {
            project: project.id,
            key: row.get(0)?,
            used_at: Timestamp::from_millis(row.get(1)?),
            asked: row.get(2)?,
            ids: ids.into_iter().map(TaskId).collect(),
        }))
    })?;
    let records = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let last = (records.len() == most).then_some(skip + most as i64);
    Ok((records, last))
}

/// What happened and what was used.
fn sums(
    conn: &Connection,
    view: &View,
    after: i64,
    most: usize,
) -> rusqlite::Result<(Vec<Record>, Option<i64>)> {
    by_package(view, after, most, |number, records| {
        let code = view.catalog.packages()[number].id;
        let mut steps = conn.prepare_cached(include_str!("../sql/rollups.sql"))?;
        for grain in Grain::ALL {
            let steps = steps.query_map(params![grain.minutes(), number, i64::MIN, i64::MAX], |row| {
                Ok(Record::Rollup(grain, code, row.get(12)?, Box::new(rollup(row)?)))
            })?;
            for step in steps {
                records.push(step?);
            }
        }
        let mut days = conn.prepare_cached(
            "SELECT attempts, wall_ms, cpu_us, peak, day, NULL FROM usage_day WHERE code = ?1
             UNION ALL SELECT attempts, wall_ms, cpu_us, peak, day, schedule FROM usage_schedule WHERE code = ?1",
        )?;
        let days = days.query_map([number], |row| {
            let schedule = row.get::<_, Option<IdBytes>>(5)?.map(|IdBytes(id)| ScheduleId(id));
            let used: ComputeTime = compute_time(row, 0)?;
            Ok(Record::Day(code, row.get(4)?, schedule, used))
        })?;
        for day in days {
            records.push(day?);
        }
        Ok(())
    })
}

fn tasks(
    conn: &Connection,
    view: &View,
    after: i64,
    most: usize,
) -> rusqlite::Result<(Vec<Record>, Option<i64>)> {
    let mut records = Vec::new();
    let mut bytes = 0;
    let first = Partition::at(Seq(after.max(0)).created_at());
    for tables in view.partitions.range(first..).map(|(_, tables)| tables) {
        let mut keys = conn.prepare_cached(&tables.after)?;
        let mut keys = keys.query(params![after, most - records.len()])?;
        while let Some(row) = keys.next()? {
            let seq = Seq(row.get(0)?);
            let Some(task) = task::task(conn, view, seq)?.filter(|t| t.state.status != Status::Running)
            else {
                return Err(held(seq));
            };
            bytes += task.new.payload.len();
            let attempts = task::attempts(conn, tables, seq, None)?;
            let result = task::result(conn, tables, seq)?;
            records.push(Record::Task(Box::new(Attempted { task, attempts, result })));
            if records.len() == most || bytes > BYTES {
                return Ok((records, Some(seq.0)));
            }
        }
    }
    records.extend(accounts::clusters(conn)?.into_iter().map(Record::Cluster));
    Ok((records, None))
}

/// Whoever reads for a move has the store alone and has taken every task back.
fn held(seq: Seq) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(format!("the task with the key {} is running", seq.0).into())
}
