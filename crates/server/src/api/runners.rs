//! Runners as operators see them.

use std::sync::Arc;

use axum::extract::State;
use windlass_model::id::RunnerId;
use windlass_model::runner::{HostLoad, RunnerRecord};
use windlass_model::wire::more::{Runner, RunnerList};

use super::params::Id;
use crate::app::App;
use crate::body::MaybeJson;
use crate::error::{Answer, ApiError, json, said};

/// `GET /2/runners`: live ones first, newest first.
pub async fn list(State(app): State<Arc<App>>) -> Answer {
    let runners = in_order(&app).await?;
    Ok(json(&RunnerList {
        runners: runners.iter().map(|(r, running)| Runner::present(r, *running, load(&app, r))).collect(),
    }))
}

/// What the runner said of its host within the last lease, if it said so to this server.
pub(crate) fn load(app: &App, runner: &RunnerRecord) -> Option<HostLoad> {
    let session = app.sessions.get(runner.id).filter(|_| runner.gone_at.is_none())?;
    session.load(app.config.lease_ttl, app.now())
}

/// Every runner with the number of tasks it runs, live ones first, newest first.
pub(crate) async fn in_order(app: &App) -> Result<Vec<(RunnerRecord, u32)>, ApiError> {
    let mut runners = app.store.runners().await?;
    runners.sort_by_key(|(r, _)| (r.gone_at.is_some(), std::cmp::Reverse(r.id)));
    Ok(runners)
}

/// Body of `POST /2/runners/{id}/drain`.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
pub struct DrainRequest {
    /// `false`: take tasks again.
    #[serde(default = "yes")]
    pub drain: bool,
}

fn yes() -> bool {
    true
}

impl Default for DrainRequest {
    fn default() -> Self {
        Self { drain: true }
    }
}

/// `POST /2/runners/{id}/drain`.
pub async fn drain(
    State(app): State<Arc<App>>,
    Id(runner): Id<RunnerId>,
    MaybeJson(request): MaybeJson<DrainRequest>,
) -> Answer {
    set_draining(&app, runner, request.drain).await?;
    Ok(said(if request.drain { "Draining" } else { "Resumed" }))
}

/// Asks the runner to take no more tasks, or to take them again.
pub(crate) async fn set_draining(app: &App, runner: RunnerId, draining: bool) -> Result<(), ApiError> {
    if !app.store.set_draining(runner, draining).await? {
        return Err(ApiError::not_found("Runner"));
    }
    if let Some(session) = app.sessions.get(runner) {
        session.set_draining(draining);
    }
    Ok(())
}
