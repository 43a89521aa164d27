//! Logs: plain, and live as server-sent events.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use windlass_model::exit::Exit;
use windlass_model::log::{LogChunk, Stream};
use windlass_model::runner::{Assignment, AttemptLog, LogAnswer, LogUpload, Report};
use windlass_server::Config;

use crate::server::{TestRunner, TestServer, chunk, held, report};

async fn append(runner: &TestRunner<'_>, task: &Assignment, chunks: Vec<LogChunk>) {
    let upload = LogUpload { logs: vec![AttemptLog { held: held(task), chunks }] };
    assert_eq!(runner.call::<_, LogAnswer>("log", &upload).await.lost, []);
}

/// Somebody who follows a log.
struct Follower {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Follower {
    async fn of(server: &TestServer, rest: &str, last_seen: Option<u32>) -> Self {
        let mut request = Request::builder()
            .uri(server.path(rest))
            .header("authorization", format!("OAuth {}", server.admin));
        if let Some(n) = last_seen {
            request = request.header("last-event-id", n.to_string());
        }
        let answer = server.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { body: answer.into_body().into_data_stream(), text: String::new() }
    }

    /// Reads until `text` has come.
    async fn until(&mut self, text: &str) {
        let limit = Duration::from_secs(10);
        while !self.text.contains(text) {
            let piece = tokio::time::timeout(limit, self.body.next()).await;
            let piece = piece.unwrap_or_else(|_| panic!("{text:?} did not come, but {:?}", self.text));
            let piece =
                piece.unwrap_or_else(|| panic!("it ended without {text:?}: {:?}", self.text)).unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// Reads to the end. Returns the events as (id, event, data).
    async fn events(mut self) -> Vec<(String, String, Value)> {
        while let Some(piece) = self.body.next().await {
            self.text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
        let field = |event: &str, name: &str| {
            let line = event.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_default().to_owned()
        };
        let events = self.text.split("\n\n").filter(|e| !e.is_empty() && !e.starts_with(':'));
        events
            .map(|e| {
                let data = field(e, "data");
                (field(e, "id"), field(e, "event"), serde_json::from_str(&data).unwrap())
            })
            .collect()
    }
}

#[tokio::test]
async fn the_log_so_far_is_shown_and_the_end_is_exact() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let log = format!("tasks/{id}/log");
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    assert_eq!(server.get(&log).await.status, 404, "clients that wait for a log ask again on a 404");
    append(&runner, &task, vec![chunk(1, Stream::Stdout, b"one "), chunk(2, Stream::Stderr, b"two ")]).await;
    assert_eq!(server.get(&log).await.text(), "one two ");
    // A chunk that comes twice is there once, and the report brings the rest.
    append(&runner, &task, vec![chunk(2, Stream::Stderr, b"two ")]).await;
    let rest = vec![chunk(2, Stream::Stderr, b"two "), chunk(3, Stream::Stdout, b"\xff\x00three")];
    runner.finish(vec![Report { log: rest, ..report(&task, Exit::Code(0)) }]).await;
    let whole = server.get(&log).await;
    assert_eq!(
        (whole.header("content-type"), &whole.body[..]),
        ("text/plain; charset=utf-8", &b"one two \xff\x00three"[..])
    );
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    assert_eq!(server.task(&id).await["log_size"], 15);
    assert_eq!(&server.get(&format!("tasks/{id}/outlog")).await.body[..], b"one \xff\x00three");
}

#[tokio::test]
async fn a_silent_task_that_has_ended_has_an_empty_log() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    server.runner(1).await.run(Exit::Code(0)).await;
    let log = server.get(&format!("tasks/{id}/log")).await;
    assert_eq!((log.status.as_u16(), log.text()), (200, String::new()));
}

#[tokio::test]
async fn long_logs_and_results_are_kept_as_blobs_and_too_long_results_left_out() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let (long, limit) = (vec![b'x'; 100_000], server.app.config.result_bytes);
    let id = server.queue(json!({ "code_name": "w" })).await;
    let other = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(2).await;
    let tasks = runner.claim(2).await;
    let reports = vec![
        Report {
            log: vec![chunk(1, Stream::Stdout, &long)],
            result: Some(windlass_model::bytes::Bytes(long.clone())),
            ..report(&tasks[0], Exit::Code(0))
        },
        Report {
            log: vec![chunk(1, Stream::Stdout, b"hi\n")],
            result: Some(windlass_model::bytes::Bytes(vec![b'x'; limit + 1])),
            ..report(&tasks[1], Exit::Code(0))
        },
    ];
    assert_eq!(runner.finish(reports).await.lost, []);
    assert_eq!(server.get(&format!("tasks/{id}/log")).await.body, long);
    assert_eq!(server.get(&format!("tasks/{id}/result")).await.body, long);
    assert_eq!(
        server.get(&format!("tasks/{other}/result")).await.said(),
        (404, "Result not found".to_owned())
    );
    let log = server.get(&format!("tasks/{other}/log")).await.text();
    assert_eq!(log, "hi\nwindlass: the result was left out: it has 1048577 bytes, the limit is 1048576\n");
    assert_eq!(server.status(&other).await, "complete");
}

#[tokio::test]
async fn each_attempt_keeps_its_log() {
    let server = TestServer::start().await;
    server.code("w", json!({ "retries": 1 })).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    for (code, text) in [(1, "first"), (0, "second")] {
        server.app.store.promote(server.app.now()).await.unwrap();
        let task = runner.claim_one().await;
        let log = vec![chunk(1, Stream::Stdout, text.as_bytes())];
        runner.finish(vec![Report { log, ..report(&task, Exit::Code(code)) }]).await;
    }
    assert_eq!(server.get(&format!("tasks/{id}/log")).await.text(), "second");
    assert_eq!(server.get(&format!("tasks/{id}/log?attempt=1")).await.text(), "first");
    assert_eq!(server.get(&format!("tasks/{id}/log?attempt=3")).await.status, 404);
    assert_eq!(server.get(&format!("tasks/{id}/log?attempt=x")).await.status, 400);
    let attempts = server.get(&format!("tasks/{id}/attempts")).await.json();
    assert_eq!(
        (&attempts["attempts"][0]["outcome"], &attempts["attempts"][1]["outcome"]),
        (&json!("error"), &json!("complete"))
    );
}

#[tokio::test]
async fn a_follower_sees_every_chunk_as_it_comes_and_then_the_end() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    // It may begin before the task does.
    let mut follower = Follower::of(&server, &format!("tasks/{id}/log?follow=1"), None).await;
    follower.until("following").await;
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    append(&runner, &task, vec![chunk(1, Stream::Stdout, b"one\n")]).await;
    follower.until("one").await;
    append(&runner, &task, vec![chunk(2, Stream::Stderr, b"\xfftwo")]).await;
    follower.until("base64").await;
    let log = vec![chunk(3, Stream::Stdout, b"three")];
    runner.finish(vec![Report { log, ..report(&task, Exit::Code(0)) }]).await;
    let events = follower.events().await;
    let ids: Vec<&str> = events.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", ""]);
    assert_eq!(events[0].2, json!({ "n": 1, "stream": "stdout", "at_ms": 1, "data": "one\n" }));
    assert_eq!(events[1].2["data"], json!({ "base64": "/3R3bw==" }), "what is not text survives");
    assert_eq!((events[3].1.as_str(), &events[3].2), ("end", &json!({ "attempt": 1, "status": "complete" })));
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    append(&runner, &task, (1..=3).map(|n| chunk(n, Stream::Stdout, b"x")).collect()).await;
    let path = format!("tasks/{id}/log?follow=1");
    let mut live = Follower::of(&server, &path, Some(2)).await;
    live.until("\"n\":3").await;
    assert!(!live.text.contains("\"n\":2"));
    runner.finish(vec![report(&task, Exit::Code(0))]).await;
    for follower in [
        Follower::of(&server, &path, Some(2)).await,
        Follower::of(&server, &format!("{path}&after=2"), None).await,
    ] {
        let events = follower.events().await;
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(events[0].0, "3");
    }
    // A task that never ran has an end, too.
    let id = server.queue(json!({ "code_name": "w" })).await;
    let follower = Follower::of(&server, &format!("tasks/{id}/log?follow=1"), None).await;
    server.post(&format!("tasks/{id}/cancel"), json!({})).await;
    let events = follower.events().await;
    assert_eq!(
        events,
        [(String::new(), "end".to_owned(), json!({ "attempt": null, "status": "cancelled" }))]
    );
}

