//! Why a task is not running, in every case that there is.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_model::exit::Exit;

use crate::server::TestServer;

impl TestServer {
    async fn why(&self, id: &str) -> (String, String) {
        let answer: Value = self.get(&format!("tasks/{id}/explain")).await.json();
        (answer["cause"].as_str().unwrap().to_owned(), answer["explain"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn the_true_cause_is_named() {
    let server = TestServer::start().await;
    let code = server.code("w", json!({ "max_concurrency": 1, "retries": 2, "retries_delay": 10 })).await;
    let is = |cause: &str, text: &str| (cause.to_owned(), text.to_owned());

    let delayed = server.queue(json!({ "code_name": "w", "delay": 60 })).await;
    assert_eq!(server.why(&delayed).await, is("delayed", "it is delayed until 2026-01-31T12:01:00.000Z"));

    let first = server.queue(json!({ "code_name": "w" })).await;
    assert_eq!(
        server.why(&first).await,
        is("no_runner", "there is no runner in its cluster \"default\", which should have 1 slot")
    );
    server.post(&format!("codes/{code}/pause_task_queue"), json!({})).await;
    assert_eq!(server.why(&first).await, is("paused", "its code package \"w\" is paused"));
    server.post(&format!("codes/{code}/resume_task_queue"), json!({})).await;

    let runner = server.runner(1).await;
    assert_eq!(server.why(&first).await, is("starting", "it is the next one; it is about to start"));
    runner.claim_one().await;
    assert_eq!(
        server.why(&first).await,
        is("running", "it runs on box since 2026-01-31T12:00:00.000Z, attempt 1")
    );
    let second = server.queue(json!({ "code_name": "w" })).await;
    assert_eq!(
        server.why(&second).await,
        is("concurrency", "concurrency limit 1/1 of its code package \"w\" is reached")
    );
    server.code("free", json!({})).await;
    let ahead = server.queue(json!({ "code_name": "free" })).await;
    let behind = server.queue(json!({ "code_name": "free" })).await;
    assert_eq!(
        server.why(&behind).await,
        is(
            "busy",
            "1 task is ahead of it; all 1 slots of cluster \"default\" are busy, and it should have 3"
        )
    );
    server.call(http::Method::POST, &format!("/2/runners/{}/drain", runner.id), &server.admin, None).await;
    assert_eq!(
        server.why(&ahead).await,
        is("draining", "every runner in its cluster \"default\" is draining")
    );
    server.post(&format!("tasks/{first}/cancel"), json!({})).await;
    assert_eq!(server.why(&first).await.0, "cancelling");
}

#[tokio::test]
async fn runners_that_cannot_do_their_part_are_borne_for_a_while_and_it_is_said() {
    let server = TestServer::start().await;
    server.code("w", json!({ "retries": 1 })).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let unable = || Exit::Unable("cannot fill its directory: disk full".to_owned());
    let mut waited = Duration::ZERO;
    for n in 1..12 {
        runner.run(unable()).await;
        assert_eq!(server.status(&id).await, "queued");
        assert!(runner.claim(1).await.is_empty(), "not again at once");
        let (cause, text) = server.why(&id).await;
        let what =
            format!("its runner could not run it ({n} of 12 times): cannot fill its directory: disk full");
        assert!(cause == "unable" && text.starts_with(&format!("{what}; it is tried again at")), "{text}");
        assert_eq!(server.task(&id).await["msg"], what);
        let mut step = Duration::ZERO;
        while server.app.store.task(id.parse().unwrap()).await.unwrap().unwrap().state.run_at
            > server.app.now()
        {
            server.advance(Duration::from_secs(1));
            step += Duration::from_secs(1);
        }
        server.app.store.promote(server.app.now()).await.unwrap();
        waited += step;
    }
    runner.run(unable()).await;
    let task = server.task(&id).await;
    let msg = "gave up: its runners could not run it 12 times, at last: cannot fill its directory: disk full";
    assert_eq!(
        (&task["status"], &task["msg"], &task["retry_count"]),
        (&json!("killed"), &json!(msg), &json!(0))
    );
    assert!((1400..2200).contains(&waited.as_secs()), "{waited:?}");
    let attempts = server.get(&format!("tasks/{id}/attempts")).await.json();
    assert_eq!(attempts["attempts"][11]["outcome"], "unable");
}

#[tokio::test]
async fn a_retry_and_an_end_are_explained() {
    let server = TestServer::start().await;
    server.code("w", json!({ "retries": 1, "retries_delay": 10 })).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    runner.run(Exit::Code(1)).await;
    let (cause, text) = server.why(&id).await;
    assert_eq!(cause, "retrying");
    assert!(text.starts_with("it waits for retry 1 of 1 until 2026-01-31T12:00:1"), "{text}");
    server.advance(Duration::from_secs(11));
    server.app.store.promote(server.app.now()).await.unwrap();
    runner.run(Exit::Code(1)).await;
    assert_eq!(
        server.why(&id).await,
        ("ended".to_owned(), "it ended as error at 2026-01-31T12:00:11.000Z, after 2 attempts".to_owned())
    );
}
