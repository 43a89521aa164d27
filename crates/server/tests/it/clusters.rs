//! Clusters: what is kept of them, who may change them, and how many slots they should have.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use windlass_model::exit::Exit;
use windlass_model::project::Scope;

use crate::server::{Answer, TestServer, report};

async fn call(server: &TestServer, method: Method, path: &str, body: Option<Value>) -> Answer {
    server.call(method, &format!("/2/clusters{path}"), &server.admin, body).await
}

async fn stats(server: &TestServer, name: &str) -> Value {
    let answer = call(server, Method::GET, &format!("/{name}/stats"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["cluster"].clone()
}

#[tokio::test]
async fn a_cluster_is_created_changed_and_deleted() {
    let mut server = TestServer::start().await;
    let asked = json!({ "name": "gpu", "memory": 1024, "disk": 20, "autoscale": { "max_slots": 8 } });
    let created = call(&server, Method::POST, "", Some(asked.clone())).await.json();
    assert_eq!(created["msg"], "Cluster created");
    let id = created["cluster"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 24);
    assert_eq!(
        (&created["cluster"]["memory"], &created["cluster"]["disk_space"]),
        (&json!(1024), &json!(20))
    );
    let again = call(&server, Method::POST, "", Some(asked)).await;
    assert_eq!(again.said(), (409, "name: there is a cluster \"gpu\" already".to_owned()));

    let change = json!({ "autoscale": { "min_slots": 2 } });
    let changed = call(&server, Method::PUT, &format!("/{id}"), Some(change)).await;
    assert_eq!(changed.said(), (200, "Cluster updated".to_owned()));
    server.take_over().await;
    for name in ["gpu", &id] {
        let cluster = call(&server, Method::GET, &format!("/{name}"), None).await.json()["cluster"].clone();
        assert_eq!(cluster["autoscale"], json!({ "min_slots": 2, "max_slots": 8, "target": 60 }));
        assert_eq!((&cluster["name"], &cluster["memory"]), (&json!("gpu"), &json!(1024)));
    }
    let names = |list: &Value| -> Vec<String> {
        list["clusters"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&call(&server, Method::GET, "", None).await.json()), ["default", "gpu"]);

    let runner = server.runner_in("gpu", 1).await.id;
    let refused = call(&server, Method::DELETE, "/gpu", None).await;
    assert_eq!(refused.said(), (409, "cluster \"gpu\" has 1 runners: stop them first".to_owned()));
    let leave = json!({ "leave": true, "holds": [] });
    let path = format!("/2/runners/{runner}/release");
    server.call(Method::POST, &path, &server.runner_token, Some(leave)).await;
    assert_eq!(call(&server, Method::DELETE, "/gpu", None).await.said(), (200, "Cluster deleted".to_owned()));
    assert_eq!(names(&call(&server, Method::GET, "", None).await.json()), ["default"]);
    assert_eq!(call(&server, Method::GET, "/gpu", None).await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_a_cluster_is_refused_with_the_field() {
    let server = TestServer::start().await;
    for (asked, said) in [
        (json!({}), "name: is required"),
        (json!({ "name": "a b" }), "name: must be of letters, digits and `. _ : / @ -` only"),
        (
            json!({ "name": "a", "autoscale": { "min_slots": 9, "max_slots": 3 } }),
            "autoscale.min_slots: must not be above max_slots, which is 3",
        ),
        (
            json!({ "name": "a", "autoscale": { "target": 0 } }),
            "autoscale.target: must be 1 to 86400 seconds",
        ),
        (json!({ "name": "a", "memory": "much" }), "memory: must be a number, not \"much\""),
    ] {
        let refused = call(&server, Method::POST, "", Some(asked.clone())).await.said();
        assert!(refused.0 >= 400 && refused.1 == said, "{asked}: {refused:?}");
    }
    let rename = call(&server, Method::PUT, "/default", Some(json!({ "name": "other" }))).await;
    assert_eq!(rename.said().1, "name: cannot be changed: tasks and runners name \"default\"");
    let none = call(&server, Method::PUT, "/none", Some(json!({}))).await;
    assert_eq!(none.status, 404);
    // There without having been created.
    let bounds = json!({ "autoscale": { "min_slots": 1 } });
    assert_eq!(call(&server, Method::PUT, "/default", Some(bounds)).await.status, 200);
    assert_eq!(stats(&server, "default").await["desired_slots"], 1);
}

#[tokio::test]
async fn tasks_and_schedules_reach_a_cluster_by_its_name_or_its_id() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let created = call(&server, Method::POST, "", Some(json!({ "name": "gpu" }))).await.json();
    let id = created["cluster"]["id"].clone();
    let by_id = server.queue(json!({ "code_name": "w", "cluster": id })).await;
    let by_name = server.queue(json!({ "code_name": "w", "cluster": "gpu" })).await;
    let elsewhere = server.queue(json!({ "code_name": "w" })).await;
    for task in [&by_id, &by_name] {
        assert_eq!(server.task(task).await["cluster"], "gpu");
    }
    let listed = server.get(&format!("tasks?cluster={}", id.as_str().unwrap())).await.json();
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 2);
    let schedule = json!({ "schedules": [{ "code_name": "w", "run_every": 60, "cluster": id }] });
    let schedule = server.post("schedules", schedule).await.json()["schedules"][0]["id"].clone();
    let path = format!("schedules/{}", schedule.as_str().unwrap());
    assert_eq!(server.get(&path).await.json()["cluster"], "gpu");

    // A runner may name it by its id as well.
    let runner = server.runner_in(id.as_str().unwrap(), 4).await;
    let claimed: Vec<String> = runner.claim(4).await.iter().map(|t| t.task.to_string()).collect();
    assert_eq!(claimed, [by_id, by_name]);
    assert_eq!(server.status(&elsewhere).await, "queued");
}

#[tokio::test]
async fn the_token_of_a_cluster_is_good_for_its_runners_and_nothing_else() {
    let server = TestServer::start().await;
    call(&server, Method::POST, "", Some(json!({ "name": "gpu" }))).await;
    let credentials = || async { call(&server, Method::GET, "/gpu/credentials", None).await.json() };
    let first = credentials().await;
    let token = first["token"].as_str().unwrap().to_owned();
    assert_eq!(first["cluster"]["tokens"], json!([token]));
    assert_eq!(credentials().await, first, "it is made once");

    let about = |cluster: &str| {
        json!({ "name": "n", "instance": "i", "cluster": cluster, "slots": 1, "version": "1",
            "isolation": { "level": "process", "missing": [] } })
    };
    let register = |cluster: &str| server.call(Method::POST, "/2/runners", &token, Some(about(cluster)));
    let refused = register("default").await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("for runners of cluster"), "{}", refused.text());
    assert_eq!(register("gpu").await.status, 200);
    assert_eq!(server.call(Method::GET, "/2/runners", &token, None).await.status, 403);

    // Revoked, it is gone for ever: the next one is another.
    let listed = server.call(Method::GET, "/2/tokens", &server.admin, None).await.json();
    let of_gpu = |t: &&Value| t["cluster"] == "gpu";
    let id = listed["tokens"].as_array().unwrap().iter().find(of_gpu).unwrap()["id"].clone();
    let path = format!("/2/tokens/{}", id.as_str().unwrap());
    server.call(Method::DELETE, &path, &server.admin, None).await;
    assert_eq!(register("gpu").await.status, 401);
    assert_ne!(credentials().await["token"], json!(token));
}

#[tokio::test]
async fn only_administrators_change_clusters_and_everybody_may_look() {
    let server = TestServer::start().await;
    let manage = server.token(&[Scope::Manage]).await;
    let as_manager = |method, path: &'static str, body| server.call(method, path, &manage, body);
    assert_eq!(as_manager(Method::GET, "/2/clusters/default/stats", None).await.status, 200);
    for (method, path) in [
        (Method::POST, "/2/clusters"),
        (Method::PUT, "/2/clusters/default"),
        (Method::DELETE, "/2/clusters/default"),
        (Method::GET, "/2/clusters/default/credentials"),
        (Method::POST, "/2/clusters/default/terminate"),
    ] {
        let answer = as_manager(method.clone(), path, Some(json!({ "name": "x" }))).await;
        assert_eq!(answer.status, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn the_slots_that_a_cluster_should_have_follow_its_load() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    server.code("capped", json!({ "max_concurrency": 2 })).await;
    call(
        &server,
        Method::POST,
        "",
        Some(json!({ "name": "gpu", "autoscale": { "max_slots": 20, "target": 10 } })),
    )
    .await;
    let task = |name: &str| json!({ "code_name": name, "cluster": "gpu" });
    let many = |name: &str, n: usize| json!({ "tasks": vec![task(name); n] });
    server.post("tasks", many("capped", 50)).await;
    server.queue(json!({ "code_name": "w", "cluster": "gpu", "delay": 3600 })).await;
    // Of the capped package no more than two could run, and the delayed task not yet.
    let now = stats(&server, "gpu").await;
    let counted = (&now["queued"], &now["claimable"], &now["desired_slots"]);
    assert_eq!(counted, (&json!(51), &json!(2), &json!(2)), "{now}");
    server.post("tasks", many("w", 30)).await;
    assert_eq!(stats(&server, "gpu").await["desired_slots"], 20, "nobody knows how long they take");

    let runner = server.runner_in("gpu", 4).await;
    for held in runner.claim(32).await {
        let mut report = report(&held, Exit::Code(0));
        report.usage.wall_ms = 2_000;
        runner.finish(vec![report]).await;
    }
    server.post("tasks", many("w", 30)).await;
    server.advance(Duration::from_secs(1));
    let now = stats(&server, "gpu").await;
    // 32 of 2 seconds each, to be begun within 10; the capped ones are as many as may run.
    assert_eq!((&now["claimable"], &now["needed_slots"]), (&json!(32), &json!(7)), "{now}");
    assert_eq!(now["desired_slots"], 20, "it falls slowly");
    let mut seen = Vec::new();
    for _ in 0..20 {
        server.advance(Duration::from_secs(120));
        seen.push(stats(&server, "gpu").await["desired_slots"].as_u64().unwrap());
    }
    assert!(seen.is_sorted_by(|a, b| a >= b) && seen.last() == Some(&7), "{seen:?}");
    assert!((8..=18).contains(&seen[0]), "{seen:?}");
}

#[tokio::test]
async fn a_task_that_waits_says_how_its_cluster_is() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    call(&server, Method::POST, "", Some(json!({ "name": "gpu" }))).await;
    let explain = |id: String| {
        let server = &server;
        async move {
            server.get(&format!("tasks/{id}/explain")).await.json()["explain"].as_str().unwrap().to_owned()
        }
    };
    let known = server.queue(json!({ "code_name": "w", "cluster": "gpu" })).await;
    assert_eq!(explain(known).await, "there is no runner in its cluster \"gpu\", which should have 1 slot");
    let unknown = server.queue(json!({ "code_name": "w", "cluster": "gqu" })).await;
    let text = "there is no runner in its cluster \"gqu\", and nobody created a cluster of that name";
    assert_eq!(explain(unknown).await, text);
    let runner = server.runner_in("gpu", 1).await;
    runner.claim(1).await;
    let waits = server.queue(json!({ "code_name": "w", "cluster": "gpu" })).await;
    let text = "it is the next one; all 1 slots of cluster \"gpu\" are busy, and it should have 2";
    assert_eq!(explain(waits).await, text);
}
