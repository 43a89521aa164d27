//! What survives a restart, and what happens when the disk is full.

use http::Method;
use serde_json::json;
use windlass_model::exit::Exit;
use windlass_server::{App, Config, Seal, router};

use crate::server::{KEY, Kind, TestServer, held, report};

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let mut server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let session = server.runner(1).await.id;
    let path = format!("/2/runners/{session}");
    let claim = json!({ "want": 1, "wait_ms": 0 });
    let claim = server.call(Method::POST, &format!("{path}/claim"), &server.runner_token, Some(claim)).await;
    let task =
        serde_json::from_slice::<windlass_model::runner::Claim>(&claim.body).unwrap().tasks.pop().unwrap();

    let (store, blobs, clock) =
        (server.app.store.clone(), server.app.blobs.clone(), server.app.clock.clone());
    let seal = Seal::open(&*store, &KEY, false).await.unwrap();
    server.app = App::open(store, blobs, clock, Config::default(), seal).await.unwrap();
    server.router = router(server.app.clone());

    // Tokens of users, of runners and of attempts are still good, the session goes on, new ids are above the old ones.
    let body = Some(json!({ "tasks": [{ "code_name": "w" }] }));
    let queued = server.call(Method::POST, &server.path("tasks"), &task.token, body).await.json();
    let child = queued["tasks"][0]["id"].as_str().unwrap().to_owned();
    assert!(child > id);
    let beat = json!({ "holds": [held(&task)] });
    let beat =
        server.call(Method::POST, &format!("{path}/heartbeat"), &server.runner_token, Some(beat)).await;
    assert_eq!(beat.json(), json!({ "lost": [], "cancel": [], "drain": false }));
    let finish = json!({ "reports": [report(&task, Exit::Code(0))] });
    server.call(Method::POST, &format!("{path}/finish"), &server.runner_token, Some(finish)).await;
    assert_eq!(server.status(&id).await, "complete");
}

#[tokio::test]
async fn a_full_disk_is_a_503_that_keeps_nothing_and_reading_goes_on() {
    let server = TestServer::on(Kind::Small(1024 * 1024), Config::default()).await;
    server.code("w", json!({})).await;
    let task = json!({ "code_name": "w", "payload": "x".repeat(100_000) });
    let mut kept = 0;
    let refused = loop {
        let answer = server.post("tasks", json!({ "tasks": [task, task] })).await;
        if answer.status != 200 {
            break answer;
        }
        kept += 2;
        assert!(kept < 100, "a megabyte cannot hold them");
    };
    assert_eq!(refused.said(), (503, "no space is left on the disk of the store".to_owned()));
    assert_eq!(refused.header("retry-after"), "1");
    let ready = server.call(Method::GET, "/health/ready", "", None).await;
    assert_eq!(ready.said(), (503, "no space is left on the disk of the store".to_owned()));
    let list = server.get("tasks?per_page=100").await.json();
    assert_eq!(list["tasks"].as_array().unwrap().len(), kept, "all or none of a request is kept");
}
