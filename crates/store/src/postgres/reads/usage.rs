//! Sums of what ended.

use std::collections::BTreeMap;

use windlass_model::id::{CodeId, ProjectId, ScheduleId};
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, Grain, UsageBy, day};

use crate::encoding::FINAL;
use crate::postgres::fault::{Stop, damaged};
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::State;
use crate::postgres::usage::{compute_time, rollup};
use crate::types::{Counts, LaneCounts};
use crate::usage::{Rollup, UsageOf};

/// What happened in these steps, by package; ascending.
pub(in crate::postgres) async fn rollups(
    state: &State,
    packages: BTreeMap<i32, CodeId>,
    from: Timestamp,
    to: Timestamp,
    grain: Grain,
) -> Result<Vec<(CodeId, Timestamp, Rollup)>, Stop> {
    let sql = include_str!("../sql/rollups.sql");
    let numbers: Vec<i32> = packages.keys().copied().collect();
    let mut sums: BTreeMap<(CodeId, i64), Rollup> = BTreeMap::new();
    let params = params![grain.minutes() as i16, numbers, grain.step(from), grain.step(to)];
    for row in state.read(sql, params).await? {
        let code = packages[&row.try_get::<_, i32>(12)?];
        sums.entry((code, row.try_get(13)?)).or_default().add(&rollup(&row)?);
    }
    let sums = sums.into_iter().filter(|(_, rollup)| *rollup != Rollup::default());
    Ok(sums.map(|((code, step), rollup)| (code, grain.begin(step), rollup)).collect())
}

/// What attempts of the project used that ended on these days.
pub(in crate::postgres) async fn usage(
    state: &State,
    project: ProjectId,
    from: Timestamp,
    to: Timestamp,
    by: UsageBy,
) -> Result<Vec<(UsageOf, ComputeTime)>, Stop> {
    let sql = match by {
        UsageBy::Schedule => {
            "SELECT attempts, wall_ms, cpu_us, peak, code, schedule FROM usage_schedule
             WHERE code = ANY($1) AND day BETWEEN $2 AND $3"
        }
        UsageBy::Code | UsageBy::Day => {
            "SELECT attempts, wall_ms, cpu_us, peak, code, day FROM usage_day
             WHERE code = ANY($1) AND day BETWEEN $2 AND $3"
        }
    };
    state.refresh().await?;
    let catalog = state.known();
    let packages: BTreeMap<i32, CodeId> =
        catalog.packages_of(project).map(|(number, code)| (number, code.id)).collect();
    let numbers: Vec<i32> = packages.keys().copied().collect();
    let mut sums: BTreeMap<UsageOf, ComputeTime> = BTreeMap::new();
    for row in state.read(sql, params![numbers, day(from), day(to)]).await? {
        let code = packages[&row.try_get::<_, i32>(4)?];
        let of = match by {
            UsageBy::Code => UsageOf::Code(code),
            UsageBy::Schedule => {
                let id = rows::id_at(&row, 5)?.ok_or_else(|| damaged("a sum of no schedule"))?;
                UsageOf::Schedule(code, ScheduleId(id))
            }
            UsageBy::Day => UsageOf::Day(row.try_get(5)?),
        };
        sums.entry(of).or_default().add(&compute_time(&row, 0)?);
    }
    Ok(sums.into_iter().collect())
}

/// Tasks of the package that ended in these minutes, by status.
pub(in crate::postgres) async fn ended_between(
    state: &State,
    package: i32,
    from: i64,
    to: i64,
) -> Result<Counts, Stop> {
    let sql = "SELECT coalesce(sum(complete), 0)::int8, coalesce(sum(error), 0)::int8, coalesce(sum(timeout), 0)::int8, \
               coalesce(sum(cancelled), 0)::int8, coalesce(sum(killed), 0)::int8 \
               FROM rollup WHERE grain = 1 AND code = $1 AND step BETWEEN $2 AND $3";
    let mut counts = Counts::default();
    for row in state.read(sql, params![package, from, to]).await? {
        for (at, status) in FINAL.into_iter().enumerate() {
            counts.add(status, rows::uint(&row, at)?);
        }
    }
    Ok(counts)
}

/// Tasks by package, cluster and status, of one project or of all.
pub(in crate::postgres) async fn counts(
    state: &State,
    project: Option<ProjectId>,
) -> Result<Vec<LaneCounts>, Stop> {
    let packages = match project {
        None => None,
        Some(project) => {
            let catalog = state.catalog().await?;
            Some(catalog.packages_of(project).map(|(number, _)| number).collect::<Vec<i32>>())
        }
    };
    let mut lanes: BTreeMap<(CodeId, String), Counts> = BTreeMap::new();
    let sql = "SELECT n.code, c.name, n.status, sum(n.n)::int8 FROM counter n JOIN cluster c ON c.num = n.cluster \
               WHERE $1::int4[] IS NULL OR n.code = ANY($1) GROUP BY 1, 2, 3 HAVING sum(n.n) <> 0";
    for row in state.read(sql, params![packages]).await? {
        let Some(code) = state.package(row.try_get(0)?).await? else { continue };
        let counts = lanes.entry((code.id, row.try_get(1)?)).or_default();
        counts.add(rows::status_at(&row, 2)?, rows::uint(&row, 3)?);
    }
    Ok(lanes.into_iter().map(|((code, cluster), counts)| LaneCounts { code, cluster, counts }).collect())
}
