//! The rules that break a client if they are missed: sections 0 and 1 of the API document, row by row.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::server::{Answer, TestServer, report};
use windlass_model::exit::Exit;

async fn ready() -> (TestServer, String, String) {
    let server = TestServer::start().await;
    let code = server.code("w", json!({})).await;
    let task = server.queue(json!({ "code_name": "w", "payload": "p" })).await;
    (server, code, task)
}

impl TestServer {
    async fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body)).unwrap()).await
    }
}

#[tokio::test]
async fn every_msg_is_the_one_that_clients_compare() {
    let (server, code, task) = ready().await;
    let said = async |rest: String, body: Value| server.post(&rest, body).await.said();
    let ok = |msg: &str| (200, msg.to_owned());
    let one = json!({ "tasks": [{ "code_name": "w" }] });
    assert_eq!(said("tasks".into(), one).await, ok("Queued up"));
    assert_eq!(said("tasks/webhook?code_name=w".into(), json!({})).await, ok("Queued up."));
    assert_eq!(said(format!("tasks/{task}/retry"), json!({})).await, ok("Queued up"));
    assert_eq!(said(format!("tasks/{task}/progress"), json!({ "percent": 5 })).await, ok("Progress set"));
    assert_eq!(said(format!("tasks/{task}/cancel"), json!({})).await, ok("Cancelled"));
    assert_eq!(
        said(format!("tasks/{task}/cancel"), json!({})).await,
        ok("Cancelled"),
        "also once it has ended"
    );
    let schedules = json!({ "schedules": [{ "code_name": "w", "payload": "", "run_every": 60 }] });
    let made = server.post("schedules", schedules).await;
    assert_eq!(made.said(), ok("Scheduled"));
    let id = made.json()["schedules"][0]["id"].as_str().unwrap().to_owned();
    let path = server.path(&format!("schedules/{id}"));
    let updated = server.call(Method::PUT, &path, &server.admin, Some(json!({ "run_every": 90 }))).await;
    assert_eq!(updated.said(), ok("Updated"));
    assert_eq!(said(format!("schedules/{id}/cancel"), json!({})).await, ok("Cancelled"));
    for (verb, msg) in [
        ("pause", "Paused"),
        ("pause", "Already paused"),
        ("resume", "Resumed"),
        ("resume", "Already resumed"),
    ] {
        assert_eq!(said(format!("codes/{code}/{verb}_task_queue"), json!({})).await, ok(msg));
    }
    assert_eq!(said(format!("codes/{code}/cancel_all"), json!({})).await, ok("Cancelled"));
    let upload = json!({ "name": "w", "image": "i" });
    assert_eq!(said("codes".into(), upload).await, ok("Upload successful."));
    let path = server.path(&format!("codes/{code}"));
    assert_eq!(server.call(Method::DELETE, &path, &server.admin, None).await.said(), ok("Deleted"));
}

#[tokio::test]
async fn ids_times_and_numbers_have_the_forms_of_the_strictest_client() {
    let (server, code, task) = ready().await;
    assert!([&code, &task].iter().all(|id| id.len() == 24));
    let shown = server.task(&task).await;
    assert_eq!(shown["created_at"], "2026-01-31T12:00:00.000Z");
    assert_eq!(
        (&shown["start_time"], &shown["end_time"]),
        (&json!("0001-01-01T00:00:00Z"), &shown["start_time"])
    );
    assert!(shown["code_rev"].is_string());
    for number in
        ["duration", "timeout", "percent", "run_times", "log_size", "priority", "delay", "retry_count"]
    {
        assert!(shown[number].is_u64(), "{number}");
    }
    let shown = server.get(&format!("codes/{code}")).await.json();
    for number in ["rev", "max_concurrency", "retries", "retries_delay", "default_priority"] {
        assert!(shown[number].is_u64(), "{number}");
    }
    let schedules = json!({ "schedules": [{ "code_name": "w" }] });
    let made = server.post("schedules", schedules).await.json();
    let shown =
        server.get(&format!("schedules/{}", made["schedules"][0]["id"].as_str().unwrap())).await.json();
    for time in ["start_at", "end_at", "next_start", "last_run_time", "created_at", "updated_at"] {
        let text = shown[time].as_str().unwrap();
        assert!(text == "0001-01-01T00:00:00Z" || (text.len() == 24 && text.ends_with('Z')), "{time} {text}");
    }
}

