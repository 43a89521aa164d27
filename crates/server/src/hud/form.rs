//! What a form sent.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};

use super::answer::Failure;
use crate::app::App;
use crate::body;
use crate::query::Query;

/// The fields of a form.
#[derive(Debug)]
pub(super) struct Form(pub(super) Query);

/// Room for everything but the payload.
const REST_BYTES: usize = 256 * 1024;

impl FromRequest<Arc<App>> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        // Any byte of a payload may be sent as three.
        let limit = 3 * app.config.limits.payload_bytes + REST_BYTES;
        let raw = body::read(app, &parts.headers, body, limit).await?;
        Ok(Form(Query::parse(&String::from_utf8_lossy(&raw.bytes))))
    }
}
