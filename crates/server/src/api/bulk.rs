//! Cancel and retry of everything that a filter means, and of every task of a package.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};
use windlass_model::id::{CodeId, ProjectId, TaskId};
use windlass_model::task::{Status, Task};
use windlass_model::wire::BadField;
use windlass_model::wire::tasks::{BulkCancelled, BulkRetried, TaskRef};
use windlass_store::types::{Cancelled, TaskQuery};

use super::filters::{self, FILTERS};
use super::params::Id;
use super::queueing::Origin;
use super::tasks::again;
use crate::app::App;
use crate::auth::InProject;
use crate::body::{Ignored, MaybeJson};
use crate::error::{Answer, ApiError, json, said};
use crate::query::Query;

/// Tasks that are read and changed in one step.
const STEP: usize = 1000;

/// `POST P/tasks/cancel`: by the filters of the list, in the query or as a JSON object. Without a status, those that
/// have not ended.
pub async fn cancel(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    query: Query,
    MaybeJson(body): MaybeJson<Map<String, Value>>,
) -> Answer {
    let query = deliberate(query, body)?;
    let open = [Status::Queued, Status::Preparing, Status::Running].into_iter().collect();
    let cancelled = match filters::tasks(&app, project, &query, open).await? {
        Some(wanted) => cancel_all_of(&app, wanted, |_| true, usize::MAX).await?.0,
        None => 0,
    };
    Ok(json(&BulkCancelled { msg: "Cancelled".to_owned(), cancelled }))
}

/// `POST P/codes/{id}/cancel_all`.
pub async fn cancel_all(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    _: Ignored,
) -> Answer {
    let code = app.code_of(project, id).await?;
    let statuses = [Status::Queued, Status::Preparing, Status::Running].into_iter().collect();
    let wanted = TaskQuery { code: Some(code.id), statuses, ..TaskQuery::of(project, STEP) };
    cancel_all_of(&app, wanted, |_| true, usize::MAX).await?;
    Ok(said("Cancelled"))
}

/// Cancels every task that the query means, that `is_meant` and that has not ended. Returns how many; and where to go on
/// if there are more after `reach` tasks were looked at.
pub(crate) async fn cancel_all_of(
    app: &App,
    mut wanted: TaskQuery,
    is_meant: impl Fn(&Task) -> bool,
    reach: usize,
) -> Result<(u64, Option<TaskId>), ApiError> {
    (wanted.skip, wanted.limit) = (0, STEP);
    let (mut cancelled, mut seen) = (0, 0);
    loop {
        let tasks = app.store.tasks(&wanted).await?;
        seen += tasks.len();
        let ids: Vec<TaskId> = tasks.iter().filter(|task| is_meant(task)).map(|t| t.new.id).collect();
        let outcomes = app.store.cancel_unless_final(&ids, app.now()).await?;
        let done = |c: &&Cancelled| matches!(c, Cancelled::AtOnce | Cancelled::Requested);
        cancelled += outcomes.iter().filter(done).count() as u64;
        match tasks.last().map(|task| task.new.id).filter(|_| tasks.len() == STEP) {
            None => return Ok((cancelled, None)),
            Some(last) if seen >= reach => return Ok((cancelled, Some(last))),
            Some(last) => wanted.before = Some(last.seq()),
        }
    }
}

/// `POST P/tasks/retry`: a new task for each that the filters mean. Without a status, those that failed.
pub async fn retry(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    origin: Origin,
    query: Query,
    MaybeJson(body): MaybeJson<Map<String, Value>>,
) -> Answer {
    let query = deliberate(query, body)?;
    let failed = [Status::Error, Status::Timeout, Status::Killed].into_iter().collect();
    let Some(mut wanted) = filters::tasks(&app, project, &query, failed).await? else {
        return Ok(done(Vec::new(), None));
    };
    wanted.statuses =
        Status::ALL.into_iter().filter(|&s| wanted.statuses.contains(s) && s.is_final()).collect();
    wanted.skip = 0;
    let (retried, rest) = retry_all_of(&app, wanted, |_| true, usize::MAX, origin).await?;
    Ok(done(retried, rest))
}

/// Queues a new task for each that the query means and that `is_meant`, as many as one request may; and where to go on
/// if there are more, or after `reach` tasks were looked at.
pub(crate) async fn retry_all_of(
    app: &App,
    mut wanted: TaskQuery,
    is_meant: impl Fn(&Task) -> bool,
    reach: usize,
    origin: Origin,
) -> Result<(Vec<TaskRef>, Option<TaskId>), ApiError> {
    let mut retried: Vec<TaskRef> = Vec::new();
    let (project, most) = (wanted.project, app.config.limits.tasks_per_request);
    let mut seen = 0;
    loop {
        wanted.limit = STEP.min(most - retried.len());
        let mut old = app.store.tasks(&wanted).await?;
        seen += old.len();
        let last = old.last().map(|t| t.new.id);
        let is_full = old.len() == wanted.limit;
        old.retain(&is_meant);
        retried.extend(retry_these(app, project, old, origin).await?);
        let Some(last) = last.filter(|_| is_full) else {
            return Ok((retried, None));
        };
        if retried.len() >= most || seen >= reach {
            return Ok((retried, Some(last)));
        }
        wanted.before = Some(last.seq());
    }
}

/// Queues a new task for each of `old` whose package is still there, all or none.
pub(crate) async fn retry_these(
    app: &App,
    project: ProjectId,
    old: Vec<Task>,
    origin: Origin,
) -> Result<Vec<TaskRef>, ApiError> {
    let mut new = Vec::with_capacity(old.len());
    for task in old {
        let code = app.store.code(task.new.code).await?.filter(|c| c.deleted_at.is_none());
        if let Some(code) = code {
            new.push(again(app, task.new, code.latest.rev, 0, origin));
        }
    }
    if new.is_empty() { Ok(Vec::new()) } else { app.enqueue(project, new, None).await }
}

fn done(tasks: Vec<TaskRef>, cursor: Option<TaskId>) -> Response {
    json(&BulkRetried { msg: "Queued up".to_owned(), tasks, cursor: cursor.map(|c| c.to_string()) })
}

/// The filters of query and body together. Everything must be asked for with `all`, not by leaving the filters out.
fn deliberate(mut query: Query, body: Map<String, Value>) -> Result<Query, ApiError> {
    for (key, value) in body {
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(BadField::invalid(key, "must be text, a number or a bool").into());
            }
        };
        query.set_default(&key, text);
    }
    // A filter that is misspelt would widen what is meant.
    let is_known = |key: &str| {
        matches!(key, "all" | "oauth") || filters::PARAMETERS.iter().any(|(name, _)| *name == key)
    };
    if let Some(unknown) = query.keys().find(|key| !is_known(key)) {
        return Err(BadField::invalid(unknown, "is not a filter of tasks").into());
    }
    let is_narrowed = query.has_any(FILTERS) || Status::ALL.into_iter().any(|s| query.flag(s.as_str()));
    if !is_narrowed && !query.flag("all") {
        return Err(ApiError::bad_request("name a filter, such as code_name or a status, or say all=1"));
    }
    Ok(query)
}
