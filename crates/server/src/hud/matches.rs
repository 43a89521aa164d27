//! How many tasks a filter means.

use windlass_model::task::Status;
use windlass_store::types::{Counts, TaskQuery};

use super::show::count;
use crate::app::App;
use crate::error::ApiError;

/// How far tasks are counted one by one, where the counters do not tell.
const COUNTED: usize = 1_000;

/// The number of tasks that the query means, in words: exact by the counters, or counted, up to a point.
pub(super) async fn number(app: &App, wanted: &TaskQuery) -> Result<String, ApiError> {
    let is_of_lanes = wanted.label.is_none()
        && wanted.schedule.is_none()
        && wanted.parent.is_none()
        && wanted.from.is_none()
        && wanted.to.is_none();
    if !is_of_lanes {
        let n = app.store.tasks(&TaskQuery { limit: COUNTED, ..wanted.clone() }).await?.len();
        return Ok(if n == COUNTED { format!("At least {}", count(n as u64)) } else { count(n as u64) });
    }
    let lanes = app.store.counts(Some(wanted.project)).await?;
    let lanes = lanes.iter().filter(|lane| {
        wanted.code.is_none_or(|code| code == lane.code)
            && wanted.cluster.as_ref().is_none_or(|cluster| *cluster == lane.cluster)
    });
    let counts: Counts = lanes.map(|lane| &lane.counts).sum();
    let statuses = Status::ALL.into_iter().filter(|&status| wanted.statuses.contains(status));
    Ok(count(statuses.map(|status| counts.get(status)).sum()))
}
