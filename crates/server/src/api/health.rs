//! Whether the server is there, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;

use crate::app::App;
use crate::error::{Answer, ApiError, said};

/// How long the store may take to say that it can be written to.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /health/live`: it answers.
pub async fn live() -> Answer {
    Ok(said("live"))
}

/// `GET /health/ready`: it is not stopping, and the store can be written to. 503 otherwise, with the reason.
pub async fn ready(State(app): State<Arc<App>>) -> Answer {
    if app.stopping.is_cancelled() {
        return Err(ApiError::busy("stopping"));
    }
    match tokio::time::timeout(CHECK_TIMEOUT, app.store.check()).await {
        Ok(checked) => checked.map_err(|e| ApiError::busy(e.to_string()))?,
        Err(_) => return Err(ApiError::busy("the store takes too long to answer")),
    }
    Ok(said("ready"))
}
