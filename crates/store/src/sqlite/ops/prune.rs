//! Dropping what is older than its retention.

use rusqlite::params;
use windlass_model::id::Seq;
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::usage::{Grain, day};

use crate::StoreError;
use crate::sqlite::health;
use crate::sqlite::work::{Durability, Stop, Work};
use crate::sqlite::writer::Operation;
use crate::types::{Partition, Retention};

/// Drops the oldest partition that is to go. `None`: there is none, and everything else is dropped, too.
pub(in crate::sqlite) struct PruneOne(pub(in crate::sqlite) Retention, pub(in crate::sqlite) Timestamp);

impl Operation for PruneOne {
    type Answer = Option<u64>;

    fn run(&mut self, work: &mut Work<'_>) -> Result<Option<u64>, Stop> {
        let Self(retention, now) = *self;
        let oldest_kept = Seq::at(now - retention.tasks);
        let old = work.state.view.partitions.keys().filter(|p| p.next().first() <= oldest_kept);
        for partition in old.copied().collect::<Vec<_>>() {
            if !has_live(work, partition)? {
                return Ok(Some(drop_partition(work, partition)?));
            }
        }
        let oldest_day = day(now - retention.usage_days);
        for grain in Grain::ALL {
            let rows = format!("rollup WHERE grain = {} AND step", grain.minutes());
            drop_sums(work, &rows, grain.step(now - retention.usage_minutes))?;
        }
        for rows in ["usage_day WHERE day", "usage_schedule WHERE day"] {
            drop_sums(work, rows, oldest_day)?;
        }
        let oldest_key = (now - retention.keys).as_millis();
        let mut old = work.read("SELECT EXISTS (SELECT 1 FROM queue_key WHERE at <= ?1)")?;
        if old.query_row([oldest_key], |row| row.get::<_, bool>(0))? {
            work.write("DELETE FROM queue_key WHERE at <= ?1")?.execute([oldest_key])?;
        }
        let over = work
            .state
            .sessions
            .values()
            .filter(|s| s.record.gone_at.is_some_and(|at| at + retention.runners <= now));
        for id in over.map(|s| s.record.id).collect::<Vec<_>>() {
            work.write("DELETE FROM session WHERE seq = ?1")?.execute([id.seq().0])?;
            work.state.sessions.remove(&id);
        }
        drop_empty_lanes(work)?;
        Ok(None)
    }
}

/// Drops lanes that no task is in. Their counters stay, as they are: all of them are zero.
fn drop_empty_lanes(work: &mut Work<'_>) -> rusqlite::Result<()> {
    work.state.view.catalog.end_rest();
    let lanes = work.state.view.catalog.lanes().iter().enumerate();
    let empty = lanes.filter(|(number, lane)| {
        !lane.is_vacant() && work.state.counters.of_lane(*number).iter().all(|&count| count == 0)
    });
    for lane in empty.map(|(number, _)| number).collect::<Vec<_>>() {
        work.write("DELETE FROM lane WHERE id = ?1")?.execute([lane])?;
        work.state.view.catalog.drop_lane(lane);
        work.state.windows.drop_lane(lane);
        work.view_changed();
    }
    Ok(())
}

/// Drops the `rows` of before `oldest`, package by package: what goes is at the beginning of each.
fn drop_sums(work: &mut Work<'_>, rows: &str, oldest: i64) -> rusqlite::Result<()> {
    let old = format!("FROM {rows} < ?2 AND code = ?1");
    for package in 0..work.state.view.catalog.packages().len() {
        let mut any = work.read(&format!("SELECT EXISTS (SELECT 1 {old})"))?;
        if any.query_row(params![package, oldest], |row| row.get::<_, bool>(0))? {
            work.write(&format!("DELETE {old}"))?.execute(params![package, oldest])?;
        }
    }
    Ok(())
}

/// Whether a task of the partition has not ended.
fn has_live(work: &Work<'_>, partition: Partition) -> rusqlite::Result<bool> {
    let (from, to) = (partition.first().0, partition.next().first().0);
    if work.state.running.keys().any(|seq| (from..to).contains(seq)) {
        return Ok(true);
    }
    let mut ready = work.read(
        "SELECT EXISTS (SELECT 1 FROM ready WHERE lane = ?1 AND prank = ?2 AND seq >= ?3 AND seq < ?4)",
    )?;
    let mut delayed =
        work.read("SELECT EXISTS (SELECT 1 FROM delayed WHERE lane = ?1 AND seq >= ?2 AND seq < ?3)")?;
    for lane in 0..work.state.view.catalog.lanes().len() {
        if work.state.counters.get(lane, Status::Queued) == 0 {
            continue;
        }
        if delayed.query_row(params![lane, from, to], |row| row.get(0))? {
            return Ok(true);
        }
        for prank in 0..3 {
            if ready.query_row(params![lane, prank, from, to], |row| row.get(0))? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn drop_partition(work: &mut Work<'_>, partition: Partition) -> rusqlite::Result<u64> {
    let Some(tables) = work.tables(partition) else { return Ok(0) };
    let mut counts = work.read(&tables.count_done)?;
    let counts = counts.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let counts = counts.collect::<rusqlite::Result<Vec<(usize, usize, i64)>>>()?;
    let mut tasks = 0;
    for (lane, status, n) in counts {
        work.count_many(lane, crate::sqlite::rows::status(status), -n);
        tasks += n.unsigned_abs();
    }
    work.batch(&tables.drop)?;
    work.state.view.partitions.remove(&partition);
    work.view_changed();
    Ok(tasks)
}

/// Writes what is there already.
pub(in crate::sqlite) struct Check {
    /// The last write failed: whether the next one does depends on whether there is room.
    pub(in crate::sqlite) must_grow: bool,
}

impl Operation for Check {
    type Answer = ();
    const DURABILITY: Durability = Durability::Process;

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Stop> {
        if self.must_grow && !health::may_grow(work.conn())? {
            return Err(StoreError::Full.into());
        }
        work.write("UPDATE fence SET mark = mark")?.execute([])?;
        Ok(())
    }
}
