//! The event stream of a page: it says "look again", and the page fetches itself anew and swaps what changed.
//!
//! The first change is told at once; after that at most once in [`PAUSE`], however much happens: two hundred open pages
//! must not cost more than the work they show.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use tokio::sync::futures::Notified;
use tokio::sync::mpsc;
use windlass_model::id::{TaskId, TokenId};
use windlass_store::signals::TaskWatch;

use super::answer::Shown;
use super::guard::Here;
use crate::api::params::Id;
use crate::app::App;
use crate::auth::InProject;

/// Shortest time between two events.
const PAUSE: Duration = Duration::from_secs(1);

const CHANGED: &str = "event: changed\ndata:\n\n";

/// A comment is sent this often when nothing happens, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /p/{project}/live`: whenever any task changed.
pub(super) async fn project(State(app): State<Arc<App>>, here: Here) -> Shown {
    Ok(events(app, here.session()?.token.record.id, Watched::Everything))
}

/// `GET /p/{project}/tasks/{id}/live`: whenever this task changed.
pub(super) async fn task(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
) -> Shown {
    app.task_of(project, id).await?;
    let watch = app.store.signals().watch_task(id);
    Ok(events(app, here.session()?.token.record.id, Watched::Task(watch)))
}

enum Watched {
    Everything,
    Task(TaskWatch),
}

impl Watched {
    fn changed<'a>(&'a self, app: &'a App) -> Notified<'a> {
        match self {
            Watched::Everything => app.store.signals().changes().notified(),
            Watched::Task(watch) => watch.notified(),
        }
    }
}

fn events(app: Arc<App>, token: TokenId, watched: Watched) -> Response {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(watch(app, token, watched, send));
    let events = stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|event| (Ok::<_, Infallible>(Bytes::from_static(event.as_bytes())), receive))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// Tells of changes until nobody listens any more, the token is no longer good or the server stops.
async fn watch(app: Arc<App>, token: TokenId, watched: Watched, events: mpsc::Sender<&'static str>) {
    // What changed between the rendering of the page and now was told to nobody: the first word is "look", too.
    let mut event = CHANGED;
    loop {
        // Registered before the page is told to look: what changes while it looks is told after the pause.
        let changed = watched.changed(&app);
        tokio::pin!(changed);
        changed.as_mut().enable();
        if events.send(event).await.is_err() || !app.is_good(token) {
            return;
        }
        let next = async {
            if event == CHANGED {
                tokio::time::sleep(PAUSE).await;
            }
            match tokio::time::timeout(KEEP_ALIVE, changed).await {
                Ok(()) => CHANGED,
                Err(_) => ":\n\n",
            }
        };
        event = tokio::select! {
            event = next => event,
            () = app.stopping.cancelled() => return,
            () = events.closed() => return,
        };
    }
}
