//! What a path names.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use windlass_model::code::Code;
use windlass_model::id::{CodeId, ProjectId, RunnerId, ScheduleId, TaskId, TokenId};
use windlass_model::schedule::Schedule;
use windlass_model::task::Task;

use crate::app::App;
use crate::error::ApiError;

/// The `{id}` in the path. What is not an id is not found, like any other id that nothing has.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

/// Something that is named by an id, for messages.
pub trait Named: FromStr {
    /// What people call it.
    const NAME: &'static str;
}

impl Named for TaskId {
    const NAME: &'static str = "Task";
}

impl Named for CodeId {
    const NAME: &'static str = "Code package";
}

impl Named for ScheduleId {
    const NAME: &'static str = "Schedule";
}

impl Named for TokenId {
    const NAME: &'static str = "Token";
}

impl Named for RunnerId {
    const NAME: &'static str = "Runner";
}

impl<T: Named> FromRequestParts<Arc<App>> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let id = param(parts, app, "id").await?.parse();
        id.map(Id).map_err(|_| ApiError::not_found(T::NAME))
    }
}

/// The `{name}` in the path, decoded.
#[derive(Clone, Debug)]
pub struct Name(pub String);

impl FromRequestParts<Arc<App>> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        param(parts, app, "name").await.map(Name)
    }
}

async fn param(parts: &mut Parts, app: &Arc<App>, name: &str) -> Result<String, ApiError> {
    let params = RawPathParams::from_request_parts(parts, app).await;
    let params = params.map_err(|_| ApiError::bad_request("the path is not UTF-8"))?;
    let found = params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    found.ok_or_else(|| ApiError::internal("a route lacks the parameter that its handler reads"))
}

impl App {
    /// The task, if it is the project's.
    pub(crate) async fn task_of(&self, project: ProjectId, id: TaskId) -> Result<Task, ApiError> {
        let task = self.store.task(id).await?.filter(|t| t.new.project == project);
        task.ok_or_else(|| ApiError::not_found(TaskId::NAME))
    }

    /// The package, if it is the project's and was not deleted.
    pub(crate) async fn code_of(&self, project: ProjectId, id: CodeId) -> Result<Code, ApiError> {
        let code = self.store.code(id).await?.filter(|c| c.project == project && c.deleted_at.is_none());
        code.ok_or_else(|| ApiError::not_found(CodeId::NAME))
    }

    /// The package with this name in the project; `field` is where the name was given.
    pub(crate) async fn code_named(
        &self,
        project: ProjectId,
        name: &str,
        field: &str,
    ) -> Result<Arc<Code>, ApiError> {
        let code = self.store.code_named(project, name).await?;
        code.ok_or_else(|| {
            let msg = format!("{field}: there is no code package named {name:?} in this project");
            ApiError::new(http::StatusCode::NOT_FOUND, msg)
        })
    }

    /// The schedule, if it is the project's.
    pub(crate) async fn schedule_of(&self, project: ProjectId, id: ScheduleId) -> Result<Schedule, ApiError> {
        let schedule = self.store.schedule(id).await?.filter(|s| s.project == project);
        schedule.ok_or_else(|| ApiError::not_found(ScheduleId::NAME))
    }
}
