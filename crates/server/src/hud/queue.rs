//! The form that queues a task: empty, or filled with what another got.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use windlass_model::id::TaskId;
use windlass_model::project::Scope;
use windlass_model::wire::tasks::TaskRequest;

use super::answer::{Shown, show};
use super::choices::code_names;
use super::form::Form;
use super::guard::Here;
use super::payload;
use super::shell::Shell;
use super::task::to_task;
use crate::api::params::Id;
use crate::api::present::Names;
use crate::api::queueing::{Key, Origin};
use crate::app::App;
use crate::auth::InProject;
use crate::error::ApiError;
use crate::query::Query;

#[derive(Template)]
#[template(path = "hud/queue.html")]
struct QueuePage {
    shell: Shell,
    codes: Vec<String>,
    code_name: String,
    payload: String,
    label: String,
    cluster: String,
    priority: String,
    timeout: String,
    of: String,
}

/// `GET /p/{project}/queue?code_name=…`: an empty form.
pub(super) async fn form(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    query: Query,
) -> Shown {
    let empty = String::new;
    let code_name = query.get("code_name").unwrap_or_default().to_owned();
    let page = QueuePage {
        codes: code_names(&app, project).await?,
        code_name,
        payload: empty(),
        label: empty(),
        cluster: empty(),
        priority: empty(),
        timeout: empty(),
        of: empty(),
        shell: Shell { live: String::new(), ..here.shell(&app, "Tasks", "Queue a task")? },
    };
    Ok(show(&page))
}

/// `GET /p/{project}/tasks/{id}/edit`: the form filled with what the task got, to be changed and queued anew.
pub(super) async fn edit(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
) -> Shown {
    if !here.may(Scope::Read) {
        return Err(ApiError::forbidden("the payload is shown to those who may read").into());
    }
    let task = app.task_of(project, id).await?.new;
    if !here.may(Scope::Manage) && payload::content(&task.payload, false).is_masked {
        let msg = "something in this payload looks like a secret, which is shown to those who may manage";
        return Err(ApiError::forbidden(msg).into());
    }
    let payload = String::from_utf8(task.payload)
        .map_err(|_| ApiError::bad_request("the payload is not text, so it cannot be edited here"))?;
    let page = QueuePage {
        codes: code_names(&app, project).await?,
        code_name: Names::new(&app).name(task.code).await?,
        payload,
        label: task.label.unwrap_or_default(),
        cluster: task.cluster,
        priority: task.priority.get().to_string(),
        timeout: task.timeout_s.to_string(),
        of: id.to_string(),
        shell: Shell { live: String::new(), ..here.shell(&app, "Tasks", "Queue it again, changed")? },
    };
    Ok(show(&page))
}

/// `POST /p/{project}/queue`: shows the new task. With `retry_of` it is one that was done before, changed.
pub(super) async fn queue(State(app): State<Arc<App>>, InProject(project): InProject, form: Form) -> Shown {
    let request = TaskRequest {
        code_name: form.text("code_name"),
        payload: form.payload(),
        label: form.text("label"),
        cluster: form.text("cluster"),
        priority: form.number("priority")?,
        timeout: form.number("timeout")?,
        delay: form.number("delay")?,
        ..TaskRequest::default()
    };
    let order = request.validate(&app.config.limits)?;
    let origin = match form.0.id("retry_of")?.map(TaskId) {
        None => Origin::default(),
        Some(id) => {
            let trace = app.task_of(project, id).await?.new.trace;
            Origin { retry_of: Some(id), trace, ..Origin::default() }
        }
    };
    let queued = app.queue(project, origin, vec![order], Key::default()).await?;
    Ok(to_task(project, queued.first().map(|t| t.id), "Queued"))
}
