//! One firing of the schedule, from the coordinator to the last zone.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use windlass_client::Client;
use windlass_client::tasks::TaskFilter;
use windlass_model::id::ScheduleId;
use windlass_model::task::Status;
use windlass_model::wire::tasks::Task;

use super::story::{COORDINATOR, ZONE};
use super::summary::{Summary, ZoneTask};
use crate::output::progress;

/// How often a bar moves.
const GLANCE: Duration = Duration::from_millis(100);
/// How often the next firing is looked for.
const LOOK: Duration = Duration::from_millis(500);
/// Rows that the server shows at once.
const PAGE: u32 = 100;

/// Waits for the firing after the first `earlier` ones, shows its tasks being done, and sums them up.
pub(super) async fn follow(client: &Client, schedule: ScheduleId, earlier: usize) -> Result<Summary> {
    let coordinator = nth_firing(client, schedule, earlier).await?;
    let coordinator = client.wait(coordinator.id, None).await?;
    ensure!(
        coordinator.status == Status::Complete,
        "{COORDINATOR} ended as {}: {}",
        coordinator.status,
        coordinator.msg
    );
    let result = client.result(coordinator.id).await?.context("the coordinator left no result")?;
    let queued = serde_json::from_slice::<serde_json::Value>(&result)?["queued"].as_u64().unwrap_or_default();

    let bar = progress::count(queued, "zones");
    let zones = loop {
        let zones = children(client, &coordinator).await?;
        let ended = zones.iter().filter(|t| t.status.is_final()).count() as u64;
        bar.set_position(ended);
        if ended == queued {
            break zones;
        }
        tokio::time::sleep(GLANCE).await;
    };
    bar.finish_and_clear();

    let ended_at = zones.iter().filter_map(|t| t.end_time.0).max().context("no zone was queued")?;
    let started_at = coordinator.start_time.0.context("the coordinator never started")?;
    let zones = futures::stream::iter(zones)
        .map(|task| async move {
            let attempts = client.attempts(task.id).await?;
            anyhow::Ok(ZoneTask { task, attempts })
        })
        .buffered(16);
    Ok(Summary::of(&zones.try_collect::<Vec<_>>().await?, ended_at.since(started_at)))
}

async fn nth_firing(client: &Client, schedule: ScheduleId, earlier: usize) -> Result<Task> {
    let filter = TaskFilter { schedule: Some(schedule), ..TaskFilter::default() };
    loop {
        let fired = client.tasks(&filter, Some(PAGE), None).await?.tasks;
        // Newest first: the firing after `earlier` ones is the one with as many behind it.
        if let Some(task) = fired.len().checked_sub(earlier + 1).and_then(|n| fired.into_iter().nth(n)) {
            return Ok(task);
        }
        tokio::time::sleep(if earlier == 0 { GLANCE } else { LOOK }).await;
    }
}

/// Every task that the coordinator queued.
async fn children(client: &Client, coordinator: &Task) -> Result<Vec<Task>> {
    let from = coordinator.created_at.0;
    let filter = TaskFilter { code_name: Some(ZONE.to_owned()), from, ..TaskFilter::default() };
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.tasks(&filter, Some(PAGE), cursor.as_deref()).await?;
        all.extend(page.tasks.into_iter().filter(|t| t.parent_id == Some(coordinator.id)));
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}
