//! The webhook: whatever is posted becomes the payload of a task.

use std::sync::Arc;

use axum::extract::State;
use windlass_model::wire::lenient::{Payload, Text};
use windlass_model::wire::tasks::{TaskRequest, WebhookQueued};

use super::queueing::{Key, Origin};
use crate::app::App;
use crate::auth::InProject;
use crate::body::Raw;
use crate::error::{Answer, json};
use crate::query::Query;

/// Query parameters, for the API document.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("code_name", "the package; required"),
    ("priority", "0, 1 or 2"),
    ("delay", "seconds before it may start"),
    ("cluster", "the runners it may run on"),
    ("timeout", "seconds one attempt may run"),
    ("label", "free text for filters"),
];

/// `POST P/tasks/webhook`: a body of any type, also none, and of any bytes.
pub async fn queue(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    origin: Origin,
    query: Query,
    key: Key,
    raw: Raw,
) -> Answer {
    let text = |key| query.get(key).map_or(Text::Unset, Text::from);
    let number =
        |key| Ok::<_, crate::error::ApiError>(query.number(key)?.map(Into::into).unwrap_or_default());
    let request = TaskRequest {
        code_name: text("code_name"),
        payload: Payload(raw.bytes.into()),
        priority: number("priority")?,
        timeout: number("timeout")?,
        delay: number("delay")?,
        cluster: text("cluster"),
        label: text("label"),
        ..TaskRequest::default()
    };
    let order = request.validate(&app.config.limits)?;
    let tasks = app.queue(project, origin, vec![order], key).await?;
    let task = tasks.first().expect("one order makes one task");
    Ok(json(&WebhookQueued { id: task.id, msg: "Queued up.".to_owned() }))
}
