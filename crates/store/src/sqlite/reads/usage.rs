//! Sums of what happened.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use windlass_model::id::{CodeId, ProjectId, ScheduleId};
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain, UsageBy, day};

use crate::encoding::FINAL;
use crate::sqlite::rows::IdBytes;
use crate::sqlite::state::View;
use crate::sqlite::usage::{compute_time, rollup};
use crate::types::Counts;
use crate::usage::{Rollup, UsageOf};

/// Tasks of the package that ended in these minutes, by status.
pub(in crate::sqlite) fn ended_between(
    conn: &Connection,
    package: usize,
    from: Timestamp,
    to: Timestamp,
) -> rusqlite::Result<Counts> {
    let mut sums = conn.prepare_cached(
        "SELECT total(complete), total(error), total(timeout), total(cancelled), total(killed)
         FROM rollup WHERE grain = ?1 AND code = ?2 AND step BETWEEN ?3 AND ?4",
    )?;
    let grain = Grain::Minute;
    sums.query_row(params![grain.minutes(), package, grain.step(from), grain.step(to)], |row| {
        let mut counts = Counts::default();
        for (at, status) in FINAL.into_iter().enumerate() {
            counts.add(status, row.get::<_, f64>(at)? as u64);
        }
        Ok(counts)
    })
}

/// What happened in these steps, by package, in the order given.
pub(in crate::sqlite) fn rollups(
    conn: &Connection,
    packages: &[(usize, CodeId)],
    from: Timestamp,
    to: Timestamp,
    grain: Grain,
) -> rusqlite::Result<Vec<(CodeId, Timestamp, Rollup)>> {
    let mut of_package = conn.prepare_cached(include_str!("../sql/rollups.sql"))?;
    let mut all = Vec::new();
    for &(package, code) in packages {
        let steps = params![grain.minutes(), package, grain.step(from), grain.step(to)];
        let mut rows = of_package.query(steps)?;
        while let Some(row) = rows.next()? {
            let rollup = rollup(row)?;
            if rollup != Rollup::default() {
                all.push((code, grain.begin(row.get(12)?), rollup));
            }
        }
    }
    Ok(all)
}

/// What attempts of the project used that ended on these days.
pub(in crate::sqlite) fn usage(
    conn: &Connection,
    view: &View,
    project: ProjectId,
    from: Timestamp,
    to: Timestamp,
    by: UsageBy,
) -> rusqlite::Result<Vec<(UsageOf, ComputeTime)>> {
    let mut rows = conn.prepare_cached(match by {
        UsageBy::Schedule => {
            "SELECT attempts, wall_ms, cpu_us, peak, schedule FROM usage_schedule
             WHERE code = ?1 AND day BETWEEN ?2 AND ?3"
        }
        UsageBy::Code | UsageBy::Day => {
            "SELECT attempts, wall_ms, cpu_us, peak, day FROM usage_day WHERE code = ?1 AND day BETWEEN ?2 AND ?3"
        }
    })?;
    let mut sums: BTreeMap<UsageOf, ComputeTime> = BTreeMap::new();
    for (package, code) in view.catalog.packages_of(project) {
        let mut rows = rows.query(params![package, day(from), day(to)])?;
        while let Some(row) = rows.next()? {
            let of = match by {
                UsageBy::Code => UsageOf::Code(code),
                UsageBy::Schedule => UsageOf::Schedule(code, ScheduleId(row.get::<_, IdBytes>(4)?.0)),
                UsageBy::Day => UsageOf::Day(row.get(4)?),
            };
            sums.entry(of).or_default().add(&compute_time(row, 0)?);
        }
    }
    Ok(sums.into_iter().collect())
}
