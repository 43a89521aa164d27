//! Tasks: queue, list, read, wait for, cancel, retry, report progress of.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use sha2::Digest as _;
use tokio::time::Instant;
use windlass_model::id::{ProjectId, TaskId};
use windlass_model::task::{NewTask, Stored, Task};
use windlass_model::wire::tasks::{
    Attempt, AttemptList, ProgressRequest, QueueRequest, Queued, RetryRequest, TaskList, TaskRef,
};
use windlass_store::blob::Area;
use windlass_store::types::{Partition, Statuses};

use super::filters;
use super::params::Id;
use super::present::Names;
use super::queueing::{Key, Origin};
use crate::app::App;
use crate::auth::InProject;
use crate::body::{Ignored, MaybeTypedJson, TypedJson};
use crate::error::{Answer, ApiError, json, said, written_by_worker};
use crate::query::Query;

/// `POST P/tasks`.
pub async fn queue(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    origin: Origin,
    key: Key,
    TypedJson(request, _hold): TypedJson<QueueRequest>,
) -> Answer {
    let orders = request.validate(&app.config.limits)?;
    Ok(queued(app.queue(project, origin, orders, key).await?))
}

/// The answer of everything that queues.
pub(super) fn queued(tasks: Vec<TaskRef>) -> Response {
    json(&Queued { msg: "Queued up".to_owned(), tasks })
}

/// `GET P/tasks`.
pub async fn list(State(app): State<Arc<App>>, InProject(project): InProject, query: Query) -> Answer {
    let Some(mut wanted) = filters::tasks(&app, project, &query, Statuses::ALL).await? else {
        return Ok(json(&TaskList { tasks: Vec::new(), cursor: None }));
    };
    let per_page = wanted.limit;
    // One more than the page shows whether there is a next one.
    wanted.limit += 1;
    let mut found = app.store.tasks(&wanted).await?;
    let has_more = found.len() > per_page;
    found.truncate(per_page);
    let cursor = found.last().filter(|_| has_more).map(|t| t.new.id.to_string());
    Ok(json(&TaskList { tasks: Names::new(&app).tasks(&found).await?, cursor }))
}

/// `GET P/tasks/{id}`, with `?wait=SECONDS` when the task has ended or the time is up.
pub async fn read(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    query: Query,
) -> Answer {
    let wait = query.number("wait")?.unwrap_or(0.0).clamp(0.0, app.config.max_wait.as_secs_f64());
    let mut task = app.task_of(project, id).await?;
    if wait > 0.0 && !task.state.status.is_final() {
        task = until_final(&app, project, id, Duration::from_secs_f64(wait)).await?;
    }
    Ok(json(&Names::new(&app).task(&task).await?))
}

async fn until_final(app: &App, project: ProjectId, id: TaskId, wait: Duration) -> Result<Task, ApiError> {
    let deadline = Instant::now() + wait;
    let watch = app.store.signals().watch_task(id);
    loop {
        // Registered before looking: an end between the look and the wait would otherwise be missed.
        let changed = watch.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let task = app.task_of(project, id).await?;
        if task.state.status.is_final() || app.stopping.is_cancelled() {
            return Ok(task);
        }
        tokio::select! {
            () = changed => {}
            () = app.stopping.cancelled() => {}
            () = tokio::time::sleep_until(deadline) => return Ok(task),
        }
    }
}

/// `POST P/tasks/{id}/cancel`. A task that has ended stays as it is, which is no error.
pub async fn cancel(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    _: Ignored,
) -> Answer {
    app.task_of(project, id).await?;
    app.store.cancel_unless_final(&[id], app.now()).await?;
    Ok(said("Cancelled"))
}

/// `POST P/tasks/{id}/retry`: a new task with the same package, payload and options.
pub async fn retry(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    origin: Origin,
    key: Key,
    MaybeTypedJson(request): MaybeTypedJson<RetryRequest>,
) -> Answer {
    let delay_s = request.validate(&app.config.limits)?;
    let task = app.task_of(project, id).await?;
    let again = retry_of(&app, task.new, delay_s, origin).await?;
    let key = key.of("retry", |hash| hash.update(format!("{id} {delay_s}")));
    Ok(queued(app.enqueue(project, vec![again], key).await?))
}

/// A new task like `old`, in the newest revision of its package, if that is still there.
pub(crate) async fn retry_of(
    app: &App,
    old: NewTask,
    delay_s: u32,
    origin: Origin,
) -> Result<NewTask, ApiError> {
    let code = app.store.code(old.code).await?.filter(|c| c.deleted_at.is_none());
    let code = code.ok_or_else(|| ApiError::conflict("the task's code package was deleted"))?;
    Ok(again(app, old, code.latest.rev, delay_s, origin))
}

/// A new task like `old`, in the revision `rev`. It stays in the trace of `old` unless the request is part of another.
pub(super) fn again(app: &App, old: NewTask, rev: u32, delay_s: u32, origin: Origin) -> NewTask {
    let now = app.now();
    let (seq, tag) = app.ids.mint(now);
    NewTask {
        id: TaskId::new(seq, tag),
        rev,
        created_at: now,
        run_at: now + Duration::from_secs(u64::from(delay_s)),
        schedule: None,
        parent: origin.parent,
        retry_of: Some(old.id),
        trace: origin.trace.or(old.trace),
        ..old
    }
}

/// `POST P/tasks/{id}/progress`.
pub async fn progress(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    TypedJson(request, _hold): TypedJson<ProgressRequest>,
) -> Answer {
    let (percent, msg) = request.validate(&app.config.limits)?;
    app.task_of(project, id).await?;
    if !app.store.progress(id, percent, msg, app.now()).await? {
        return Err(ApiError::conflict("the task has ended, its progress cannot be set any more"));
    }
    Ok(said("Progress set"))
}

/// `GET P/tasks/{id}/attempts`.
pub async fn attempts(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
) -> Answer {
    app.task_of(project, id).await?;
    let attempts = app.store.attempts(id).await?;
    Ok(json(&AttemptList { attempts: attempts.iter().map(Attempt::present).collect() }))
}

/// `GET P/tasks/{id}/result`: what the worker left, as it left it.
pub async fn result(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
) -> Answer {
    app.task_of(project, id).await?;
    let stored = app.store.result(id).await?.ok_or_else(|| ApiError::not_found("Result"))?;
    let bytes = app.content(id, stored).await?;
    let content_type = match std::str::from_utf8(&bytes) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => "application/json",
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    };
    Ok(written_by_worker(content_type, bytes))
}

impl App {
    /// The bytes of something that is kept with a task.
    pub(crate) async fn content(&self, task: TaskId, stored: Stored) -> Result<bytes::Bytes, ApiError> {
        match stored {
            Stored::Inline(bytes) => Ok(bytes.into()),
            Stored::Blob(blob) => {
                let content = self.blobs.get(Area::Tasks(Partition::of(task)), &blob.sha256).await?;
                content.ok_or_else(|| ApiError::internal("a blob that a task names is not kept"))
            }
        }
    }
}
