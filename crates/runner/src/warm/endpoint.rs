//! The AWS Lambda Runtime API over HTTP, for one worker.
//!
//! A worker may open several connections: some clients ask on one and answer on another. All that is known of it is in
//! its [`Protocol`].

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::crew::Crew;
use super::protocol::{Answer, Event, News, Next, Protocol, Refusal};

/// Connections of one worker at once; more wait to be accepted.
const CONNECTIONS: usize = 32;

/// Most bytes of the description of an error; of the rest nothing is kept.
const ERROR_BYTES: usize = 256 * 1024;

/// Most bytes of an error's class, and of its message.
const CLASS_BYTES: usize = 200;
const MSG_BYTES: usize = 4096;

/// Time before accepting is tried again, after it failed: this process may have too many files open.
const RETRY: Duration = Duration::from_millis(100);

/// Says what kind an error is.
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// What one worker talks to.
#[derive(Debug)]
pub(crate) struct Endpoint {
    protocol: Mutex<Protocol>,
    /// When it took its last task.
    taken_at: Mutex<Option<Instant>>,
    /// The worker's processes, where they can be seen.
    crew: Mutex<Option<Crew>>,
    /// Most bytes of a result.
    most: usize,
    /// There is a task.
    offered: Notify,
    /// There is something that the runner has not heard.
    told: Notify,
}

impl Endpoint {
    /// An endpoint that keeps results of up to `most` bytes, for a worker of these processes.
    pub(crate) fn new(most: usize, crew: Option<Crew>) -> Arc<Self> {
        Arc::new(Self {
            protocol: Mutex::new(Protocol::new()),
            taken_at: Mutex::new(None),
            crew: Mutex::new(crew),
            most,
            offered: Notify::new(),
            told: Notify::new(),
        })
    }

    /// Where the worker stands.
    pub(crate) fn protocol(&self) -> MutexGuard<'_, Protocol> {
        self.protocol.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a task to a worker that has none.
    pub(crate) fn offer(&self, event: Event) {
        self.protocol().offer(event);
        // Whoever was told and has hung up passes it on to the next who waits.
        self.offered.notify_one();
    }

    /// Waits for what the worker has to tell. May be dropped.
    pub(crate) async fn news(&self) -> News {
        loop {
            if let Some(news) = self.protocol().news() {
                return news;
            }
            self.told.notified().await;
        }
    }

    /// Since when it has the task that it has.
    pub(crate) fn taken_at(&self) -> Option<Instant> {
        let is_running = self.protocol().is_running();
        self.taken_at.lock().unwrap_or_else(PoisonError::into_inner).filter(|_| is_running)
    }

    /// Whether the worker has processes that it had not before its first task.
    pub(crate) fn has_grown(&self) -> bool {
        let mut crew = self.crew.lock().unwrap_or_else(PoisonError::into_inner);
        crew.as_mut().is_some_and(Crew::has_grown)
    }