#[tokio::test]
async fn sloppy_requests_are_taken() {
    let (server, ..) = ready().await;
    let id = server
        .queue(json!({
            "code_name": "w", "name": "w", "payload": "", "priority": -3, "timeout": 0, "delay": 0.2,
            "cluster": "", "label": null, "sync": false, "oauth": "x", "encryptionKey": "k", "retries_delay": 1.5
        }))
        .await;
    let task = server.task(&id).await;
    assert_eq!(
        (&task["priority"], &task["timeout"], &task["delay"], &task["cluster"], &task["label"]),
        (&json!(0), &json!(3600), &json!(1), &json!("default"), &json!(""))
    );
    assert!(!server.get(&format!("tasks/{id}")).await.text().contains("encryptionKey"), "never kept");
    let id = server.queue(json!({ "code_name": "w", "payload": { "a": [1, 2] } })).await;
    assert_eq!(server.task(&id).await["payload"], "{\"a\":[1,2]}");
}

#[tokio::test]
async fn a_status_filter_is_on_for_any_value_but_zero_false_and_nothing() {
    let (server, _, task) = ready().await;
    for (query, expected) in [
        ("queued=1", 1),
        ("queued=true", 1),
        ("queued=%25%21d%28bool%3Dtrue%29", 1),
        ("complete=1", 0),
        ("complete=1&queued=1", 1),
        ("complete=0&queued=false&error=", 1),
        ("code_name=&queued=1", 1),
        ("code_name=nothing", 0),
        ("label=nothing", 0),
        ("cluster=default", 1),
        ("from_time=1769860800&to_time=1769860800", 1),
        ("from_time=1769860801", 0),
        ("to_time=1769860799", 0),
    ] {
        let list = server.get(&format!("tasks?{query}")).await.json();
        assert_eq!(list["tasks"].as_array().unwrap().len(), expected, "{query}");
    }
    assert_eq!(server.get("tasks").await.json()["tasks"][0]["id"], task);
}

#[tokio::test]
async fn a_token_is_taken_in_every_place_and_case() {
    let (server, ..) = ready().await;
    let path = format!("/2/projects/{}", server.project);
    let admin = &server.admin;
    for scheme in ["OAuth", "oauth", "OAUTH", "Bearer", "bearer", "JWT", "Token"] {
        let value = format!("{scheme} {admin}");
        let answer = server.raw(Method::GET, &path, &[("authorization", &value)], "").await;
        assert_eq!(answer.status, 200, "{scheme}");
    }
    let answer = server.raw(Method::GET, &format!("{path}?oauth={admin}"), &[], "").await;
    assert_eq!(answer.json()["name"], "test", "what the iron CLI asks first");
    let hook = server.path(&format!("tasks/webhook?code_name=w&oauth={admin}"));
    assert_eq!(server.raw(Method::POST, &hook, &[], "anything").await.status, 200);
}

