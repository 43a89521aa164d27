//! Stacks and versions: small answers that some clients ask for.

use std::sync::Arc;

use axum::extract::State;

use crate::app::App;
use crate::error::{Answer, json};

/// The language stacks that IronWorker had. Kept for clients that list them; packages name what they run themselves.
const STACKS: [&str; 10] = [
    "scala-2.9",
    "ruby-2.1",
    "ruby-1.9",
    "python-3.2",
    "python-2.7",
    "php-5.4",
    "node-0.10",
    "java-1.7",
    "mono-3.0",
    "mono-2.10",
];

/// `GET /2/stacks`: a bare array.
pub async fn list() -> Answer {
    Ok(json(&STACKS))
}

/// Answer of `GET /version`.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Version {
    /// Of the API.
    pub api_version: u8,
    /// Always `windlass`.
    pub server: &'static str,
    /// Of the server.
    pub version: String,
}

/// `GET /version`.
pub async fn version(State(app): State<Arc<App>>) -> Answer {
    Ok(json(&Version { api_version: 2, server: "windlass", version: app.config.version.clone() }))
}
