//! One rendering for all who look at the same page after the same beat.
//!
//! A page that was told of a beat asks for itself anew with the number of it. Whoever asks first has it rendered, and
//! those who ask for the same page with the same token meanwhile, and shortly after, get the same bytes. A rendering
//! that began after a beat shows what the beat told of, and so is good for every beat up to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use windlass_model::id::TokenId;

use crate::error::ApiError;

/// How old a rendering may be: what no beat tells of is shown with the next one.
const FRESH: Duration = Duration::from_secs(1);

/// Renderings of the last beats.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<HashMap<Key, Entry>>);

/// Whose rendering of what. Forms and names in a page are of its token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) token: TokenId,
    /// The address: pages have it in them.
    pub(super) target: String,
}

#[derive(Debug)]
struct Entry {
    beat: u64,
    begun_at: Instant,
    page: Arc<OnceCell<Page>>,
}

#[derive(Clone, Debug)]
struct Page {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Shared {
    /// The page as of `beat` or later; `render` is used unless there is one.
    pub(super) async fn page(&self, key: Key, beat: u64, render: impl Future<Output = Response>) -> Response {
        let page = self.entry(key, beat, Instant::now());
        let page = page.get_or_init(|| async {
            let (parts, body) = render.await.into_parts();
            match to_bytes(body, usize::MAX).await {
                Ok(body) => Page { status: parts.status, headers: parts.headers, body },
                Err(_) => {
                    let (parts, _) = ApiError::internal("a page broke off").into_response().into_parts();
                    Page { status: parts.status, headers: parts.headers, body: Bytes::new() }
                }
            }
        });
        let Page { status, headers, body } = page.await.clone();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Where the rendering of the page is or will be.
    fn entry(&self, key: Key, beat: u64, now: Instant) -> Arc<OnceCell<Page>> {
        let mut pages = self.0.lock();
        pages.retain(|_, entry| now < entry.begun_at + FRESH);
        let entry = pages.entry(key).or_insert_with(|| Entry { beat, begun_at: now, page: Arc::default() });
        if entry.beat < beat {
            *entry = Entry { beat, begun_at: now, page: Arc::default() };
        }
        entry.page.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use windlass_model::id::Seq;

    #[tokio::test]
    async fn a_page_is_rendered_once_for_a_beat_and_anew_for_the_next() {
        let shared = Shared::default();
        let rendered = AtomicU32::new(0);
        let ask = async |token: i64, beat: u64| {
            let key = Key { token: TokenId::new(Seq(token), 0), target: "/".to_owned() };
            let render = async {
                tokio::task::yield_now().await;
                rendered.fetch_add(1, Ordering::Relaxed).to_string().into_response()
            };
            let answer = shared.page(key, beat, render).await;
            String::from_utf8(to_bytes(answer.into_body(), 99).await.unwrap().to_vec()).unwrap()
        };
        let (a, b) = tokio::join!(ask(1, 5), ask(1, 5));
        assert_eq!((a.as_str(), b.as_str()), ("0", "0"), "both waited for the one");
        assert_eq!(ask(1, 4).await, "0", "what is newer shows it, too");
        assert_eq!(ask(2, 5).await, "1", "another token has a page of its own");
        assert_eq!(ask(1, 6).await, "2");
    }
}
