//! What isolation a project demands, and that weaker runners never get its tasks.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use windlass_model::isolation::{Isolation, Level};
use windlass_model::project::Scope;
use windlass_model::runner::{Claim, ClaimRequest, Register};

use crate::hud::Browser;
use crate::server::{Answer, TestRunner, TestServer};

const LIMIT: Duration = Duration::from_secs(10);

impl TestServer {
    async fn isolating(&self, level: Level) -> TestRunner<'_> {
        self.register(Register {
            name: level.to_string(),
            instance: level.to_string(),
            cluster: "default".to_owned(),
            slots: 4,
            labels: Vec::new(),
            version: String::new(),
            isolation: Isolation::new(level, Vec::new()),
        })
        .await
    }

    async fn demand(&self, body: Value) -> Answer {
        let path = format!("/2/projects/{}", self.project);
        self.call(Method::PATCH, &path, &self.token(&[Scope::Manage]).await, Some(body)).await
    }
}

#[tokio::test]
async fn a_runner_below_the_level_of_a_project_never_gets_its_tasks() {
    let server = TestServer::start().await;
    let answer = server.demand(json!({ "min_isolation": "namespaces+cgroups-v1" })).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["min_isolation"]),
        (200, &json!("namespaces+cgroups-v1"))
    );
    server.code("strict", json!({})).await;
    let strict = server.queue(json!({ "code_name": "strict", "priority": 2 })).await;

    let weak = server.isolating(Level::Namespaces).await;
    assert!(weak.claim(4).await.is_empty());
    let why: Value = server.get(&format!("tasks/{strict}/explain")).await.json();
    let text = "no runner with isolation \"namespaces+cgroups-v1\" or better in cluster \"default\": its project demands it";
    assert_eq!((&why["cause"], &why["explain"]), (&json!("isolation"), &json!(text)));

    let strong = server.isolating(Level::CgroupsV2).await;
    let why: Value = server.get(&format!("tasks/{strict}/explain")).await.json();
    assert_eq!(why["cause"], "starting");
    let page =
        Browser::with(&server, &server.admin).await.page(&format!("/p/{}/runners", server.project)).await;
    assert!(page.contains("run in isolation <code>namespaces+cgroups-v1</code> or better"), "{page}");
    assert_eq!(page.matches("too weak for this project").count(), 1, "{page}");
    assert_eq!(strong.claim_one().await.task.to_string(), strict);
}

#[tokio::test]
async fn tasks_of_a_strict_project_keep_no_others_waiting() {
    let server = TestServer::start().await;
    server.demand(json!({ "min_isolation": "namespaces+cgroups-v2" })).await;
    server.code("strict", json!({})).await;
    for _ in 0..3 {
        server.queue(json!({ "code_name": "strict", "priority": 2 })).await;
    }
    let weak = server.isolating(Level::Process).await;
    let other = server.app.create_project("other").await.unwrap().id;
    let (body, path) = (json!({ "tasks": [{ "code_name": "w" }] }), format!("/2/projects/{other}/tasks"));
    let upload = Some(json!({ "name": "w", "image": "busybox" }));
    server.call(Method::POST, &format!("/2/projects/{other}/codes"), &server.admin, upload).await;
    // It waits already when the task comes: it must be woken for it, and was not for the others.
    let (claim, queued) = tokio::time::timeout(LIMIT, async {
        tokio::join!(
            weak.call::<_, Claim>(
                "claim",
                &ClaimRequest { want: 4, wait_ms: 60_000, is_idle: false, load: None }
            ),
            async {
                tokio::task::yield_now().await;
                server.call(Method::POST, &path, &server.admin, Some(body)).await.json()
            }
        )
    })
    .await
    .unwrap();
    assert_eq!(claim.tasks.len(), 1);
    assert_eq!(queued["tasks"][0]["id"], claim.tasks[0].task.to_string());
}

#[tokio::test]
async fn a_demand_that_is_lowered_lets_waiting_runners_go_on() {
    let server = TestServer::start().await;
    server.demand(json!({ "min_isolation": "namespaces" })).await;
    server.code("w", json!({})).await;
    server.queue(json!({ "code_name": "w" })).await;
    let weak = server.isolating(Level::Process).await;
    let (claim, _) = tokio::time::timeout(LIMIT, async {
        tokio::join!(
            weak.call::<_, Claim>(
                "claim",
                &ClaimRequest { want: 1, wait_ms: 60_000, is_idle: false, load: None }
            ),
            async {
                tokio::task::yield_now().await;
                server.demand(json!({ "min_isolation": "process" })).await
            }
        )
    })
    .await
    .unwrap();
    assert_eq!(claim.tasks.len(), 1);
}

#[tokio::test]
async fn a_level_that_is_not_known_is_refused() {
    let server = TestServer::start().await;
    let said = server.demand(json!({ "min_isolation": "microvm" })).await.said();
    let known = "min_isolation: is one of process, namespaces, namespaces+cgroups-v1, namespaces+cgroups-v2";
    assert_eq!(said, (400, known.to_owned()));
    assert_eq!(server.demand(json!({})).await.said(), (400, "min_isolation: is required".to_owned()));
}
