//! One form for everything that goes wrong: a status and `{"msg": "…"}`.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use windlass_model::wire::{BadField, BadKind, Msg};
use windlass_store::StoreError;

/// Why a request was not done. Clients show `msg`; those that branch on anything branch on the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// What went wrong and, where there is one, the way out.
    pub msg: String,
}

impl ApiError {
    /// The error with this status and text.
    pub fn new(status: StatusCode, msg: impl Into<String>) -> Self {
        Self { status, msg: msg.into() }
    }

    /// Something in the request cannot be used.
    pub fn bad_request(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, msg)
    }

    /// `what` is not there, or not the caller's to see: the two must look alike.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    /// The caller is known and may not.
    pub fn forbidden(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, msg)
    }

    /// It contradicts how things stand.
    pub fn conflict(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, msg)
    }

    /// Nothing was done, and the same request may be made again.
    pub fn busy(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, msg)
    }

    /// It is our fault; `what` is for the log, not for the client.
    pub fn internal(what: &str) -> Self {
        tracing::error!(error = what, "a request failed: {what}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error; the server's log says more")
    }
}

impl From<BadField> for ApiError {
    fn from(bad: BadField) -> Self {
        let status = match bad.kind {
            BadKind::Missing | BadKind::Invalid => StatusCode::BAD_REQUEST,
            BadKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Self::new(status, bad.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Full | StoreError::NotLeading => {
                Self::busy(error.to_string())
            }
            StoreError::SessionOver => Self::new(StatusCode::NOT_FOUND, format!("{error}; register again")),
            StoreError::NothingToRun(_) => Self::bad_request(error.to_string()),
            StoreError::LimitReached(_) => Self::forbidden(error.to_string()),
            StoreError::InUse { .. }
            | StoreError::Unusable { .. }
            | StoreError::NoBlobs { .. }
            | StoreError::Damaged(_) => Self::internal(&error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // Kept with the answer, for those who show errors in another way.
        let kept = self.clone();
        let mut response = json(&Msg::new(shortened(self.msg)));
        response.extensions_mut().insert(kept);
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // Some clients' HTTP libraries fail on a 401 without it.
            let challenge = HeaderValue::from_static("Bearer realm=\"windlass\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Longest `msg` of an error: it may quote what was sent, which may be long, or not be for other eyes.
const MAX_MSG_BYTES: usize = 500;

/// The text without its middle, if it is long.
pub(crate) fn shortened(mut msg: String) -> String {
    if msg.len() > MAX_MSG_BYTES {
        // The end says where: keep some of it, too.
        let (head, tail) =
            (msg.floor_char_boundary(MAX_MSG_BYTES - 100), msg.ceil_char_boundary(msg.len() - 90));
        msg.replace_range(head..tail, " … ");
    }
    msg
}

/// The answer 200 with `body` as JSON.
pub fn json<T: serde::Serialize>(body: &T) -> Response {
    let bytes = serde_json::to_vec(body).expect("answers are plain data, which is always JSON");
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response()
}

/// Bytes that a worker wrote, of this type and of no other: no browser may take them for a page.
pub fn written_by_worker(content_type: &'static str, bytes: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, bytes.into()).into_response()
}

/// The answer 200 `{"msg": msg}`.
pub fn said(msg: &str) -> Response {
    json(&Msg::new(msg))
}

/// What a handler answers.
pub type Answer = Result<Response, ApiError>;
