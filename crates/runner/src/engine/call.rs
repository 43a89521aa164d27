//! One call of an engine: a request over its socket, and the answer.
//!
//! Each call has a connection of its own. They are few and local, and one that hangs keeps no other.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::address::EngineAddress;

/// Longest time an ordinary call may take. Engines do slow things behind a lock.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(60);

/// Most bytes of an answer that is read as a whole.
const ANSWER_BYTES: usize = 8 << 20;

/// What is sent.
pub(super) type Outgoing = BoxBody<Bytes, std::io::Error>;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// It was not answered.
    #[error("the engine at {0} gives no answer: {1}")]
    Gone(EngineAddress, String),
    /// The answer was no.
    #[error("the engine says {status}: {message}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its reason.
        message: String,
    },
}

/// A request without a body.
pub(super) fn nothing() -> Outgoing {
    Full::default().map_err(|never| match never {}).boxed()
}

/// The answer to a request, once its head is there; an answer that says no is an error.
pub(super) async fn begin(
    address: &EngineAddress,
    (method, path): (Method, &str),
    (kind, body): (&str, Outgoing),
) -> Result<Incoming, CallError> {
    let gone = |why: String| CallError::Gone(address.clone(), why);
    let socket = UnixStream::connect(address.socket()).await.map_err(|e| gone(e.to_string()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|e| gone(e.to_string()))?;
    // Ends with the answer's body, or with whoever waits for it.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "engine")
        .header(header::CONTENT_TYPE, kind)
        .body(body)
        .map_err(|e| gone(e.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|e| gone(e.to_string()))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer.into_body());
    }
    let text = whole(address, answer.into_body()).await?;
    let said: Option<Value> = serde_json::from_slice(&text).ok();
    let message = said.as_ref().and_then(|said| said.get("message")).and_then(Value::as_str).map_or_else(
        || String::from_utf8_lossy(&text).trim().to_owned(),
        |message| message.trim().to_owned(),
    );
    Err(CallError::Refused { status, message })
}

/// All of an answer.
pub(super) async fn whole(address: &EngineAddress, body: Incoming) -> Result<Bytes, CallError> {
    let gone = |why: String| CallError::Gone(address.clone(), why);
    Ok(Limited::new(body, ANSWER_BYTES).collect().await.map_err(|e| gone(e.to_string()))?.to_bytes())
}

/// A call from its start to the end of its answer.
pub(super) async fn call(
    address: &EngineAddress,
    to: (Method, &str),
    body: Option<&Value>,
) -> Result<Bytes, CallError> {
    let body = body.map_or_else(nothing, |body| {
        Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed()
    });
    within(address, CALL_LIMIT, async {
        let answer = begin(address, to, ("application/json", body)).await?;
        whole(address, answer).await
    })
    .await
}

/// What comes of it, if that is in time.
pub(super) async fn within<T>(
    address: &EngineAddress,
    limit: Duration,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let late = |_| CallError::Gone(address.clone(), format!("none within {} seconds", limit.as_secs()));
    timeout(limit, work).await.map_err(late)?
}
