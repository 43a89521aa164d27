//! Fires schedules: in batches, each firing once, however many servers try.

use std::time::Duration;

use windlass_model::id::TaskId;
use windlass_model::schedule::Schedule;
use windlass_model::task::NewTask;
use windlass_model::time::Timestamp;
use windlass_store::StoreError;
use windlass_store::types::Firing;

use crate::app::App;

/// Schedules that are fired in one transaction.
const BATCH: usize = 1000;
/// Why a schedule ends whose package was deleted.
const PACKAGE_DELETED: &str = "Its code package was deleted.";

/// Fires what is due at `now`: one task for each schedule, also where several instants were missed. Returns when the
/// next schedule is due.
pub async fn run_once(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    loop {
        let (due, next) = app.store.due_schedules(now, BATCH).await?;
        if due.is_empty() {
            return Ok(next);
        }
        let mut firings = Vec::with_capacity(due.len());
        for schedule in &due {
            if let Some(due_at) = schedule.state.next_at {
                firings.push(firing(app, schedule, due_at, now).await?);
            }
        }
        let is_task = firings.iter().map(|f| f.task.is_some()).collect::<Vec<_>>();
        let fired = app.store.fire_if_due(firings, now).await?;
        let tasks = fired.iter().zip(is_task).filter(|(fired, is_task)| **fired && *is_task).count() as u64;
        app.metrics.fired.inc_by(tasks);
        app.metrics.queued.inc_by(tasks);
    }
}

async fn firing(
    app: &App,
    schedule: &Schedule,
    due_at: Timestamp,
    now: Timestamp,
) -> Result<Firing, StoreError> {
    let template = &schedule.template;
    let code = app.store.code(template.code).await?.filter(|c| c.deleted_at.is_none());
    let Some(code) = code else {
        let state = schedule.state.cancelled(PACKAGE_DELETED);
        return Ok(Firing { schedule: schedule.id, due_at, task: None, state });
    };
    let (seq, tag) = app.ids.mint(now);
    let task = NewTask {
        id: TaskId::new(seq, tag),
        project: schedule.project,
        code: code.id,
        rev: code.latest.rev,
        priority: template.priority.unwrap_or(code.latest.default_priority),
        created_at: now,
        run_at: now + Duration::from_secs(u64::from(template.task_delay_s)),
        timeout_s: template.timeout_s,
        retry: code.latest.retry,
        cluster: template.cluster.clone(),
        label: template.label.clone(),
        schedule: Some(schedule.id),
        parent: None,
        retry_of: None,
        trace: None,
        payload: template.payload.clone(),
    };
    let state = schedule.state.fired(&schedule.timing, now);
    Ok(Firing { schedule: schedule.id, due_at, task: Some(task), state })
}
