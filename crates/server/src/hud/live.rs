//! The event stream of a page: it says "look again", and the page fetches itself anew and swaps what changed.
//!
//! The page of a task is told of its changes at most once in [`PAUSE`], all others by the [pulse](super::pulse).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use tokio::sync::{mpsc, watch};
use windlass_model::id::{TaskId, TokenId};
use windlass_store::signals::TaskWatch;

use super::answer::Shown;
use super::guard::Here;
use crate::api::params::Id;
use crate::app::App;
use crate::auth::InProject;

/// Shortest time between two events of a task's page.
const PAUSE: Duration = Duration::from_millis(500);

/// A comment is sent this often when nothing happens, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /p/{project}/live`: whenever any task changed.
pub(super) async fn project(State(app): State<Arc<App>>, here: Here) -> Shown {
    let token = here.session()?.token.record.id;
    let listener = app.hud.pulse.listen(&app);
    Ok(events(|send| follow_all(app, token, listener, send)))
}

/// `GET /p/{project}/tasks/{id}/live`: whenever this task changed.
pub(super) async fn task(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
) -> Shown {
    app.task_of(project, id).await?;
    let token = here.session()?.token.record.id;
    let watch = app.store.signals().watch_task(id);
    Ok(events(|send| follow_task(app, token, watch, send)))
}

/// What a stream says.
enum Event {
    /// Look again, because of this beat; 0: because of something that was told to nobody else.
    Changed(u64),
    Nothing,
}

impl Event {
    fn bytes(&self) -> Bytes {
        match self {
            Event::Changed(beat) => format!("event: changed\ndata: {beat}\n\n").into(),
            Event::Nothing => Bytes::from_static(b":\n\n"),
        }
    }
}

fn events<F: Future<Output = ()> + Send + 'static>(
    follow: impl FnOnce(mpsc::Sender<Event>) -> F,
) -> Response {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(follow(send));
    let events = stream::unfold(receive, |mut receive| async move {
        let event: Event = receive.recv().await?;
        Some((Ok::<_, Infallible>(event.bytes()), receive))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// Tells of every beat until nobody listens any more, the token is no longer good or the server stops.
async fn follow_all(
    app: Arc<App>,
    token: TokenId,
    mut listener: watch::Receiver<u64>,
    events: mpsc::Sender<Event>,
) {
    // What changed between the rendering of the page and now was told to nobody: the first word is "look", too.
    let mut event = Event::Changed(0);
    while events.send(event).await.is_ok() && app.is_good(token) {
        event = tokio::select! {
            Ok(()) = listener.changed() => Event::Changed(*listener.borrow_and_update()),
            () = tokio::time::sleep(KEEP_ALIVE) => Event::Nothing,
            () = app.stopping.cancelled() => return,
            () = events.closed() => return,
        };
    }
}

/// The same of the changes of a task.
async fn follow_task(app: Arc<App>, token: TokenId, watch: TaskWatch, events: mpsc::Sender<Event>) {
    let mut event = Event::Changed(0);
    loop {
        // Registered before the page is told to look: what changes while it looks is told after the pause.
        let changed = watch.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let is_change = matches!(event, Event::Changed(_));
        if events.send(event).await.is_err() || !app.is_good(token) {
            return;
        }
        let next = async {
            if is_change {
                tokio::time::sleep(PAUSE).await;
            }
            match tokio::time::timeout(KEEP_ALIVE, changed).await {
                Ok(()) => Event::Changed(0),
                Err(_) => Event::Nothing,
            }
        };
        event = tokio::select! {
            event = next => event,
            () = app.stopping.cancelled() => return,
            () = events.closed() => return,
        };
    }
}
