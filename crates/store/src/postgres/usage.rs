//! Sums of what happened: each writer adds to rows of its own, whoever reads sums over all of them.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use windlass_model::id::ScheduleId;
use windlass_model::usage::{ComputeTime, Grain, Histogram};

use super::fault::{Stop, damaged};
use super::param::params;
use super::rows::{self, uint};
use super::tx::Tx;
use crate::encoding::{FINAL, int};
use crate::usage::{Deltas, Rollup};

const MINUTES_A_DAY: i64 = 1440;

/// Has `tx` add them before its commit, in an order that is the same for all.
pub(super) fn write(deltas: &Deltas, shard: i16, tx: &mut Tx) {
    let mut days: BTreeMap<(i32, i64), ComputeTime> = BTreeMap::new();
    let mut steps: BTreeMap<(i16, i32, i64), Rollup> = BTreeMap::new();
    for (&(package, minute), sum) in &deltas.minutes {
        let code = package as i32;
        for grain in Grain::ALL {
            let step = minute.div_euclid(grain.minutes());
            steps.entry((grain.minutes() as i16, code, step)).or_default().add(sum);
        }
        if sum.compute.attempts > 0 {
            days.entry((code, minute.div_euclid(MINUTES_A_DAY))).or_default().add(&sum.compute);
        }
    }
    // Most transactions that end nothing only queue and start tasks.
    let mut queued = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((grain, code, step), sum) in steps {
        if (Rollup { queued: 0, ..sum }) != Rollup::default() {
            add_step(tx, shard, (grain, code, step), &sum);
        } else if sum.queued != 0 {
            queued.0.push(grain);
            queued.1.push(code);
            queued.2.push(step);
            queued.3.push(sum.queued);
        }
    }
    if !queued.0.is_empty() {
        let (grains, codes, steps, ns) = queued;
        tx.later(include_str!("sql/add_queued.sql"), params![shard, grains, codes, steps, ns]);
    }
    for ((code, day), used) in days {
        add_day(tx, shard, (code, day, None), &used);
    }
    let schedules: BTreeMap<_, _> = deltas.schedules.iter().collect();
    for (&(package, day, schedule), used) in schedules {
        add_day(tx, shard, (package as i32, day, Some(schedule)), used);
    }
}

/// The same of one day: of the package, or, as a part of that, of tasks that a schedule made.
pub(super) fn add_day(
    tx: &mut Tx,
    shard: i16,
    (code, day, schedule): (i32, i64, Option<ScheduleId>),
    used: &ComputeTime,
) {
    let used = numbers(used).to_vec();
    match schedule {
        None => tx.later(include_str!("sql/add_usage_day.sql"), params![shard, code, day, used]),
        Some(schedule) => tx.later(
            include_str!("sql/add_usage_schedule.sql"),
            params![shard, code, day, rows::id(schedule.0), used],
        ),
    }
}

/// The same of one step.
pub(super) fn add_step(tx: &mut Tx, shard: i16, (grain, code, step): (i16, i32, i64), sum: &Rollup) {
    let ended = FINAL.map(|status| int(sum.ended.get(status))).to_vec();
    let used = numbers(&sum.compute).to_vec();
    let (ran, waited) = (buckets(&sum.ran), buckets(&sum.waited));
    tx.later(
        include_str!("sql/add_rollup.sql"),
        params![shard, grain, code, step, ended, used, ran, waited, sum.queued],
    );
}

fn numbers(sum: &ComputeTime) -> [i64; 4] {
    [sum.attempts, sum.wall_ms, sum.cpu_us, sum.peak_memory_bytes].map(int)
}

/// The buckets up to the last that has anything.
fn buckets(histogram: &Histogram) -> Vec<i64> {
    let all = histogram.buckets();
    let used = all.iter().rposition(|&n| n > 0).map_or(0, |last| last + 1);
    all[..used].iter().map(|&n| i64::from(n)).collect()
}

/// A sum from four columns from `at` on.
pub(super) fn compute_time(row: &Row, at: usize) -> Result<ComputeTime, Stop> {
    Ok(ComputeTime {
        attempts: uint(row, at)?,
        wall_ms: uint(row, at + 1)?,
        cpu_us: uint(row, at + 2)?,
        peak_memory_bytes: uint(row, at + 3)?,
    })
}

/// What happened in a step, from the columns of `rollups.sql`.
pub(super) fn rollup(row: &Row) -> Result<Rollup, Stop> {
    let mut rollup = Rollup { compute: compute_time(row, 5)?, ..Rollup::default() };
    for (at, status) in FINAL.into_iter().enumerate() {
        rollup.ended.add(status, uint(row, at)?);
    }
    rollup.ran = histogram(row.try_get(9)?)?;
    rollup.waited = histogram(row.try_get(10)?)?;
    rollup.queued = row.try_get(11)?;
    Ok(rollup)
}

fn histogram(buckets: Vec<i64>) -> Result<Histogram, Stop> {
    let counts = buckets.into_iter().map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    Histogram::from_buckets(counts).ok_or_else(|| damaged("a histogram has too many buckets"))
}