    /// Answers whoever connects, for as long as it is polled.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        // Ends with us.
        let mut connections = JoinSet::new();
        loop {
            let place = free.clone().acquire_owned().await.expect("the semaphore is never closed");
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((socket, _)) => {
                    // What is small is waited for.
                    let _ = socket.set_nodelay(true);
                    let endpoint = self.clone();
                    connections.spawn(async move {
                        let service = service_fn(|request| {
                            let endpoint = endpoint.clone();
                            async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
                        });
                        // An error is a worker that hung up or does not speak HTTP: its process tells the rest.
                        let _ = http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(None)
                            .auto_date_header(false)
                            .serve_connection(TokioIo::new(socket), service)
                            .await;
                        drop(place);
                    });
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let Some(call) = path.strip_prefix("/2018-06-01/runtime/") else { return unknown() };
        match (request.method(), call) {
            (&Method::GET, "invocation/next") => self.next().await,
            (&Method::POST, "init/error") => {
                let (head, body) = request.into_parts();
                let Some((class, msg)) = error(&head.headers, body).await else { return cut_off() };
                let taken = self.protocol().init_error(class, msg);
                self.accepted(taken)
            }
            (&Method::POST, call) => {
                let Some((id, what)) = call.strip_prefix("invocation/").and_then(|call| call.split_once('/'))
                else {
                    return unknown();
                };
                let (id, is_error) = match what {
                    "response" => (id.to_owned(), false),
                    "error" => (id.to_owned(), true),
                    _ => return unknown(),
                };
                let may = self.protocol().may_answer(&id);
                if may.is_err() {
                    return self.accepted(may);
                }
                let (head, body) = request.into_parts();
                let answer = if is_error {
                    error(&head.headers, body).await.map(|(class, msg)| Answer::Error(class, msg))
                } else {
                    response(body, self.most).await
                };
                // Its connection broke; if it lives it says it again.
                let Some(answer) = answer else { return cut_off() };
                let is_too_large = matches!(answer, Answer::TooLarge(_));
                let taken = self.protocol().answer(&id, answer);
                let accepted = self.accepted(taken);
                if taken.is_ok() && is_too_large { too_large(self.most) } else { accepted }
            }
            _ => unknown(),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        loop {
            let (next, is_first) = {
                let mut protocol = self.protocol();
                let had_begun = protocol.has_begun();
                (protocol.next(), !had_begun)
            };
            match next {
                Next::Take(event) => {
                    *self.taken_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    if let Some(crew) = &mut *self.crew.lock().unwrap_or_else(PoisonError::into_inner) {
                        crew.takes_task();
                    }
                    let mut response = Response::new(Full::new(event.payload));
                    *response.headers_mut() = event.headers;
                    return response;
                }
                Next::Refuse(refusal) => return self.accepted(Err(refusal)),
                Next::Wait => {
                    if is_first {
                        self.told.notify_one();
                    }
                    self.offered.notified().await;
                }
            }
        }
    }

    /// The answer to a call that was taken or not; the runner hears of it.
    fn accepted(&self, taken: Result<(), Refusal>) -> Response<Full<Bytes>> {
        self.told.notify_one();
        match taken {
            Ok(()) => say(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_owned()),
            Err(refusal) => refuse(refusal.status, refusal.kind, &format!("the worker {}", refusal.why)),
        }
    }
}

fn say(status: StatusCode, json: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(json)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(status: StatusCode, kind: &str, why: &str) -> Response<Full<Bytes>> {
    say(status, serde_json::json!({ "errorType": kind, "errorMessage": why }).to_string())
}

fn unknown() -> Response<Full<Bytes>> {
    refuse(StatusCode::NOT_FOUND, "NotFound", "the runtime API has no such call")
}

fn cut_off() -> Response<Full<Bytes>> {
    refuse(StatusCode::BAD_REQUEST, "TruncatedBody", "the body ended early")
}

fn too_large(most: usize) -> Response<Full<Bytes>> {
    let why = format!("the response is larger than {most} bytes");
    refuse(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &why)
}

/// The result in `body`, whole or streamed; `None`: it was cut off. What is too large is read to its end, so that the
/// worker hears of it, and not kept.
async fn response(mut body: Incoming, most: usize) -> Option<Answer> {
    let (mut kept, mut length) = (Vec::new(), 0);
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.ok()?;
        match frame.into_data() {
            Ok(data) => {
                length += data.remaining() as u64;
                if length <= most as u64 {
                    kept.extend_from_slice(&data);
                } else {
                    kept = Vec::new();
                }
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    // A stream that fails half way says so at its end.
    if let Some(class) = text(&trailers, ERROR_TYPE) {
        let body = text(&trailers, "lambda-runtime-function-error-body");
        return Some(Answer::Error(cut(&class, CLASS_BYTES), cut(&body.unwrap_or_default(), MSG_BYTES)));
    }
    Some(if length > most as u64 { Answer::TooLarge(length) } else { Answer::Response(kept) })
}

/// An error as AWS's clients describe it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Described {
    error_type: Option<String>,
    error_message: Option<String>,
}

/// Class and message of the error in `body`; `None`: it was cut off.
async fn error(headers: &HeaderMap, mut body: Incoming) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data()
            && bytes.len() + data.len() <= ERROR_BYTES
        {
            bytes.extend_from_slice(&data);
        }
    }
    let described: Option<Described> = serde_json::from_slice(&bytes).ok();
    let is_described = described.is_some();
    let described = described.unwrap_or_default();
    let class = described.error_type.or_else(|| text(headers, ERROR_TYPE));
    let msg = match described.error_message {
        Some(msg) => msg,
        None if is_described => String::new(),
        None => String::from_utf8_lossy(&bytes).into_owned(),
    };
    let class = class.filter(|class| !class.is_empty()).unwrap_or_else(|| "Error".to_owned());
    Some((cut(&class, CLASS_BYTES), cut(&msg, MSG_BYTES)))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The first bytes of a text, in whole characters.
fn cut(text: &str, most: usize) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= most).last();
    text[..end.unwrap_or(0)].to_owned()
}