#[tokio::test]
async fn bodies_where_none_is_meant_are_taken_and_left() {
    let (server, code, task) = ready().await;
    let auth = format!("OAuth {}", server.admin);
    let form = [("authorization", auth.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let get = server.path(&format!("tasks/{task}"));
    assert_eq!(server.raw(Method::GET, &get, &form, "{}").await.status, 200);
    let cancel = server.path(&format!("tasks/{task}/cancel"));
    for (headers, body) in
        [(&form[..1], ""), (&form[..1], "{}"), (&form[..], "{\"oauth\":\"x\"}"), (&form[..], "x")]
    {
        assert_eq!(server.raw(Method::POST, &cancel, headers, body).await.status, 200, "{body:?}");
    }
    let retry = server.path(&format!("tasks/{task}/retry"));
    assert_eq!(server.raw(Method::POST, &retry, &form[..1], "").await.status, 200);
    let delete = server.path(&format!("codes/{code}"));
    assert_eq!(server.raw(Method::DELETE, &delete, &form, "{\"oauth\":\"x\"}").await.status, 200);
}

#[tokio::test]
async fn json_must_be_called_json_exactly_where_the_real_service_asks() {
    let (server, code, task) = ready().await;
    let auth = format!("OAuth {}", server.admin);
    let typed: [(&str, &'static str); 4] = [
        ("tasks", "{\"tasks\":[{\"code_name\":\"w\"}]}"),
        ("schedules", "{\"schedules\":[{\"code_name\":\"w\"}]}"),
        (&format!("tasks/{task}/progress"), "{\"percent\":1}"),
        (&format!("tasks/{task}/retry"), "{\"delay\":1}"),
    ];
    for (rest, body) in typed {
        let path = server.path(rest);
        for wrong in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
            let mut headers = vec![("authorization", auth.as_str())];
            headers.extend(wrong.map(|w| ("content-type", w)));
            let answer = server.raw(Method::POST, &path, &headers, body).await;
            assert_eq!(answer.status, 406, "{rest} {wrong:?}");
            assert!(answer.msg().contains("application/json"));
        }
        for right in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            let headers = [("authorization", auth.as_str()), ("content-type", right)];
            assert_eq!(server.raw(Method::POST, &path, &headers, body).await.status, 200, "{rest} {right}");
        }
    }
    let untyped: [(Method, String, &'static str); 5] = [
        (Method::POST, format!("codes/{code}/pause_task_queue"), ""),
        (Method::POST, format!("codes/{code}/resume_task_queue"), "{}"),
        (Method::POST, format!("codes/{code}/cancel_all"), ""),
        (Method::POST, "codes".to_owned(), "{\"name\":\"w\",\"image\":\"i\"}"),
        (Method::POST, "credentials".to_owned(), "{\"auth\":\"e30=\"}"),
    ];
    for (method, rest, body) in untyped {
        let answer = server.raw(method, &server.path(&rest), &[("authorization", &auth)], body).await;
        assert_eq!(answer.status, 200, "{rest}: {}", answer.text());
    }
}

#[tokio::test]
async fn targets_may_have_doubled_and_trailing_slashes_and_an_authority() {
    let (server, _, task) = ready().await;
    let project = server.project;
    for path in [
        format!("//2/projects//{project}/tasks/{task}/"),
        format!("/2/projects/{project}/tasks/{task}/?x=1"),
        format!("http://localhost:8080/2/projects/{project}/tasks/{task}"),
    ] {
        assert_eq!(server.call(Method::GET, &path, &server.admin, None).await.json()["id"], task, "{path}");
    }
}

#[tokio::test]
async fn nothing_is_compressed_and_everything_has_a_type() {
    let (server, ..) = ready().await;
    let auth = format!("OAuth {}", server.admin);
    for encoding in ["gzip", "gzip/deflate", "gzip, deflate, br"] {
        let headers =
            [("authorization", auth.as_str()), ("accept-encoding", encoding), ("accept", "appliction/json")];
        let answer = server.raw(Method::GET, &server.path("tasks"), &headers, "").await;
        assert_eq!(
            (answer.header("content-encoding"), answer.header("content-type")),
            ("", "application/json")
        );
    }
}

#[tokio::test]
async fn errors_are_json_with_msg_also_where_no_handler_was_reached() {
    let (server, ..) = ready().await;
    for (method, path, status) in [
        (Method::GET, "/elsewhere", 404),
        (Method::GET, "/3/projects", 404),
        (Method::GET, "/2/projects/x/y/z", 404),
        (Method::PUT, "/2/projects", 405),
        (Method::DELETE, "/version", 405),
    ] {
        let answer = server.call(method, path, &server.admin, None).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(!answer.msg().is_empty());
    }
    let answer = server.call(Method::PUT, "/2/projects", &server.admin, None).await;
    assert!(answer.header("allow").contains("POST"));
    let log = server.get(&format!("tasks/{}/log", server.queue(json!({ "code_name": "w" })).await)).await;
    assert_eq!(log.said(), (404, "Log not found".to_owned()), "one client looks for `log` in it");
}

#[tokio::test]
async fn pages_are_counted_from_zero_and_clamped() {
    let (server, ..) = ready().await;
    let many: Vec<Value> = (0..130).map(|n| json!({ "code_name": "w", "payload": n.to_string() })).collect();
    assert_eq!(server.post("tasks", json!({ "tasks": many })).await.status, 200);
    let page = async |query: &str| server.get(&format!("tasks?{query}")).await.json();
    let count = |list: &Value| list["tasks"].as_array().unwrap().len();
    assert_eq!(count(&page("").await), 30);
    assert_eq!(count(&page("per_page=1000").await), 100);
    assert_eq!(count(&page("per_page=100&page=1").await), 31);
    assert_eq!(count(&page("per_page=-5").await), 30);
    let first = page("per_page=50").await;
    assert_eq!(first["tasks"][0]["payload"], "129", "newest first");
    let second = page(&format!("per_page=50&cursor={}", first["cursor"].as_str().unwrap())).await;
    assert_eq!(second["tasks"][0]["payload"], "79");
    let last = page(&format!("per_page=50&cursor={}", second["cursor"].as_str().unwrap())).await;
    assert_eq!((count(&last), &last["cursor"]), (31, &Value::Null));
}

#[tokio::test]
async fn success_leaves_the_msg_empty_unless_the_worker_set_one() {
    let (server, _, plain) = ready().await;
    let told = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(2).await;
    let tasks = runner.claim(2).await;
    assert_eq!(
        server.post(&format!("tasks/{told}/progress"), json!({ "percent": 100, "msg": "{}" })).await.status,
        200
    );
    runner.finish(tasks.iter().map(|t| report(t, Exit::Code(0))).collect()).await;
    assert_eq!(server.task(&plain).await["msg"], "");
    let told = server.task(&told).await;
    assert_eq!((&told["msg"], &told["percent"], &told["duration"]), (&json!("{}"), &json!(100), &json!(0)));
}

#[tokio::test]
async fn a_repeated_key_queues_nothing_twice() {
    let (server, ..) = ready().await;
    let auth = format!("OAuth {}", server.admin);
    let headers =
        [("authorization", auth.as_str()), ("content-type", "application/json"), ("idempotency-key", "k1")];
    let body = "{\"tasks\":[{\"code_name\":\"w\"},{\"code_name\":\"w\"}]}";
    let first = server.raw(Method::POST, &server.path("tasks"), &headers, body).await.json();
    let second = server.raw(Method::POST, &server.path("tasks"), &headers, body).await.json();
    assert_eq!(first, second);
    let count = async || server.get("tasks").await.json()["tasks"].as_array().unwrap().len();
    assert_eq!(count().await, 3);

    let id = first["tasks"][0]["id"].as_str().unwrap();
    for (path, body) in [
        ("tasks".to_owned(), "{\"tasks\":[{\"code_name\":\"w\"},{\"code_name\":\"w\",\"payload\":\"x\"}]}"),
        ("tasks".to_owned(), "{\"tasks\":[{\"code_name\":\"w\"}]}"),
        (format!("tasks/{id}/retry"), ""),
    ] {
        let other = server.raw(Method::POST, &server.path(&path), &headers, body).await;
        assert_eq!(
            other.said(),
            (
                409,
                "Idempotency-Key: another request was made with this key; a new request needs a new key"
                    .to_owned()
            )
        );
    }
    assert_eq!(count().await, 3);
}
