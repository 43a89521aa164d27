//! Schedules over HTTP, fired by the scheduler's step.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use windlass_server::loops::{promoter, pruner, scheduler};

use crate::server::TestServer;

impl TestServer {
    async fn schedule(&self, schedule: Value) -> String {
        let made = self.post("schedules", json!({ "schedules": [schedule] })).await;
        assert_eq!(made.status, 200, "{}", made.text());
        made.json()["schedules"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn shown(&self, id: &str) -> Value {
        self.get(&format!("schedules/{id}")).await.json()
    }

    /// Fires what is due. Returns in how many seconds the next one is.
    async fn fire(&self) -> Option<u64> {
        let next = scheduler::run_once(&self.app, self.app.now()).await.unwrap();
        next.map(|at| at.since(self.app.now()).as_secs())
    }

    async fn made_by(&self, id: &str) -> Vec<Value> {
        let list = self.get(&format!("tasks?per_page=100&schedule_id={id}")).await.json();
        list["tasks"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_schedule_fires_on_its_grid_and_ends_after_its_last_run() {
    let server = TestServer::start().await;
    server.code("w", json!({ "default_priority": 2 })).await;
    let id = server
        .schedule(
            json!({ "code_name": "w", "payload": "{}", "run_every": 600, "run_times": 3, "label": "l" }),
        )
        .await;
    assert_eq!(server.fire().await, Some(600));
    assert_eq!(server.fire().await, Some(600), "an instant fires once");
    let shown = server.shown(&id).await;
    assert_eq!((&shown["run_count"], &shown["next_start"]), (&json!(1), &json!("2026-01-31T12:10:00.000Z")));
    let tasks = server.made_by(&id).await;
    assert_eq!((&tasks[0]["priority"], &tasks[0]["label"], tasks.len()), (&json!(2), &json!("l"), 1));

    // Late by more than one grid point: one run stands for those that were missed, then the grid goes on.
    server.advance(Duration::from_secs(1500));
    assert_eq!(server.fire().await, Some(300));
    assert_eq!(server.made_by(&id).await.len(), 2);
    server.advance(Duration::from_secs(300));
    assert_eq!(server.fire().await, None);
    let shown = server.shown(&id).await;
    assert_eq!((&shown["status"], &shown["msg"]), (&json!("complete"), &json!("Ran max times.")));
    assert_eq!(server.made_by(&id).await.len(), 3);
}

#[tokio::test]
async fn a_later_start_and_a_task_delay_are_kept() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server
        .schedule(json!({ "code_name": "w", "start_at": "2026-01-31T14:00:00+01:00", "task_delay": 30 }))
        .await;
    assert_eq!(server.fire().await, Some(3600));
    server.advance(Duration::from_secs(3600));
    assert_eq!(server.fire().await, None);
    let tasks = server.made_by(&id).await;
    assert_eq!((&tasks[0]["status"], &tasks[0]["delay"]), (&json!("queued"), &json!(30)));
    let runner = server.runner(1).await;
    assert_eq!(runner.claim(1).await.len(), 0);
    let next = promoter::run_once(&server.app, server.app.now()).await.unwrap();
    assert_eq!(next.unwrap().since(server.app.now()).as_secs(), 30);
    server.advance(Duration::from_secs(30));
    promoter::run_once(&server.app, server.app.now()).await.unwrap();
    let task = runner.claim_one().await;
    assert_eq!(task.schedule.unwrap().to_string(), id);
}

#[tokio::test]
async fn a_change_keeps_what_ran_and_a_cancel_is_final() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.schedule(json!({ "code_name": "w", "run_every": 60, "payload": "a" })).await;
    server.fire().await;
    let put = async |body: Value| {
        server
            .call(Method::PUT, &server.path(&format!("schedules/{id}")), &server.admin, Some(body))
            .await
            .said()
    };
    assert_eq!(put(json!({ "payload": "b", "name": "n" })).await, (200, "Updated".to_owned()));
    assert_eq!(server.shown(&id).await["next_start"], "2026-01-31T12:01:00.000Z");
    assert_eq!(put(json!({ "run_every": 120 })).await.0, 200);
    let shown = server.shown(&id).await;
    assert_eq!(
        (&shown["next_start"], &shown["payload"], &shown["run_count"]),
        (&json!("2026-01-31T12:02:00.000Z"), &json!("b"), &json!(1))
    );
    assert_eq!(put(json!({ "run_every": 5 })).await.0, 400);
    assert_eq!(put(json!({ "code_name": "nope" })).await.0, 404);
    server.post(&format!("schedules/{id}/cancel"), json!({ "schedule_id": id })).await;
    let shown = server.shown(&id).await;
    assert_eq!(
        put(json!({ "run_every": 60 })).await,
        (
            409,
            "the schedule was cancelled and stays so (Cancelled via API): make a new one instead".to_owned()
        )
    );
    assert_eq!((server.shown(&id).await, &shown["status"]), (shown.clone(), &json!("cancelled")));
    server.advance(Duration::from_secs(1000));
    assert_eq!(server.fire().await, None);
}

#[tokio::test]
async fn a_paused_schedule_fires_again_when_it_is_resumed() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.schedule(json!({ "code_name": "w", "run_every": 60 })).await;
    server.fire().await;
    let turn = async |verb: &str| server.post(&format!("schedules/{id}/{verb}"), json!({})).await.said();
    assert_eq!(turn("pause").await, (200, "Paused".to_owned()));
    assert_eq!(turn("pause").await, (200, "Already paused".to_owned()));
    server.advance(Duration::from_secs(150));
    assert_eq!(server.fire().await, None);
    let shown = server.shown(&id).await;
    assert_eq!(
        (shown["status"].as_str(), shown["next_start"].as_str()),
        (Some("paused"), Some("0001-01-01T00:00:00Z"))
    );
    assert_eq!(turn("resume").await, (200, "Resumed".to_owned()));
    assert_eq!(server.fire().await, Some(30), "the grid goes on, and what was missed stays so");
    assert_eq!(server.made_by(&id).await.len(), 1);
    turn("pause").await;
    assert_eq!(turn("cancel").await, (200, "Cancelled".to_owned()));
    assert_eq!(turn("resume").await.0, 409, "it has ended");
}

#[tokio::test]
async fn a_deleted_package_ends_its_schedules() {
    let server = TestServer::start().await;
    let code = server.code("w", json!({})).await;
    let id = server.schedule(json!({ "code_name": "w", "run_every": 60 })).await;
    server.call(Method::DELETE, &server.path(&format!("codes/{code}")), &server.admin, None).await;
    server.fire().await;
    let shown = server.shown(&id).await;
    assert_eq!((&shown["status"], &shown["code_name"]), (&json!("cancelled"), &json!("w")));
    assert!(server.made_by(&id).await.is_empty());
}

#[tokio::test]
async fn many_that_are_due_together_are_all_fired() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let many = vec![json!({ "code_name": "w", "run_every": 60 }); 2500];
    server.post("schedules", json!({ "schedules": many })).await;
    assert_eq!(server.fire().await, Some(60));
    assert_eq!(server.app.metrics.fired.get(), 2500);
}

#[tokio::test]
async fn old_tasks_are_dropped_after_the_retention() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    server.runner(1).await.run(windlass_model::exit::Exit::Code(0)).await;
    server.advance(Duration::from_secs(86_400 * 29));
    let next = pruner::run_once(&server.app, server.app.now()).await.unwrap();
    assert_eq!(next.unwrap().since(server.app.now()), server.app.config.prune_every);
    assert_eq!(server.status(&id).await, "complete");
    server.advance(Duration::from_secs(86_400 * 3));
    pruner::run_once(&server.app, server.app.now()).await.unwrap();
    assert_eq!(server.get(&format!("tasks/{id}")).await.status, 404);
}
