//! Schedules.

use windlass_model::id::{ProjectId, ScheduleId};
use windlass_model::schedule::Schedule;
use windlass_model::time::Timestamp;
use windlass_model::wire::Page;

use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::State;

pub(in crate::postgres) async fn schedule(state: &State, id: ScheduleId) -> Result<Option<Schedule>, Stop> {
    let rows = state.read("SELECT data, payload FROM schedule WHERE seq = $1", params![id.seq().0]).await?;
    let found = rows.first().map(rows::schedule).transpose()?;
    Ok(found.filter(|schedule| schedule.id == id))
}

pub(in crate::postgres) async fn schedules(
    state: &State,
    project: ProjectId,
    page: Page,
) -> Result<Vec<Schedule>, Stop> {
    let sql = "SELECT data, payload FROM schedule WHERE project = $1 ORDER BY seq DESC LIMIT $2 OFFSET $3";
    let rows = state.read(sql, params![project.seq().0, page.limit as i64, page.skip as i64]).await?;
    rows.iter().map(rows::schedule).collect()
}

/// Due schedules, the longest overdue first, and when the next one after them is due.
pub(in crate::postgres) async fn due(
    state: &State,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<Schedule>, Option<Timestamp>), Stop> {
    // One more than asked for says when the next one is due.
    let sql =
        "SELECT data, payload, next_at FROM schedule WHERE next_at <= $2 ORDER BY next_at, seq LIMIT $1";
    let rows = state.read(sql, params![limit as i64 + 1, now.as_millis()]).await?;
    let due = rows.iter().take(limit).map(rows::schedule).collect::<Result<Vec<_>, _>>()?;
    let next = match rows.get(due.len()) {
        Some(row) => Some(row.try_get(2)?),
        None => {
            let later = "SELECT min(next_at) FROM schedule WHERE next_at > $1";
            let rows = state.read(later, params![now.as_millis()]).await?;
            rows.first().and_then(|row| row.get(0))
        }
    };
    Ok((due, next.map(Timestamp::from_millis)))
}
