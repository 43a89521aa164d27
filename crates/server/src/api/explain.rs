//! Why a task is not running: one sentence with the true cause.

use std::sync::Arc;

use axum::extract::State;
use windlass_model::exit::{Exit, Outcome};
use windlass_model::id::TaskId;
use windlass_model::isolation::Level;
use windlass_model::task::{Attempt, Status, Task};
use windlass_model::time::Timestamp;
use windlass_model::wire::tasks::Explanation;

use super::params::Id;
use crate::app::App;
use crate::auth::InProject;
use crate::error::{Answer, ApiError, json};

/// How far the tasks ahead are counted.
const COUNT_LIMIT: usize = 10_000;

/// `GET P/tasks/{id}/explain`.
pub async fn read(State(app): State<Arc<App>>, InProject(project): InProject, Id(id): Id<TaskId>) -> Answer {
    let task = app.task_of(project, id).await?;
    let (cause, explain) = explain(&app, &task).await?;
    Ok(json(&Explanation { status: task.state.status, cause: cause.to_owned(), explain }))
}

/// Why the task is where it is: the cause in one word and as a sentence.
pub(crate) async fn explain(app: &App, task: &Task) -> Result<(&'static str, String), ApiError> {
    match task.state.status {
        Status::Queued => queued(app, task).await,
        Status::Preparing | Status::Running => running(app, task).await,
        status => Ok(("ended", ended(task, status))),
    }
}

fn ended(task: &Task, status: Status) -> String {
    let at = task.state.ended_at.unwrap_or(task.state.updated_at);
    let attempts = match task.state.attempts {
        0 => "without having run".to_owned(),
        1 => "after 1 attempt".to_owned(),
        n => format!("after {n} attempts"),
    };
    format!("it ended as {status} at {at}, {attempts}")
}

async fn running(app: &App, task: &Task) -> Result<(&'static str, String), ApiError> {
    let runners = app.store.runners().await?;
    let runner = runners.iter().find(|(r, _)| Some(r.id) == task.state.runner);
    let name = runner.map_or("a runner that is gone", |(r, _)| r.about.name.as_str());
    let since = task.state.started_at.unwrap_or(task.state.updated_at);
    Ok(match task.state.cancel_requested {
        true => ("cancelling", format!("it runs on {name} since {since}; its cancel was asked for")),
        false => ("running", format!("it runs on {name} since {since}, attempt {}", task.state.attempts)),
    })
}

async fn queued(app: &App, task: &Task) -> Result<(&'static str, String), ApiError> {
    let (new, state, now) = (&task.new, &task.state, app.now());
    if state.run_at > now {
        let attempts = app.store.attempts(new.id).await?;
        return Ok(waiting(task, attempts.last(), state.run_at));
    }
    let code = app.store.code(new.code).await?;
    let code = code.ok_or_else(|| ApiError::internal("a task names a package that is not kept"))?;
    if code.is_paused {
        return Ok(("paused", format!("its code package {:?} is paused", code.name)));
    }
    if let Some(limit) = code.max_concurrency {
        let lanes = app.store.counts(Some(new.project)).await?;
        let busy = |l: &windlass_store::types::LaneCounts| {
            l.counts.get(Status::Running) + l.counts.get(Status::Preparing)
        };
        let running: u64 = lanes.iter().filter(|l| l.code == code.id).map(busy).sum();
        if running >= u64::from(limit) {
            let name = &code.name;
            let text = format!("concurrency limit {running}/{limit} of its code package {name:?} is reached");
            return Ok(("concurrency", text));
        }
    }
    let runners = app.store.runners().await?;
    let here = || runners.iter().filter(|(r, _)| r.gone_at.is_none() && r.about.cluster == new.cluster);
    if here().count() == 0 {
        let mut text = format!("there is no runner in its cluster {:?}", new.cluster);
        if app.is_created(&new.cluster) {
            let desired = app.cluster_doing(&new.cluster, 0).await?.desired_slots;
            text.push_str(&format!(", which should have {}", slots_of(desired)));
        } else {
            text.push_str(", and nobody created a cluster of that name");
        }
        return Ok(("no_runner", text));
    }
    let needs = app.project(new.project).map(|project| project.min_isolation).unwrap_or_default();
    let good = || here().filter(|(r, _)| r.about.isolation.at_least() >= needs);
    if good().count() == 0 {
        let text = format!(
            "no runner with isolation {:?} or better in cluster {:?}: its project demands it",
            needs.as_str(),
            new.cluster
        );
        return Ok(("isolation", text));
    }
    if good().all(|(r, _)| r.is_draining) {
        let which = if needs > Level::default() { "every runner that may take it" } else { "every runner" };
        return Ok(("draining", format!("{which} in its cluster {:?} is draining", new.cluster)));
    }
    let taking = || good().filter(|(r, _)| !r.is_draining);
    let slots: u32 = taking().map(|(r, _)| r.about.slots).sum();
    let busy: u32 = taking().map(|(_, running)| running).sum();
    let ahead = app.store.ahead_of(new.id, COUNT_LIMIT).await?.unwrap_or(0);
    let before = match ahead {
        0 => "it is the next one".to_owned(),
        1 => "1 task is ahead of it".to_owned(),
        n if n >= COUNT_LIMIT => format!("at least {n} tasks are ahead of it"),
        n => format!("{n} tasks are ahead of it"),
    };
    Ok(match busy >= slots {
        true => {
            let mut text = format!("{before}; all {slots} slots of cluster {:?} are busy", new.cluster);
            let desired = app.cluster_doing(&new.cluster, slots).await?.desired_slots;
            if desired > slots {
                text.push_str(&format!(", and it should have {desired}"));
            }
            ("busy", text)
        }
        false => ("starting", format!("{before}; it is about to start")),
    })
}

fn slots_of(n: u32) -> String {
    if n == 1 { "1 slot".to_owned() } else { format!("{n} slots") }
}

fn waiting(task: &Task, last: Option<&Attempt>, until: Timestamp) -> (&'static str, String) {
    let (retries, policy) = (task.state.retries, task.new.retry);
    match last.map(|attempt| &attempt.outcome) {
        None => ("delayed", format!("it is delayed until {until}")),
        Some(Outcome::Exited(Exit::Unable(_))) => {
            ("unable", format!("{}; it is tried again at {until}", task.state.msg))
        }
        Some(_) => ("retrying", format!("it waits for retry {retries} of {} until {until}", policy.retries)),
    }
}
