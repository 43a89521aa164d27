//! Runners as operators see them.

use std::sync::Arc;

use axum::extract::State;
use windlass_model::id::RunnerId;
use windlass_model::wire::more::{Runner, RunnerList};

use super::params::Id;
use crate::app::App;
use crate::body::MaybeJson;
use crate::error::{Answer, ApiError, json, said};

/// `GET /2/runners`: live ones first, newest first.
pub async fn list(State(app): State<Arc<App>>) -> Answer {
    let mut runners = app.store.runners().await?;
    runners.sort_by_key(|(r, _)| (r.gone_at.is_some(), std::cmp::Reverse(r.id)));
    Ok(json(&RunnerList {
        runners: runners.iter().map(|(r, running)| Runner::present(r, *running)).collect(),
    }))
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
    if !app.store.set_draining(runner, request.drain).await? {
        return Err(ApiError::not_found("Runner"));
    }
    if let Some(session) = app.sessions.get(runner) {
        session.set_draining(request.drain);
    }
    Ok(said(if request.drain { "Draining" } else { "Resumed" }))
}
