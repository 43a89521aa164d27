//! Cancel and retry by filters.

use serde_json::{Value, json};
use windlass_model::exit::Exit;

use crate::server::{TestServer, report};

async fn queue(server: &TestServer, code: &str, label: &str, n: usize) {
    let tasks = vec![json!({ "code_name": code, "label": label }); n];
    assert_eq!(server.post("tasks", json!({ "tasks": tasks })).await.status, 200);
}

async fn count(server: &TestServer, query: &str) -> usize {
    server.get(&format!("tasks?per_page=100&{query}")).await.json()["tasks"].as_array().unwrap().len()
}

#[tokio::test]
async fn cancel_takes_the_filters_of_the_list_in_query_or_body() {
    let server = TestServer::start().await;
    server.code("a", json!({})).await;
    server.code("b", json!({})).await;
    queue(&server, "a", "x", 3).await;
    queue(&server, "a", "y", 2).await;
    queue(&server, "b", "x", 4).await;
    let said = server.post("tasks/cancel", json!({})).await;
    assert_eq!(said.status, 400, "everything must be asked for: {}", said.text());
    for (path, body) in [
        ("tasks/cancel?queued=1", json!({ "codename": "a" })),
        ("tasks/cancel?queued=1&codename=a", json!({})),
        ("tasks/cancel", json!({ "queued": true, "limit": 1 })),
        ("tasks/retry", json!({ "error": 1, "status": "error" })),
    ] {
        let (status, msg) = server.post(path, body).await.said();
        assert!(status == 400 && msg.ends_with(": is not a filter of tasks"), "{path}: {status} {msg}");
    }
    let answer = server.post("tasks/cancel?code_name=a", json!({ "label": "x" })).await.json();
    assert_eq!(answer, json!({ "msg": "Cancelled", "cancelled": 3 }));
    assert_eq!(count(&server, "cancelled=1").await, 3);
    let answer = server.post("tasks/cancel", json!({ "all": true })).await.json();
    assert_eq!(answer["cancelled"], 6);
    assert_eq!(count(&server, "queued=1").await, 0);
    let answer = server.post("tasks/cancel", json!({ "code_name": "nothing" })).await.json();
    assert_eq!(answer["cancelled"], 0);
}

#[tokio::test]
async fn more_than_one_step_is_cancelled() {
    let server = TestServer::start().await;
    let code = server.code("a", json!({})).await;
    queue(&server, "a", "x", 2500).await;
    assert_eq!(server.post(&format!("codes/{code}/cancel_all"), json!({})).await.msg(), "Cancelled");
    let stats: Value = server.get(&format!("codes/{code}/stats")).await.json();
    assert_eq!((&stats["queued"], &stats["cancelled"]), (&json!(0), &json!(2500)));
}

#[tokio::test]
async fn retry_queues_what_failed_again_and_goes_on_at_its_cursor() {
    let mut config = windlass_server::Config::default();
    config.limits.tasks_per_request = 4;
    let server = TestServer::with(config).await;
    server.code("a", json!({})).await;
    queue(&server, "a", "", 4).await;
    queue(&server, "a", "", 3).await;
    let runner = server.runner(10).await;
    let tasks = runner.claim(10).await;
    let reports = tasks.iter().enumerate().map(|(n, t)| report(t, Exit::Code(i32::from(n > 0))));
    runner.finish(reports.collect()).await;
    let first = server.post("tasks/retry?error=1", json!({})).await.json();
    assert_eq!(first["tasks"].as_array().unwrap().len(), 4);
    let cursor = first["cursor"].as_str().unwrap();
    let second = server.post(&format!("tasks/retry?error=1&cursor={cursor}"), json!({})).await.json();
    assert_eq!((second["tasks"].as_array().unwrap().len(), &second["cursor"]), (2, &Value::Null));
    assert_eq!(count(&server, "queued=1").await, 6);
    let new = server.task(second["tasks"][0]["id"].as_str().unwrap()).await;
    assert!(new["retry_of"].is_string());
    let ended_only = server.post("tasks/retry?queued=1", json!({})).await.json();
    assert_eq!(ended_only["tasks"], json!([]), "what has not ended cannot be retried in bulk");
}
