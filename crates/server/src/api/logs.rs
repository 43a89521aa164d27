//! Logs: as plain text, and live.
//!
//! A live log is a stream of server-sent events. Each chunk is an event whose `id` is the number of the chunk and
//! whose data is JSON: `{"n": 1, "stream": "stdout", "at_ms": 3, "data": "text"}`. Output that is not UTF-8 survives:
//! such a chunk has `"data": {"base64": "…"}` instead. When the attempt has ended and everything was sent, an event
//! named `end` with `{"attempt": 1, "status": "complete"}` follows, `status` being where the task stands then.
//! `Last-Event-ID` (browsers send it by themselves) or `?after=N` goes on after chunk N.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, header};
use windlass_model::id::{TaskId, TokenId};
use windlass_model::log::{self, LogChunk, Stream};
use windlass_model::wire::BadField;
use windlass_store::signals::TaskWatch;
use windlass_store::types::{LogBody, LogPart};

use super::params::Id;
use crate::app::App;
use crate::auth::{Caller, InProject};
use crate::error::{Answer, ApiError, written_by_worker};
use crate::query::Query;

/// Query parameters, for the API document.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("attempt", "of this attempt, from 1; the newest that has a log if absent"),
    ("follow", "1: live, as server-sent events"),
    ("after", "with follow: go on after this chunk; the header Last-Event-ID does the same"),
];

/// A comment is sent this often when there is nothing else, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET P/tasks/{id}/log`: standard output and error in the order written, to the byte.
pub async fn read(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    Caller(caller): Caller,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    app.task_of(project, id).await?;
    let attempt = count(&query, "attempt")?;
    if query.flag("follow") {
        let last_seen = headers.get("last-event-id").and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let after = last_seen.or(count(&query, "after")?).unwrap_or(0);
        return Ok(follow(app, caller.token(), id, attempt, after, Box::new(write_json)));
    }
    text(&app, id, attempt, None).await
}

/// `GET P/tasks/{id}/outlog`: standard output only.
pub async fn read_stdout(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    query: Query,
) -> Answer {
    app.task_of(project, id).await?;
    text(&app, id, count(&query, "attempt")?, Some(Stream::Stdout)).await
}

/// A whole number in the query.
pub(crate) fn count(query: &Query, key: &str) -> Result<Option<u32>, BadField> {
    let number = query.number(key)?;
    let whole = number.map(|n| if n >= 0.0 && n.fract() == 0.0 { Ok(n as u32) } else { Err(n) }).transpose();
    whole.map_err(|n| BadField::invalid(key, format!("must be a whole number of at least 0, is {n}")))
}

/// The log as plain text, all of it or one stream of it.
pub(crate) async fn text(app: &App, id: TaskId, attempt: Option<u32>, only: Option<Stream>) -> Answer {
    let not_yet = || ApiError::not_found("Log");
    let part = app.store.log(id, attempt, 0).await?.ok_or_else(not_yet)?;
    let chunks = chunks(app, id, &part, 0).await?;
    // Clients that wait for a log ask again on a 404, so a running task that wrote nothing yet must not be a 200.
    if chunks.is_empty() && !part.is_whole {
        return Err(not_yet());
    }
    Ok(written_by_worker("text/plain; charset=utf-8", log::text(&chunks, only)))
}

/// The chunks of a part of a log after number `after`.
pub(crate) async fn chunks(
    app: &App,
    id: TaskId,
    part: &LogPart,
    after: u32,
) -> Result<Vec<LogChunk>, ApiError> {
    let mut chunks = match &part.log {
        LogBody::Live(chunks) => chunks.clone(),
        LogBody::Whole(None) => Vec::new(),
        LogBody::Whole(Some(stored)) => {
            let bytes = app.content(id, stored.clone()).await?;
            log::decode(&bytes).map_err(|e| ApiError::internal(&e.to_string()))?
        }
    };
    chunks.retain(|chunk| chunk.n > after);
    Ok(chunks)
}

/// How a chunk becomes an event.
pub(crate) type Written = Box<dyn FnMut(&mut Vec<u8>, &LogChunk) + Send>;

fn write_json(events: &mut Vec<u8>, chunk: &LogChunk) {
    events.extend_from_slice(format!("id: {}\ndata: ", chunk.n).as_bytes());
    serde_json::to_writer(&mut *events, chunk).expect("a chunk is plain data");
    events.extend_from_slice(b"\n\n");
}

