//! What waits: places in the queue, ages.

use windlass_model::id::{ProjectId, Seq, TaskId};
use windlass_model::time::Timestamp;

use crate::encoding::prank;
use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::state::State;

/// How many claimable tasks go before this one, counted up to `limit`.
pub(in crate::postgres) async fn ahead_of(
    state: &State,
    id: TaskId,
    limit: usize,
) -> Result<Option<usize>, Stop> {
    let Some(task) = super::task::task(state, id).await? else { return Ok(None) };
    let Some(code) = state.known().number(task.new.code) else { return Ok(None) };
    let Some(cluster) = state.cluster(&task.new.cluster).await? else { return Ok(None) };
    let (seq, prank) = (id.seq().0, i16::from(prank(task.new.priority)));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = include_str!("../sql/ahead_of.sql");
    let rows = state.read(sql, params![cluster, prank, seq, limit, code]).await?;
    let Some(row) = rows.first().filter(|row| row.get::<_, bool>(0)) else { return Ok(None) };
    Ok(Some(usize::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0)))
}

/// How many tasks of the cluster could be claimed now, counted up to `limit`.
pub(in crate::postgres) async fn claimable(
    state: &State,
    cluster: &str,
    limit: usize,
) -> Result<usize, Stop> {
    let Some(cluster) = state.cluster(cluster).await? else { return Ok(0) };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = state.read(include_str!("../sql/claimable.sql"), params![cluster, limit]).await?;
    let n = rows.first().and_then(|row| row.get::<_, Option<i64>>(0));
    Ok(n.and_then(|n| usize::try_from(n).ok()).unwrap_or(0))
}

/// When the oldest ready task was created, of one project or of all.
pub(in crate::postgres) async fn oldest_ready(
    state: &State,
    project: Option<ProjectId>,
) -> Result<Option<Timestamp>, Stop> {
    let rows = match project {
        None => state.read(include_str!("../sql/oldest_ready.sql"), params![]).await?,
        Some(project) => {
            let packages: Vec<i32> =
                state.catalog().await?.packages_of(project).map(|(number, _)| number).collect();
            state.read(include_str!("../sql/oldest_ready_of.sql"), params![packages]).await?
        }
    };
    let seq = rows.first().and_then(|row| row.get::<_, Option<i64>>(0));
    Ok(seq.map(|seq| Seq(seq).created_at()))
}
