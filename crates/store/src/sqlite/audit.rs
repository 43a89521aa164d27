//! Whether a database is whole: everything that must hold between its tables, read from outside.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use super::fault::store_error;
use super::rows::status_number;
use super::{partition, schema};
use crate::audit::{OWNED, Places, orphans};
use crate::error::StoreError;
use windlass_model::task::Status;
use windlass_model::usage::ComputeTime;

/// What does not hold in the database in `dir`, in words; empty if it is whole. Reads all of it, so it may take minutes;
/// the store may be open meanwhile.
pub fn audit(dir: &Path) -> Result<Vec<String>, StoreError> {
    let check = || -> rusqlite::Result<Vec<String>> {
        let conn = schema::open_reader(dir)?;
        conn.execute_batch("BEGIN")?;
        let mut problems = Vec::new();
        integrity(&conn, &mut problems)?;
        places(&conn, &mut problems)?;
        counters(&conn, &mut problems)?;
        sums(&conn, &mut problems)?;
        Ok(problems)
    };
    check().map_err(|e| store_error(&e))
}

fn integrity(conn: &Connection, problems: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut lines = conn.prepare("PRAGMA integrity_check")?;
    for line in lines.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            problems.push(format!("integrity check: {line}"));
        }
    }
    Ok(())
}

/// Each task's key is in exactly one of the tables that say where it stands, and each key there has its task.
fn places(conn: &Connection, problems: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut places = Places::default();
    let mut collect = |table: &str, name: &'static str| -> rusqlite::Result<()> {
        let mut keys = conn.prepare(&format!("SELECT seq FROM {table}"))?;
        for key in keys.query_map([], |row| row.get(0))? {
            places.found(key?, name);
        }
        Ok(())
    };
    for name in ["ready", "delayed", "running"] {
        collect(name, name)?;
    }
    let partitions = partition::load(conn)?;
    for partition in partitions.keys() {
        collect(&format!("done_d{}", partition.0), "done")?;
    }
    for partition in partitions.keys() {
        let mut keys = conn.prepare(&format!("SELECT seq FROM task_d{}", partition.0))?;
        for key in keys.query_map([], |row| row.get(0))? {
            places.task(key?, problems);
        }
    }
    places.end(problems);
    for (table, owner) in OWNED {
        let sql = format!("SELECT count(*) FROM {table} WHERE NOT {owner}");
        orphans(table, conn.query_row(&sql, [], |row| row.get(0))?, problems);
    }
    Ok(())
}

/// Counters are what they count.
fn counters(conn: &Connection, problems: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut counts: BTreeMap<(usize, u8), i64> = BTreeMap::new();
    let mut add = |sql: &str, sign: i64| -> rusqlite::Result<()> {
        let mut rows = conn.prepare(sql)?;
        let rows = rows.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get::<_, i64>(2)?)))?;
        for row in rows {
            let (key, n) = row?;
            *counts.entry(key).or_default() += sign * n;
        }
        Ok(())
    };
    let (queued, running) = (status_number(Status::Queued), status_number(Status::Running));
    for (table, status) in [("ready", queued), ("delayed", queued), ("running", running)] {
        add(&format!("SELECT lane, {status}, count(*) FROM {table} GROUP BY lane"), 1)?;
    }
    for tables in partition::load(conn)?.values() {
        add(&tables.count_done, 1)?;
    }
    add("SELECT lane, status, n FROM counter", -1)?;
    let off = counts.into_iter().filter(|(_, n)| *n != 0);
    problems.extend(
        off.map(|((lane, status), n)| {
            format!("the counter of lane {lane}, status {status} is off by {}", -n)
        }),
    );
    Ok(())
}

/// Sums of days are of every attempt that is still there, and of no other unless tasks were dropped since.
fn sums(conn: &Connection, problems: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut sums: BTreeMap<(usize, i64), ComputeTime> = BTreeMap::new();
    for partition in partition::load(conn)?.keys() {
        let sql = include_str!("sql/usage_of_partition.sql").replace("{day}", &partition.0.to_string());
        let mut rows = conn.prepare(&sql)?;
        let rows =
            rows.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), super::usage::compute_time(row, 2)?)))?;
        for row in rows {
            let (key, used) = row?;
            sums.entry(key).or_default().add(&used);
        }
    }
    let mut kept = conn.prepare("SELECT code, day, attempts, wall_ms, cpu_us, peak FROM usage_day")?;
    let kept =
        kept.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), super::usage::compute_time(row, 2)?)))?;
    for row in kept {
        let ((code, day), kept) = row?;
        let there = sums.remove(&(code, day)).unwrap_or_default();
        let is_whole = match kept.attempts.cmp(&there.attempts) {
            Ordering::Less => false,
            Ordering::Equal => kept == there,
            Ordering::Greater => {
                kept.wall_ms >= there.wall_ms
                    && kept.cpu_us >= there.cpu_us
                    && kept.peak_memory_bytes >= there.peak_memory_bytes
            }
        };
        if !is_whole {
            problems.push(format!("the sums of code {code}, day {day} are {kept:?}, its attempts {there:?}"));
        }
    }
    Ok(())
}
