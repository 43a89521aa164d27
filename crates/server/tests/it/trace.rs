//! A trace goes from the request that queues to the runner.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use windlass_model::exit::Exit;

use crate::server::{TestServer, report};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// Posts with these `traceparent` headers; the id of the task that it makes.
async fn post(server: &TestServer, token: &str, rest: &str, body: Value, traces: &[&str]) -> String {
    let mut request = Request::post(server.path(rest))
        .header("authorization", format!("OAuth {token}"))
        .header("content-type", "application/json");
    for trace in traces {
        request = request.header("traceparent", *trace);
    }
    let answer = server.send(request.body(Body::from(body.to_string())).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    answer["tasks"][0]["id"].as_str().or(answer["id"].as_str()).unwrap().to_owned()
}

#[tokio::test]
async fn every_way_of_queueing_keeps_the_trace_for_the_runner() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let runner = server.runner(9).await;
    let admin = &server.admin;
    let tasks = || json!({ "tasks": [{ "code_name": "w" }] });

    let queued = post(&server, admin, "tasks", tasks(), &[TRACE]).await;
    assert_eq!(server.task(&queued).await["trace"], TRACE);
    let parent = runner.claim_one().await;
    assert_eq!(parent.trace.unwrap().to_string(), TRACE);

    let child = post(&server, &parent.token, "tasks", tasks(), &[TRACE]).await;
    let child = server.task(&child).await;
    assert_eq!((&child["trace"], &child["parent_id"]), (&json!(TRACE), &json!(queued)));
    let hooked = post(&server, admin, "tasks/webhook?code_name=w", json!({}), &[TRACE]).await;
    assert_eq!(server.task(&hooked).await["trace"], TRACE);
    runner.finish(vec![report(&parent, Exit::Code(1))]).await;

    for (path, traces, expected) in [
        (format!("tasks/{queued}/retry"), vec![], TRACE),
        (format!("tasks/{queued}/retry"), vec![OTHER], OTHER),
        ("tasks/retry?error=1".to_owned(), vec![], TRACE),
        ("tasks/retry?error=1".to_owned(), vec![OTHER], OTHER),
    ] {
        let again = post(&server, admin, &path, json!({}), &traces).await;
        assert_eq!(server.task(&again).await["trace"], expected, "{path} {traces:?}");
    }
}

#[tokio::test]
async fn what_is_no_trace_is_ignored() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    for traces in [vec![], vec!["nonsense"], vec![zero], vec![TRACE, TRACE]] {
        let tasks = json!({ "tasks": [{ "code_name": "w" }] });
        let task = post(&server, &server.admin, "tasks", tasks, &traces).await;
        assert_eq!(server.task(&task).await.get("trace"), None, "{traces:?}");
    }
}
