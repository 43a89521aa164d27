//! Reading bodies: bounded in size, in time, and in what all of them together take.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use windlass_model::wire::lenient::Object;

use crate::app::{App, BODY_UNIT};
use crate::error::ApiError;

/// The time that a body may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two pieces.
    pub idle: Duration,
    /// When all of it must be there.
    pub until: Instant,
}

impl Patience {
    /// Until `total` from now.
    pub fn new(idle: Duration, total: Duration) -> Self {
        Self { idle, until: Instant::now() + total }
    }

    /// The next piece of the body; `None` at its end.
    pub async fn next(&self, body: &mut Body) -> Result<Option<Bytes>, ApiError> {
        let deadline = self.until.min(Instant::now() + self.idle);
        loop {
            match tokio::time::timeout_at(deadline, body.frame()).await {
                Err(_) => {
                    return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(ApiError::bad_request("the body ended early")),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// A whole body, and the part of the memory budget that it holds.
#[derive(Debug)]
pub struct Raw {
    /// The body.
    pub bytes: Bytes,
    /// To be kept as long as the bytes, or what was read from them.
    pub hold: Hold,
}

/// A part of the memory budget; given back when dropped.
#[derive(Debug, Default)]
pub struct Hold {
    _permit: Option<OwnedSemaphorePermit>,
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than the limit of {limit} bytes"),
    )
}

/// Reads the body whole, up to `limit` bytes.
pub async fn read(app: &App, headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Raw, ApiError> {
    let http = &app.config.http;
    let patience = Patience::new(http.idle_timeout, http.body_timeout);
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|n| n > limit as u64) {
        linger(body);
        return Err(too_large(limit));
    }
    let Some(first) = patience.next(&mut body).await? else {
        return Ok(Raw { bytes: Bytes::new(), hold: Hold { _permit: None } });
    };
    if first.len() > limit {
        linger(body);
        return Err(too_large(limit));
    }
    if body.is_end_stream() {
        // The usual case: one piece, no copy.
        let budget = grow(app, None, first.len())?;
        return Ok(Raw { bytes: first, hold: Hold { _permit: budget } });
    }
    let mut whole = first.to_vec();
    let mut budget = grow(app, None, whole.len())?;
    while let Some(piece) = patience.next(&mut body).await? {
        if whole.len() + piece.len() > limit {
            linger(body);
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&piece);
        budget = grow(app, budget, whole.len())?;
    }
    Ok(Raw { bytes: whole.into(), hold: Hold { _permit: budget } })
}

/// Takes what `size` bytes need of the budget beyond what is held. Who finds too little left is turned away at once:
/// waiting with half a body in hand is how such budgets lock up.
fn grow(
    app: &App,
    held: Option<OwnedSemaphorePermit>,
    size: usize,
) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    let units = if size <= BODY_UNIT { 0 } else { size.div_ceil(BODY_UNIT) };
    let missing = units.saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
    if missing == 0 {
        return Ok(held);
    }
    let wanted = u32::try_from(missing).unwrap_or(u32::MAX);
    let more = app.bodies.clone().try_acquire_many_owned(wanted);
    let more =
        more.map_err(|_| ApiError::busy("too many large requests at once; nothing was stored, try again"))?;
    Ok(Some(match held {
        Some(mut held) => {
            held.merge(more);
            held
        }
        None => more,
    }))
}

/// Reads on for a while beside the answer, and forgets it: a client that sends everything before it reads would
/// otherwise see a broken connection instead of the answer.
pub fn linger(mut body: Body) {
    const MOST: usize = 512 * 1024 * 1024;
    if body.is_end_stream() {
        return;
    }
    let patience = Patience::new(Duration::from_secs(2), Duration::from_secs(30));
    tokio::spawn(async move {
        let mut seen = 0;
        while let Ok(Some(piece)) = patience.next(&mut body).await {
            seen += piece.len();
            if seen > MOST {
                return;
            }
        }
    });
}

/// Reads and forgets a body that has no meaning, such as the `{}` that some clients send with GET and DELETE; so the
/// connection can be used again.
pub async fn drop_unused(app: &App, request: Request) -> Result<Request, ApiError> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    read(app, &parts.headers, body, app.config.http.body_bytes).await?;
    Ok(Request::from_parts(parts, Body::empty()))
}

/// A body that has no meaning on this route.
#[derive(Debug)]
pub struct Ignored;

impl FromRequest<Arc<App>> for Ignored {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        drop_unused(app, request).await.map(|_| Ignored)
    }
}

impl FromRequest<Arc<App>> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        read(app, &parts.headers, body, app.config.http.body_bytes).await
    }
}

