//! Sums of what happened: net deltas in memory while a group is at work, one row for each step, day and schedule that it
//! touched at its commit.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use windlass_model::task::Status;
use windlass_model::usage::{ComputeTime, Grain, Histogram};

use super::rows::{IdBytes, int, uint};
use crate::encoding::FINAL;
use crate::usage::{Deltas, Rollup};

impl Deltas {
    /// Adds them to what is there.
    pub(super) fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        let mut days: HashMap<(usize, i64), ComputeTime> = HashMap::new();
        let mut steps: HashMap<(Grain, usize, i64), Rollup> = HashMap::new();
        for (&(package, minute), delta) in &self.minutes {
            for grain in Grain::ALL {
                steps.entry((grain, package, minute.div_euclid(grain.minutes()))).or_default().add(delta);
            }
            if delta.compute.attempts > 0 {
                days.entry((package, minute.div_euclid(MINUTES_A_DAY))).or_default().add(&delta.compute);
            }
        }
        for (&step, delta) in &steps {
            add_to_step(conn, step, delta)?;
        }
        let mut add = conn.prepare_cached(include_str!("sql/add_usage_day.sql"))?;
        for (&(package, day), used) in &days {
            let [attempts, wall, cpu, peak] = numbers(used);
            add.execute(params![package, day, attempts, wall, cpu, peak])?;
        }
        for (&(package, day, schedule), used) in &self.schedules {
            let mut add = conn.prepare_cached(include_str!("sql/add_usage_schedule.sql"))?;
            let [attempts, wall, cpu, peak] = numbers(used);
            add.execute(params![package, day, IdBytes(schedule.0), attempts, wall, cpu, peak])?;
        }
        Ok(())
    }
}

const MINUTES_A_DAY: i64 = 1440;

fn add_to_step(
    conn: &Connection,
    (grain, package, step): (Grain, usize, i64),
    delta: &Rollup,
) -> rusqlite::Result<()> {
    // Most groups that end nothing only queue and start tasks.
    if (Rollup { queued: 0, ..*delta }) == Rollup::default() {
        if delta.queued != 0 {
            let mut add = conn.prepare_cached(include_str!("sql/add_queued.sql"))?;
            add.execute(params![grain.minutes(), package, step, delta.queued])?;
        }
        return Ok(());
    }
    // It is read, summed here and written back, as SQL cannot add histograms.
    let mut at = conn.prepare_cached(include_str!("sql/rollups.sql"))?;
    let sum = at.query_row(params![grain.minutes(), package, step, step], rollup).optional()?;
    let mut sum = sum.unwrap_or_default();
    sum.add(delta);
    let (ended, used) = (&sum.ended, &sum.compute);
    conn.prepare_cached(include_str!("sql/put_rollup.sql"))?.execute(params![
        grain.minutes(),
        package,
        step,
        int(ended.get(Status::Complete)),
        int(ended.get(Status::Error)),
        int(ended.get(Status::Timeout)),
        int(ended.get(Status::Cancelled)),
        int(ended.get(Status::Killed)),
        int(used.attempts),
        int(used.wall_ms),
        int(used.cpu_us),
        int(used.peak_memory_bytes),
        sum.ran.to_bytes(),
        sum.waited.to_bytes(),
        sum.queued,
    ])?;
    Ok(())
}

fn numbers(sum: &ComputeTime) -> [i64; 4] {
    [sum.attempts, sum.wall_ms, sum.cpu_us, sum.peak_memory_bytes].map(int)
}

/// A sum from four columns from `at` on.
pub(super) fn compute_time(row: &Row<'_>, at: usize) -> rusqlite::Result<ComputeTime> {
    Ok(ComputeTime {
        attempts: uint(row, at)?,
        wall_ms: uint(row, at + 1)?,
        cpu_us: uint(row, at + 2)?,
        peak_memory_bytes: uint(row, at + 3)?,
    })
}

/// What happened in a step, from the columns of `rollups.sql`.
pub(super) fn rollup(row: &Row<'_>) -> rusqlite::Result<Rollup> {
    let mut rollup = Rollup { compute: compute_time(row, 5)?, ..Rollup::default() };
    for (at, status) in FINAL.into_iter().enumerate() {
        rollup.ended.add(status, uint(row, at)?);
    }
    rollup.ran = histogram(row, 9)?;
    rollup.waited = histogram(row, 10)?;
    rollup.queued = row.get(11)?;
    Ok(rollup)
}

fn histogram(row: &Row<'_>, at: usize) -> rusqlite::Result<Histogram> {
    let bytes = row.get_ref(at)?.as_blob()?;
    Histogram::from_bytes(bytes).ok_or_else(|| {
        let name = "a histogram".to_owned();
        rusqlite::Error::InvalidColumnType(at, name, rusqlite::types::Type::Blob)
    })
}
