//! Deleting a package: what that means is said before.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use windlass_model::id::{CodeId, ProjectId};
use windlass_model::task::Status;
use windlass_store::types::counts_of;

use super::answer::{Shown, done, show};
use super::choices::MOST;
use super::guard::Here;
use super::same::{Same, quoted};
use super::shell::Shell;
use super::show::counted;
use crate::api::params::Id;
use crate::app::App;
use crate::auth::InProject;
use crate::error::ApiError;

#[derive(Template)]
#[template(path = "hud/code_delete.html")]
struct DeletePage {
    shell: Shell,
    id: CodeId,
    name: String,
    means: Vec<String>,
    same: Vec<Same>,
}

/// `GET /p/{project}/codes/{id}/delete`.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
) -> Shown {
    let code = app.code_of(project, id).await?;
    let cli = format!("windlass codes delete {}", quoted(&code.name));
    Ok(show(&DeletePage {
        id,
        means: means(&app, project, id).await?,
        same: vec![Same::new("Delete it", cli, "DELETE", project, &format!("/codes/{id}"), None)],
        name: code.name,
        shell: Shell { live: String::new(), ..here.shell(&app, "Codes", "Are you sure?")? },
    }))
}

/// What becomes of all that belongs to the package.
async fn means(app: &App, project: ProjectId, id: CodeId) -> Result<Vec<String>, ApiError> {
    let lanes = app.store.counts(Some(project)).await?;
    let stand = counts_of(&lanes, id);
    let running = stand.get(Status::Running) + stand.get(Status::Preparing);
    let schedules = app.store.schedules(project, MOST).await?;
    let is_cut = schedules.len() == MOST.limit;
    let alive = schedules.iter().filter(|s| s.template.code == id && !s.state.status.is_over()).count();
    let schedules = match (alive as u64, is_cut) {
        (n, false) => format!("Its schedules fire no more: {}.", counted(n, "schedule")),
        (n, true) => format!("Its schedules fire no more: at least {}.", counted(n, "schedule")),
    };
    Ok(vec![
        format!("What is queued is cancelled: {}.", counted(stand.get(Status::Queued), "task")),
        format!("What runs goes on to its end: {}.", counted(running, "task")),
        schedules,
        "Tasks that have ended stay, with their logs and results, and cannot be retried.".to_owned(),
        "Nothing brings it back. One that is uploaded by this name is another package.".to_owned(),
    ])
}

/// `POST /p/{project}/codes/{id}/delete`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
) -> Shown {
    let code = app.code_of(project, id).await?;
    app.store.delete_code(id, app.now()).await?;
    Ok(done(&format!("/p/{project}/codes"), &format!("Deleted {}", code.name)))
}
