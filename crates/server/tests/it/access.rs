//! Every route of the table, without a token and with every wrong one.

use std::time::Duration;

use http::Method;
use serde_json::json;
use windlass_model::exit::Exit;
use windlass_model::project::Scope;
use windlass_server::auth::Access;
use windlass_server::route::Route;
use windlass_server::router::routes;

use crate::server::{START, TestServer};

const SOME_ID: &str = "000000000000000100000001";

fn path(route: &Route, project: &str) -> String {
    route.path.replace("{project_id}", project).replace("{id}", SOME_ID).replace("{name}", "default")
}

impl TestServer {
    async fn knock(&self, route: &Route, project: &str, token: &str) -> u16 {
        let body = (route.method != Method::GET).then(|| json!({}));
        self.call(route.method.clone(), &path(route, project), token, body).await.status.as_u16()
    }
}

fn is_in(status: u16) -> bool {
    status != 401 && status != 403
}

#[tokio::test]
async fn without_a_valid_token_only_open_routes_answer() {
    let server = TestServer::start().await;
    let project = server.project.to_string();
    let everything = [Scope::Queue, Scope::Read, Scope::Manage, Scope::Runner, Scope::Admin];
    let soon = START + Duration::from_secs(60);
    let (expired, _) = server.app.create_token(None, &everything, "old", Some(soon)).await.unwrap();
    let (revoked, record) = server.app.create_token(None, &everything, "gone", None).await.unwrap();
    server.advance(Duration::from_secs(60));
    let answer = server.call(Method::DELETE, &format!("/2/tokens/{}", record.id), &server.admin, None).await;
    assert_eq!(answer.status, 200);

    for route in routes() {
        for token in ["", "x", "wl_AAAA", "wla_AAAA", &expired, &revoked] {
            let status = server.knock(&route, &project, token).await;
            match route.access {
                Access::Open => assert!(is_in(status), "{route:?} answers {status}"),
                _ => assert_eq!(status, 401, "{route:?} with {token:?}"),
            }
        }
        for header in ["", "OAuth", "OAuth ", "Basic dTpw", "\u{7f}"] {
            let request = http::Request::builder().method(route.method.clone()).uri(path(&route, &project));
            let value = http::HeaderValue::from_bytes(header.as_bytes());
            let Ok(value) = value else { continue };
            let request = request.header("authorization", value).body(axum::body::Body::empty()).unwrap();
            let status = server.send(request).await.status.as_u16();
            match route.access {
                Access::Open => assert!(is_in(status), "{route:?} answers {status}"),
                _ => assert_eq!(status, 401, "{route:?} with Authorization: {header:?}"),
            }
        }
    }
}