#[tokio::test]
async fn a_stop_ends_followers_without_an_end_event() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let mut follower = Follower::of(&server, &format!("tasks/{id}/log?follow=1"), None).await;
    follower.until("following").await;
    server.app.stopping.cancel();
    assert_eq!(follower.events().await, []);
}

#[tokio::test]
async fn large_answers_that_nobody_takes_are_bounded() {
    let mut config = Config::default();
    config.http.answers_bytes = 512 * 1024;
    let server = TestServer::with(config).await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    let log = vec![chunk(1, Stream::Stdout, &vec![b'x'; 200_000])];
    runner.finish(vec![Report { log, ..report(&task, Exit::Code(0)) }]).await;

    let ask = async |rest: &str| {
        let request = Request::builder()
            .uri(server.path(rest))
            .header("authorization", format!("OAuth {}", server.admin));
        server.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let path = format!("tasks/{id}/log");
    let (first, second) = (ask(&path).await, ask(&path).await);
    assert_eq!((first.status(), second.status()), (http::StatusCode::OK, http::StatusCode::OK));
    let third = server.get(&path).await;
    assert_eq!(third.said(), (503, "too many large answers at once; try again".to_owned()));
    assert_eq!(third.header("retry-after"), "1");
    let mut live = ask(&format!("{path}?follow=1")).await.into_body().into_data_stream();
    let mut seen = 0;
    while let Some(piece) = live.next().await {
        seen += piece.unwrap().len();
    }
    assert!(seen < 100, "a live log breaks off, to be read on later");
    assert_eq!(server.get(&format!("tasks/{id}")).await.status, 200, "small answers need no room");
    drop(first);
    assert_eq!(server.get(&path).await.body.len(), 200_000);
    drop(second);
}
