//! Pages that look again because they were told to.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::hud::Browser;
use crate::server::TestServer;

const LIMIT: Duration = Duration::from_secs(10);

/// An event stream of a page.
struct Stream(Body);

impl Stream {
    async fn open(browser: &Browser<'_>, path: &str) -> Stream {
        let request = Request::get(path).header("cookie", &browser.cookie).body(Body::empty()).unwrap();
        let answer = browser.server.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        Stream(Body::new(answer.into_body()))
    }

    /// The number of the next beat.
    async fn beat(&mut self) -> u64 {
        loop {
            let frame = tokio::time::timeout(LIMIT, self.0.frame()).await.unwrap().unwrap().unwrap();
            let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
            if let Some((_, beat)) = text.trim().split_once("data: ") {
                return beat.parse().unwrap();
            }
        }
    }
}

async fn look(browser: &Browser<'_>, path: &str, beat: u64) -> Bytes {
    let request = Request::get(path).header("cookie", &browser.cookie).header("x-live", beat.to_string());
    let answer = browser.server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 200);
    answer.body
}

#[tokio::test]
async fn two_looks_after_the_same_beat_by_the_same_token_are_the_same_bytes() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let browser = Browser::with(&server, &server.admin).await;
    let other = Browser::with(&server, &server.admin).await;
    let list = format!("/p/{}/tasks", server.project);
    let mut stream = Stream::open(&browser, &format!("/p/{}/live", server.project)).await;
    assert_eq!(stream.beat().await, 0, "the first word is to look");
    // A rendering is shared for a second: if the machine stood still for as long, that says nothing.
    for _ in 0..20 {
        let first = server.queue(json!({ "code_name": "w" })).await;
        let beat = stream.beat().await;
        let begun = Instant::now();
        let before = look(&browser, &list, beat).await;
        assert!(String::from_utf8_lossy(&before).contains(&first), "it shows what the beat told of");
        let second = server.queue(json!({ "code_name": "w" })).await;
        let after = look(&other, &list, beat).await;
        let was_in_time = begun.elapsed() < Duration::from_millis(900);
        let next = stream.beat().await;
        assert!(next > beat);
        assert!(String::from_utf8_lossy(&look(&other, &list, next).await).contains(&second));
        if was_in_time {
            assert!(before == after, "one rendering is for both");
            return;
        }
    }
    panic!("this machine stands still all the time");
}
