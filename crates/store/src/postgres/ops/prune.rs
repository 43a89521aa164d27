//! Dropping what is older than its retention.

use std::time::Duration;

use windlass_model::id::Seq;
use windlass_model::time::Timestamp;
use windlass_model::usage::{Grain, day};

use crate::encoding;
use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows::Lane;
use crate::postgres::state::{Operation, State};
use crate::postgres::work::Work;
use crate::types::{Partition, Retention};

/// Drops a partition, unless a task of it has not ended. `None`: it stays.
pub(in crate::postgres) struct DropPartition(pub(in crate::postgres) Partition);

impl Operation for DropPartition {
    type Answer = Option<u64>;
    const IS_DUTY: bool = true;

    async fn run(&self, work: &mut Work<'_>) -> Result<Option<u64>, Stop> {
        let (from, to) = (self.0.first().0, self.0.next().first().0);
        let Some(tables) = work.state.partitions().get(&self.0).cloned() else { return Ok(None) };
        if is_live(work, from, to).await? {
            return Ok(None);
        }
        // Who reads the day waits for us, and we for who does: not for long, as more would come to wait behind us. Who
        // would write to it finds after us that it is gone.
        work.query("SELECT set_config('lock_timeout', '1s', true)", params![]).await?;
        work.query(&tables.lock, params![]).await?;
        if is_live(work, from, to).await? {
            return Ok(None);
        }
        let mut tasks = 0;
        for row in work.query(&tables.count_done, params![]).await? {
            let lane = Lane { code: row.try_get(0)?, cluster: row.try_get(1)? };
            let status = encoding::status(usize::try_from(row.try_get::<_, i16>(2)?).unwrap_or(0));
            let n: i64 = row.try_get(3)?;
            work.count_kept(lane, status, -n);
            tasks += n.unsigned_abs();
        }
        work.query(&tables.drop, params![]).await?;
        work.later("DELETE FROM partition WHERE day = $1", params![self.0.0]);
        Ok(Some(tasks))
    }
}

async fn is_live(work: &mut Work<'_>, from: i64, to: i64) -> Result<bool, Stop> {
    let live = work.query_opt(include_str!("../sql/is_live.sql"), params![from, to]).await?;
    Ok(live.is_some_and(|row| row.get(0)))
}

/// Drops partitions that are to go. Returns how many tasks that were.
pub(in crate::postgres) async fn drop_partitions(
    state: &State,
    retention: Retention,
    now: Timestamp,
    writer: i16,
) -> Result<u64, Stop> {
    let oldest_kept = Seq::at(now - retention.tasks);
    let partitions = state.reload_partitions().await?;
    let mut tasks = 0;
    for partition in partitions.keys().filter(|partition| partition.next().first() <= oldest_kept) {
        tasks += state.write(&DropPartition(*partition), writer).await?.unwrap_or(0);
    }
    state.reload_partitions().await?;
    Ok(tasks)
}

/// Drops everything else that is old.
pub(in crate::postgres) struct PruneRest(
    pub(in crate::postgres) Retention,
    pub(in crate::postgres) Timestamp,
);

impl Operation for PruneRest {
    type Answer = ();
    const IS_DUTY: bool = true;

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        /// Time that a cluster stays in use for a server that has seen it, and some more.
        const CLUSTERS: Duration = Duration::from_secs(86_400);
        let Self(retention, now) = *self;
        let oldest_day = day(now - retention.usage_days);
        for (sql, oldest) in [
            (
                "DELETE FROM rollup WHERE grain = 1 AND step < $1",
                Grain::Minute.step(now - retention.usage_minutes),
            ),
            (
                "DELETE FROM rollup WHERE grain = 15 AND step < $1",
                Grain::Quarter.step(now - retention.usage_minutes),
            ),
            ("DELETE FROM usage_day WHERE day < $1", oldest_day),
            ("DELETE FROM usage_schedule WHERE day < $1", oldest_day),
            ("DELETE FROM queue_key WHERE at <= $1", (now - retention.keys).as_millis()),
            ("DELETE FROM session WHERE gone_at <= $1", (now - retention.runners).as_millis()),
            (include_str!("../sql/drop_clusters.sql"), (now - CLUSTERS).as_millis()),
            (
                "DELETE FROM lane l WHERE $1::int8 IS NOT NULL \
              AND NOT EXISTS (SELECT 1 FROM cluster c WHERE c.num = l.cluster)",
                0,
            ),
        ] {
            work.later(sql, params![oldest]);
        }
        Ok(())
    }
}

/// Makes the tables of days that are about to come, so that no request of theirs has to.
pub(in crate::postgres) async fn make_ahead(state: &State, now: Timestamp) -> Result<(), Stop> {
    const DAYS: usize = 3;
    for partition in std::iter::successors(Some(Partition::at(now)), |day| Some(day.next())).take(DAYS) {
        state.tables_or_create(partition).await?;
    }
    Ok(())
}

/// The partitions that a task is in, ascending.
pub(in crate::postgres) async fn kept(state: &State) -> Result<Vec<Partition>, Stop> {
    let mut kept = Vec::new();
    for (partition, tables) in state.partitions().iter() {
        if !state.read(&tables.any, params![]).await?.is_empty() {
            kept.push(*partition);
        }
    }
    Ok(kept)
}