/// The chunks after number `after` as server-sent events, each as `write` has it, until the attempt has ended or the
/// token is no longer good.
pub(crate) fn follow(
    app: Arc<App>,
    token: Option<TokenId>,
    id: TaskId,
    attempt: Option<u32>,
    after: u32,
    write: Written,
) -> Response {
    let watch = app.store.signals().watch_task(id);
    let follower = Follower { app, token, id, watch, attempt, after, write, is_first: true };
    let events = stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        let step = follower.next().await;
        Some((Ok::<_, Infallible>(step.events), step.goes_on.then_some(follower)))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// Somebody who reads a log as it is written.
struct Follower {
    app: Arc<App>,
    token: Option<TokenId>,
    id: TaskId,
    watch: TaskWatch,
    attempt: Option<u32>,
    after: u32,
    write: Written,
    is_first: bool,
}

/// What to send next.
struct Step {
    events: Bytes,
    goes_on: bool,
}

impl Follower {
    /// Waits until there is something to send.
    async fn next(&mut self) -> Step {
        if std::mem::take(&mut self.is_first) {
            // Sent at once, so that the client knows that it is connected.
            return Step { events: Bytes::from_static(b": following\n\n"), goes_on: true };
        }
        loop {
            let (app, watch) = (self.app.clone(), &self.watch);
            // Registered before looking, so that nothing is missed in between.
            let changed = watch.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.token.is_some_and(|token| !app.is_good(token)) {
                return Step { events: Bytes::new(), goes_on: false };
            }
            let seen = look(&app, self.id, self.attempt, self.after, &mut self.write).await;
            match seen {
                Ok(Look { attempt, events, after, is_end }) => {
                    self.attempt = attempt;
                    self.after = after;
                    if is_end || !events.is_empty() {
                        match app.answers.hold(events.into()) {
                            Ok(events) => return Step { events, goes_on: !is_end },
                            // It reconnects, and has missed nothing.
                            Err(_) => return Step { events: Bytes::new(), goes_on: false },
                        }
                    }
                }
                // The answer has begun, so there is no status to send: the client reconnects where it was.
                Err(e) => {
                    tracing::warn!(task.id = %self.id, error = e.msg, "a live log of task {} broke off", self.id);
                    return Step { events: Bytes::new(), goes_on: false };
                }
            }
            tokio::select! {
                () = changed => {}
                () = app.stopping.cancelled() => return Step { events: Bytes::new(), goes_on: false },
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    return Step { events: Bytes::from_static(b":\n\n"), goes_on: true };
                }
            }
        }
    }
}

/// What a look at a log found.
struct Look {
    attempt: Option<u32>,
    events: Vec<u8>,
    after: u32,
    is_end: bool,
}

async fn look(
    app: &App,
    id: TaskId,
    attempt: Option<u32>,
    after: u32,
    write: &mut Written,
) -> Result<Look, ApiError> {
    let Some(part) = app.store.log(id, attempt, after).await? else {
        let task = app.store.task(id).await?;
        let ended = task.filter(|t| t.state.status.is_final());
        let mut events = Vec::new();
        if let Some(task) = &ended {
            // It ended without such an attempt.
            end(&mut events, attempt, task.state.status.as_str());
        }
        return Ok(Look { attempt, events, after, is_end: ended.is_some() });
    };
    // From the first look on, the same attempt is followed: numbers of chunks mean nothing in another.
    let attempt = Some(part.attempt);
    let chunks = chunks(app, id, &part, after).await?;
    let mut events = Vec::new();
    for chunk in &chunks {
        write(&mut events, chunk);
    }
    if part.is_whole {
        let task = app.store.task(id).await?;
        end(&mut events, attempt, task.map_or("killed", |t| t.state.status.as_str()));
    }
    Ok(Look { attempt, events, after: chunks.last().map_or(after, |c| c.n), is_end: part.is_whole })
}

fn end(events: &mut Vec<u8>, attempt: Option<u32>, status: &str) {
    let data = serde_json::json!({ "attempt": attempt, "status": status });
    events.extend_from_slice(format!("event: end\ndata: {data}\n\n").as_bytes());
}