/// A JSON body, whatever its content type says.
#[derive(Debug)]
pub struct Json<T>(pub T, pub Hold);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let raw = Raw::from_request(request, app).await?;
        parse(&raw.bytes).map(|value| Json(value, raw.hold))
    }
}

/// A JSON body of the runner protocol: a runner that may not report cannot free its slots, so the limit is not the
/// one that an operator sets for clients.
#[derive(Debug)]
pub struct RunnerJson<T>(pub T, pub Hold);

/// Runners send 8 MiB of output and results at most, which JSON may make six times as long.
const RUNNER_BYTES: usize = 64 * 1024 * 1024;

impl<T: DeserializeOwned> FromRequest<Arc<App>> for RunnerJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let raw = read(app, &parts.headers, body, RUNNER_BYTES).await?;
        parse(&raw.bytes).map(|value| RunnerJson(value, raw.hold))
    }
}

/// A JSON body on a route where the content type must say so: queue, schedule, progress.
#[derive(Debug)]
pub struct TypedJson<T>(pub T, pub Hold);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for TypedJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers());
        let raw = Raw::from_request(request, app).await?;
        if !is_json {
            return Err(not_json());
        }
        parse(&raw.bytes).map(|value| TypedJson(value, raw.hold))
    }
}

/// A JSON body that may be left out: nothing means the default.
#[derive(Debug)]
pub struct MaybeJson<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<App>> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let raw = Raw::from_request(request, app).await?;
        parse_or_default(&raw.bytes).map(MaybeJson)
    }
}

/// The same where the content type must say so if there is a body: retry.
#[derive(Debug)]
pub struct MaybeTypedJson<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<App>> for MaybeTypedJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers());
        let raw = Raw::from_request(request, app).await?;
        if !is_json && !raw.bytes.is_empty() {
            return Err(not_json());
        }
        parse_or_default(&raw.bytes).map(MaybeTypedJson)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn not_json() -> ApiError {
    ApiError::new(StatusCode::NOT_ACCEPTABLE, "the header `Content-Type: application/json` is required here")
}

fn parse_or_default<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) { Ok(T::default()) } else { parse(bytes) }
}

/// What a JSON object says; the error says where it is wrong.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        ApiError::bad_request(format!("the body is not UTF-8 text (byte {} on)", e.valid_up_to()))
    })?;
    serde_json::from_str(text).map(|Object(value)| value).map_err(|e| match e.classify() {
        serde_json::error::Category::Eof if text.trim().is_empty() => {
            ApiError::bad_request("the body is empty, a JSON object is required")
        }
        serde_json::error::Category::Data => ApiError::bad_request(misfit::<T>(text, &e)),
        _ => ApiError::bad_request(format!("the body is not valid JSON: {e}")),
    })
}

/// What does not fit, with the name of the field. Only who sends such a body pays for the second reading.
fn misfit<T: DeserializeOwned>(text: &str, error: &serde_json::Error) -> String {
    let json = &mut serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, Object<T>>(json) {
        Err(e) if e.path().iter().next().is_some() => format!("{}: {}", e.path(), e.inner()),
        _ => format!("the body does not fit: {error}"),
    }
}
