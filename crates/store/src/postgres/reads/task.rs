//! Tasks, whole.

use windlass_model::id::TaskId;
use windlass_model::task::{Attempt, Stored, Task};

use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::partition::Tables;
use crate::postgres::rows;
use crate::postgres::state::State;
use crate::types::Partition;

/// One task.
pub(in crate::postgres) async fn task(state: &State, id: TaskId) -> Result<Option<Task>, Stop> {
    let Some(tables) = state.tables(Partition::of(id)).await? else { return Ok(None) };
    let rows = state.read(&tables.task, params![vec![id.seq().0]]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    state.package(rows::lane(row)?.code).await?;
    Ok(rows::task(row, &state.known())?.filter(|task| task.new.id == id))
}

/// Ended attempts of a task that is there, first first; or the one with this number only.
pub(in crate::postgres) async fn attempts(
    state: &State,
    tables: &Tables,
    task: TaskId,
    only: Option<u32>,
) -> Result<Vec<Attempt>, Stop> {
    let only = only.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    let rows = state.read(&tables.attempts, params![task.seq().0, only]).await?;
    rows.iter().map(rows::attempt).collect()
}

/// The tables of the task's day, if the task is there: its key is only a part of its id.
pub(in crate::postgres) async fn there(
    state: &State,
    task: TaskId,
) -> Result<Option<std::sync::Arc<Tables>>, Stop> {
    let Some(tables) = state.tables(Partition::of(task)).await? else { return Ok(None) };
    let rows = state.read(&tables.standing, params![vec![task.seq().0]]).await?;
    let tag = rows.first().map(|row| rows::narrow::<u32>(row, 1)).transpose()?;
    Ok((tag == Some(task.0.tag)).then_some(tables))
}

pub(in crate::postgres) async fn result(state: &State, task: TaskId) -> Result<Option<Stored>, Stop> {
    let Some(tables) = there(state, task).await? else { return Ok(None) };
    let rows = state.read(&tables.result, params![task.seq().0]).await?;
    rows.first().map(|row| rows::stored_from(row.try_get(0)?)).transpose()
}
