//! What a form sent.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use windlass_model::wire::BadField;
use windlass_model::wire::lenient::{Number, Payload, Text};

use super::answer::Failure;
use crate::app::App;
use crate::body;
use crate::query::Query;

/// The fields of a form.
#[derive(Debug)]
pub(super) struct Form(pub(super) Query);

/// Room for everything but the payload.
const REST_BYTES: usize = 256 * 1024;

impl Form {
    /// A field as clients of the API send one: an empty field is one that is not there.
    pub(super) fn text(&self, field: &str) -> Text {
        self.0.get(field).map_or(Text::default(), |value| Text::Is(value.to_owned()))
    }

    /// The same of a number.
    pub(super) fn number(&self, field: &str) -> Result<Number, BadField> {
        Ok(self.0.number(field)?.map_or(Number::default(), Number::Is))
    }

    /// A field of a form that shows what there is: what is emptied is taken away.
    pub(super) fn new_text(&self, field: &str) -> Text {
        Text::Is(self.0.get(field).unwrap_or_default().to_owned())
    }

    /// The same of a number, where 0 means that there is none.
    pub(super) fn new_number(&self, field: &str) -> Result<Number, BadField> {
        Ok(Number::Is(self.0.number(field)?.unwrap_or(0.0)))
    }

    /// The field `payload`. A browser sends a line feed as two characters.
    pub(super) fn payload(&self) -> Payload {
        Payload(self.0.get("payload").unwrap_or_default().replace("\r\n", "\n").into_bytes())
    }
}

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