#[tokio::test]
async fn each_route_asks_for_its_scope() {
    let server = TestServer::start().await;
    let project = server.project.to_string();
    let other = server.app.create_project("other").await.unwrap().id;
    for scope in Scope::ALL {
        let own = server.token(&[scope]).await;
        let (foreign, _) = server.app.create_token(Some(other), &[scope], "foreign", None).await.unwrap();
        let (global, _) = server.app.create_token(None, &[scope], "global", None).await.unwrap();
        let includes = |needed| match scope {
            Scope::Admin => true,
            Scope::Manage => matches!(needed, Scope::Queue | Scope::Read | Scope::Manage),
            scope => scope == needed,
        };
        for route in routes() {
            let (by_own, by_foreign, by_global) = match route.access {
                Access::Open | Access::Known => (true, true, true),
                Access::Member => (true, false, true),
                Access::Project(needed) => (includes(needed), false, includes(needed)),
                Access::Root(needed) => (false, false, includes(needed)),
            };
            for (token, kind, allowed) in
                [(&own, "own", by_own), (&foreign, "foreign", by_foreign), (&global, "global", by_global)]
            {
                // A drained or deleted thing would change what later routes answer: ids here name nothing.
                let status = server.knock(&route, &project, token).await;
                if allowed {
                    assert!(is_in(status), "{route:?} with {kind} {scope}: {status}");
                } else {
                    assert_eq!(status, 403, "{route:?} with {kind} {scope}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_token_of_an_attempt_queues_and_reads_until_the_attempt_ends() {
    let server = TestServer::start().await;
    let project = server.project.to_string();
    server.code("w", json!({})).await;
    let parent = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    for route in routes() {
        let status = server.knock(&route, &project, &task.token).await;
        match route.access {
            Access::Open | Access::Known | Access::Member => assert!(is_in(status), "{route:?}: {status}"),
            Access::Project(Scope::Queue | Scope::Read) => assert!(is_in(status), "{route:?}: {status}"),
            Access::Project(_) | Access::Root(_) => assert_eq!(status, 403, "{route:?}"),
        }
    }
    let body = Some(json!({ "tasks": [{ "code_name": "w" }] }));
    let queued = server.call(Method::POST, &server.path("tasks"), &task.token, body.clone()).await.json();
    let child = server.task(queued["tasks"][0]["id"].as_str().unwrap()).await;
    assert_eq!(child["parent_id"], parent);

    let other = server.app.create_project("other").await.unwrap().id.to_string();
    let elsewhere = format!("/2/projects/{other}/tasks");
    assert_eq!(server.call(Method::POST, &elsewhere, &task.token, body.clone()).await.status, 403);

    runner.finish(vec![crate::server::report(&task, Exit::Code(0))]).await;
    let late = server.call(Method::POST, &server.path("tasks"), &task.token, body).await;
    assert_eq!(late.said(), (401, "this token was good for one attempt of a task, which is over".to_owned()));
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said_and_existence_is_not() {
    let server = TestServer::start().await;
    let read = server.token(&[Scope::Read]).await;
    let other = server.app.create_project("other").await.unwrap().id.to_string();
    let get = async |path: &str, token: &str| server.call(Method::GET, path, token, None).await.said();
    let project = server.project.to_string();

    let no_token = get(&format!("/2/projects/{project}"), "").await;
    assert_eq!(
        no_token,
        (401, "no token: send it as `Authorization: OAuth TOKEN` or as `?oauth=TOKEN`".to_owned())
    );
    let wrong = get(&format!("/2/projects/{project}"), "wrong").await;
    assert_eq!(wrong, (401, "this token is not known here: it is wrong, or was revoked".to_owned()));

    // Another project that exists and one that does not look alike to a token that is limited to its own.
    let (existing, missing) = (get(&format!("/2/projects/{other}"), &read).await, SOME_ID);
    let missing = get(&format!("/2/projects/{missing}"), &read).await;
    assert_eq!((existing.0, missing.0), (403, 403));
    assert_eq!(existing.1.replace(&other, "X"), missing.1.replace(SOME_ID, "X"));
    // A token that reaches every project is told the truth.
    assert_eq!(
        get(&format!("/2/projects/{SOME_ID}"), &server.admin).await,
        (404, "Project not found".to_owned())
    );
    let short = get("/2/projects/your_project_id/tasks", &server.admin).await;
    assert_eq!(short.0, 404);

    // Another project's task, code and schedule are not found under the own project, as if they did not exist.
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let (foreign, _) =
        server.app.create_token(Some(other.parse().unwrap()), &[Scope::Manage], "m", None).await.unwrap();
    for rest in ["", "/log", "/result", "/attempts", "/explain"] {
        let theirs = get(&format!("/2/projects/{other}/tasks/{id}{rest}"), &foreign).await;
        let nobodys = get(&format!("/2/projects/{other}/tasks/{SOME_ID}{rest}"), &foreign).await;
        assert_eq!(theirs, nobodys);
        assert_eq!(theirs, (404, "Task not found".to_owned()), "{rest}");
    }
    for verb in ["cancel", "retry", "progress"] {
        let path = format!("/2/projects/{other}/tasks/{id}/{verb}");
        assert_eq!(server.call(Method::POST, &path, &foreign, Some(json!({}))).await.status, 404, "{verb}");
    }
    assert_eq!(server.status(&id).await, "queued");
}
