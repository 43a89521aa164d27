//! The life of tasks over HTTP.

use http::Method;
use serde_json::{Value, json};
use windlass_model::bytes::Bytes as Lossless;
use windlass_model::exit::Exit;
use windlass_model::log::Stream;
use windlass_model::runner::Report;

use crate::server::{TestServer, chunk, report};

#[tokio::test]
async fn a_task_is_queued_claimed_and_ended() {
    let server = TestServer::start().await;
    server.code("hello", json!({})).await;
    let id = server.queue(json!({ "code_name": "hello", "payload": "{\"a\":1}" })).await;
    assert_eq!(server.status(&id).await, "queued");

    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    assert_eq!((task.task.to_string(), task.payload.0.as_slice()), (id.clone(), br#"{"a":1}"#.as_slice()));
    assert_eq!(server.status(&id).await, "running");

    let report = Report {
        log: vec![chunk(1, Stream::Stdout, b"Hello "), chunk(2, Stream::Stderr, b"world!\n")],
        result: Some(Lossless(b"[1]".to_vec())),
        ..report(&task, Exit::Code(0))
    };
    assert_eq!(runner.finish(vec![report]).await.lost, []);
    assert_eq!(server.status(&id).await, "complete");
    assert_eq!(server.get(&format!("tasks/{id}/log")).await.text(), "Hello world!\n");
    assert_eq!(server.get(&format!("tasks/{id}/outlog")).await.text(), "Hello ");
    let result = server.get(&format!("tasks/{id}/result")).await;
    assert_eq!((result.header("content-type"), result.text().as_str()), ("application/json", "[1]"));
}

#[tokio::test]
async fn what_a_worker_queued_is_listed_by_its_task() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let parent = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let claimed = runner.claim_one().await;
    let path = server.path("tasks");
    let order = json!({ "tasks": [{ "code_name": "w" }, { "code_name": "w", "label": "x" }] });
    let queued = server.call(Method::POST, &path, &claimed.token, Some(order)).await.json();
    let ids = |list: Value| -> Vec<Value> {
        list["tasks"].as_array().unwrap().iter().map(|task| task["id"].clone()).collect()
    };
    let children = server.get(&format!("tasks?parent_id={parent}")).await.json();
    assert_eq!(ids(children), [queued["tasks"][1]["id"].clone(), queued["tasks"][0]["id"].clone()]);
    let one = server.get(&format!("tasks?parent_id={parent}&label=x")).await.json();
    assert_eq!(ids(one), [queued["tasks"][1]["id"].clone()]);
    let done = server.post(&format!("tasks/cancel?parent_id={parent}"), json!({})).await.json();
    assert_eq!(done["cancelled"], 2);
}
