//! Projects, and the registry credentials that clients send for them.

use std::sync::Arc;

use axum::extract::State;
use windlass_model::isolation::UnknownLevel;
use windlass_model::project;
use windlass_model::runner::Login;
use windlass_model::wire::BadField;
use windlass_model::wire::credentials::{Credentials, Docker};
use windlass_model::wire::projects::{Project, ProjectChange, ProjectList, ProjectRequest};
use windlass_model::wire::tasks::MAX_NAME_BYTES;

use crate::app::App;
use crate::auth::{Caller, InProject};
use crate::body::Json;
use crate::error::{Answer, ApiError, json, said};
use crate::seal::Place;

/// Registries that a project has logins to: all are in memory.
const MAX_REGISTRIES: usize = 32;

async fn present(app: &App, project: &project::Project) -> Result<Project, ApiError> {
    let lanes = app.store.counts(Some(project.id)).await?;
    Ok(Project {
        id: project.id,
        name: project.name.clone(),
        created_at: project.created_at.into(),
        status: "active".to_owned(),
        task_count: lanes.iter().map(|lane| lane.counts.total()).sum(),
        min_isolation: project.min_isolation,
    })
}

/// `GET /2/projects`: those that the token reaches.
pub async fn list(State(app): State<Arc<App>>, Caller(caller): Caller) -> Answer {
    let mut projects = Vec::new();
    for project in app.projects() {
        if caller.project().is_none_or(|own| own == project.id) {
            projects.push(present(&app, &project).await?);
        }
    }
    Ok(json(&ProjectList { projects }))
}

/// `POST /2/projects`.
pub async fn create(State(app): State<Arc<App>>, Json(request, _hold): Json<ProjectRequest>) -> Answer {
    let project = make(&app, &request).await?;
    Ok(json(&present(&app, &project).await?))
}

/// Makes a project.
pub(crate) async fn make(app: &App, request: &ProjectRequest) -> Result<Arc<project::Project>, ApiError> {
    let name = request.name.non_empty("name")?.ok_or_else(|| BadField::missing("name"))?;
    if name.len() > MAX_NAME_BYTES {
        return Err(BadField::too_large("name", name.len(), MAX_NAME_BYTES).into());
    }
    Ok(app.create_project(name).await?)
}

/// `GET P`.
pub async fn read(State(app): State<Arc<App>>, InProject(project): InProject) -> Answer {
    let project = app.project(project).ok_or_else(|| ApiError::not_found("Project"))?;
    Ok(json(&present(&app, &project).await?))
}

/// `PATCH P`.
pub async fn change(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Json(request, _hold): Json<ProjectChange>,
) -> Answer {
    const FIELD: &str = "min_isolation";
    let level = request.min_isolation.get(FIELD)?.ok_or_else(|| BadField::missing(FIELD))?;
    let level = level.parse().map_err(|e: UnknownLevel| BadField::invalid(FIELD, e.to_string()))?;
    let project = app.set_min_isolation(project, level).await?;
    let project = project.ok_or_else(|| ApiError::not_found("Project"))?;
    Ok(json(&present(&app, &project).await?))
}

/// `POST P/credentials`: the login that the project's images are pulled with from one registry, as `docker login` has it.
/// Neither name nor password: it is taken away.
pub async fn credentials(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Json(request, _hold): Json<Credentials>,
) -> Answer {
    let Docker { username, password, registry } = request.open()?;
    let login = (!username.is_empty() || !password.is_empty()).then(|| {
        let login = Login { username, password };
        let login = serde_json::to_string(&login).expect("two texts are JSON");
        app.seal.seal(&Place::Registry { project, registry: &registry }, &login)
    });
    let is_one_more = |kept: &project::Project| !kept.registries.contains_key(&registry);
    let is_full = |kept: &project::Project| kept.registries.len() >= MAX_REGISTRIES;
    if login.is_some() && app.project(project).is_some_and(|kept| is_one_more(&kept) && is_full(&kept)) {
        let msg = format!("the project has logins to {MAX_REGISTRIES} registries, which is the limit");
        return Err(ApiError::bad_request(msg));
    }
    let is_kept = login.is_some();
    let known = app.set_registry(project, &registry, login).await?;
    known.ok_or_else(|| ApiError::not_found("Project"))?;
    Ok(said(if is_kept { "Login kept" } else { "Login removed" }))
}
