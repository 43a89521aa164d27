//! Bad input: each kind gets its status and a `msg` that names the field and the limit, and nothing is kept of it.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use windlass_server::Config;

use crate::server::TestServer;

async fn refused(server: &TestServer, path: &str, body: impl Into<Body>) -> (u16, String) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(server.path(path))
        .header("authorization", format!("OAuth {}", server.admin))
        .header("content-type", "application/json");
    server.send(request.body(body.into()).unwrap()).await.said()
}

#[tokio::test]
async fn what_is_wrong_with_a_task_is_named() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let huge = "x".repeat(256 * 1024 + 1);
    let task = |extra: &str| format!(r#"{{"tasks":[{{"code_name":"w"}},{{"code_name":"w",{extra}}}]}}"#);
    for (body, status, msg) in [
        (String::new(), 400, "the body is empty, a JSON object is required"),
        (
            "{\"tasks\":[{\"payload\":\"{\"a\": 1}\"}]}".into(),
            400,
            "the body is not valid JSON: expected `,` or `}` at line 1 column 25",
        ),
        (
            "[[]]".into(),
            400,
            "the body does not fit: invalid type: sequence, expected an object at line 1 column 0",
        ),
        (
            "{\"tasks\":[[\"w\"]]}".into(),
            400,
            "tasks[0]: invalid type: sequence, expected an object at line 1 column 10",
        ),
        (
            task("\"cluster\":\"a b\""),
            400,
            "tasks[1].cluster: must be of letters, digits and `. _ : / @ -` only",
        ),
        (
            task(&format!("\"cluster\":\"{}\"", "c".repeat(129))),
            400,
            "tasks[1].cluster: must have 1 to 128 characters, has 129",
        ),
        ("{}".into(), 400, "tasks: is required"),
        ("{\"tasks\":null}".into(), 400, "tasks: is required"),
        ("{\"tasks\":[]}".into(), 400, "tasks: must not be empty"),
        ("{\"tasks\":{}}".into(), 400, "tasks: invalid type: map, expected a sequence at line 1 column 9"),
        ("{\"tasks\":[{}]}".into(), 400, "tasks[0].code_name: is required"),
        (
            "{\"tasks\":[{\"code_name\":7}]}".into(),
            404,
            "code_name: there is no code package named \"7\" in this project",
        ),
        (
            "{\"tasks\":[{\"code_name\":\"w\"},{\"code_name\":\"nope\"}]}".into(),
            404,
            "tasks[1].code_name: there is no code package named \"nope\" in this project",
        ),
        (task("\"timeout\":\"soon\""), 400, "tasks[1].timeout: must be a number, not \"soon\""),
        (task("\"timeout\":-1"), 400, "tasks[1].timeout: must not be negative, is -1"),
        (task("\"delay\":604801"), 400, "tasks[1].delay: is 604801 seconds, the limit is 604800"),
        (task("\"delay\":1e300"), 400, "tasks[1].delay: is too large: 1e300"),
        (task("\"delay\":NaN"), 400, "the body is not valid JSON: expected value at line 1 column 54"),
        (task("\"retries\":11"), 400, "tasks[1].retries: is 11, the limit is 10"),
        (task("\"label\":[]"), 400, "tasks[1].label: must be a string, not an array"),
        (
            task(&format!("\"payload\":\"{huge}\"")),
            413,
            "tasks[1].payload: is 262145 bytes, the limit is 262144",
        ),
    ] {
        let said = refused(&server, "tasks", body.clone()).await;
        assert_eq!(said, (status, msg.to_owned()), "{}", body.chars().take(80).collect::<String>());
    }
    assert_eq!(server.get("tasks").await.json()["tasks"], json!([]), "nothing was kept halfway");
}

#[tokio::test]
async fn what_has_the_wrong_shape_is_named_and_not_repeated_at_length() {
    let server = TestServer::start().await;
    let long = "x".repeat(100_000);
    for (path, body, start) in [
        ("tasks", "{\"tasks\":[{},7]}".to_owned(), "tasks[1]: invalid type: integer `7`, expected an object"),
        ("tasks", "{\"tasks\":[{\"payload\":\"\\ud800\"}]}".to_owned(), "tasks[0].payload: "),
        ("tasks", format!("{{\"tasks\":\"{long}\"}}"), "tasks: invalid type: string \"xxx"),
        ("tasks", "7".to_owned(), "the body does not fit: invalid type: integer `7`, expected an object"),
        ("codes", "{\"name\":\"w\",\"env_vars\":[]}".to_owned(), "env_vars: invalid type"),
        ("tokens", "{\"scopes\":\"read\"}".to_owned(), "scopes: invalid type"),
    ] {
        let (status, msg) = refused(&server, path, body).await;
        assert!(status == 400 && msg.starts_with(start) && msg.len() <= 500, "{path}: {status} {msg}");
        assert!(msg.contains("column"), "{msg}");
    }
}

#[tokio::test]
async fn a_deep_or_long_or_binary_body_is_refused() {
    let mut config = Config::default();
    config.http.body_bytes = 1000;
    let server = TestServer::with(config).await;
    let deep = format!("{{\"tasks\":{}", "[".repeat(500));
    assert_eq!(refused(&server, "tasks", deep).await.0, 400);
    let long = vec![b' '; 1001];
    let said = refused(&server, "tasks", long.clone()).await;
    assert_eq!(said, (413, "the body is larger than the limit of 1000 bytes".to_owned()));
    let pieces = futures::stream::iter(
        long.chunks(300).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>(),
    );
    assert_eq!(
        refused(&server, "tasks", Body::from_stream(pieces)).await.0,
        413,
        "also when it says no length"
    );
    let said = refused(&server, "tasks", b"{\"tasks\":\"\xff\"}".to_vec()).await;
    assert_eq!(said, (400, "the body is not UTF-8 text (byte 10 on)".to_owned()));
    let broken = futures::stream::iter([Ok(b"{".to_vec()), Err(std::io::Error::other("reset"))]);
    let said = refused(&server, "tasks", Body::from_stream(broken)).await;
    assert_eq!(said, (400, "the body ended early".to_owned()));
}

#[tokio::test]
async fn many_large_bodies_at_once_are_turned_away_not_kept_in_memory() {
    let mut config = Config::default();
    config.http.bodies_bytes = 256 * 1024;
    let server = TestServer::with(config).await;
    server.code("w", json!({})).await;
    let body = format!("{{\"tasks\":[{{\"code_name\":\"w\",\"x\":\"{}\"}}]}}", "x".repeat(300_000));
    let said = refused(&server, "tasks", body).await;
    assert_eq!(said.0, 503, "{}", said.1);
    let body = format!("{{\"tasks\":[{{\"code_name\":\"w\",\"x\":\"{}\"}}]}}", "x".repeat(100_000));
    for _ in 0..5 {
        assert_eq!(refused(&server, "tasks", body.clone()).await.0, 200, "what was held is given back");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_schedule_is_named_and_none_of_the_batch_is_kept() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let long = "n".repeat(1025);
    for (fields, status, msg) in [
        (json!({ "run_every": 59 }), 400, "schedules[1].run_every: is 59 seconds, the least is 60"),
        (json!({ "run_every": 60.5 }), 400, "schedules[1].run_every: must be a whole number, is 60.5"),
        (
            json!({ "start_at": "noon" }),
            400,
            "schedules[1].start_at: a time is RFC 3339, such as 2026-01-31T12:00:00Z",
        ),
        (json!({ "name": long }), 413, "schedules[1].name: is 1025 bytes, the limit is 1024"),
        (json!({ "run_times": -1 }), 400, "schedules[1].run_times: must not be negative, is -1"),
    ] {
        let mut bad = json!({ "code_name": "w" });
        bad.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let body = json!({ "schedules": [{ "code_name": "w" }, bad] });
        assert_eq!(server.post("schedules", body).await.said(), (status, msg.to_owned()));
    }
    let said = refused(&server, "schedules", "{\"schedules\":[{\"code_name\":\"nope\"}]}").await;
    assert_eq!(said.0, 404);
    assert_eq!(server.post("schedules", json!({ "schedules": [] })).await.status, 400);
    assert_eq!(server.get("schedules").await.json()["schedules"], json!([]));
}

#[tokio::test]
async fn a_limit_on_schedules_is_a_403() {
    let mut config = Config::default();
    config.limits.schedules_per_project = 2;
    let server = TestServer::with(config).await;
    server.code("w", json!({})).await;
    let three = json!({ "schedules": vec![json!({ "code_name": "w" }); 3] });
    let said = server.post("schedules", three).await.said();
    assert_eq!(said.0, 403, "{}", said.1);
}

#[tokio::test]
async fn absurd_queries_do_no_harm() {
    let server = TestServer::start().await;
    for (rest, status) in [
        ("tasks?page=99999999999999999999&per_page=-1", 200),
        ("tasks?from_time=1e300", 200),
        ("tasks?from_time=-1e300&to_time=inf", 400),
        ("tasks?from_time=NaN", 400),
        ("tasks?cursor=x", 400),
        ("tasks?schedule_id=7", 400),
        ("tasks?label=%ff%00", 200),
        ("tasks/%ff", 404),
        ("tasks/zzz", 404),
        ("tasks/ffffffffffffffffffffffff", 404),
        ("tasks/000000000000000000000000", 404),
        ("codes?page=x", 200),
        ("schedules/%00", 404),
    ] {
        let answer = server.get(rest).await;
        assert_eq!(answer.status, status, "{rest}: {}", answer.text());
        let _: Value = answer.json();
    }
}

#[tokio::test]
async fn a_runner_that_talks_nonsense_is_told() {
    let server = TestServer::start().await;
    let call = async |path: &str, body: Value| {
        server.call(Method::POST, path, &server.runner_token, Some(body)).await.said()
    };
    assert_eq!(call("/2/runners", json!({})).await.0, 400);
    let mut about = json!({ "name": "r", "instance": "i", "cluster": "c", "slots": 0, "version": "1",
        "isolation": { "level": "process", "missing": [] } });
    assert_eq!(call("/2/runners", about.clone()).await, (400, "slots: must be 1 to 100000, is 0".to_owned()));
    about["slots"] = json!(1);
    about["cluster"] = json!("");
    assert_eq!(call("/2/runners", about).await, (400, "cluster: is required".to_owned()));
    let gone = call("/2/runners/000000000000000100000001/claim", json!({ "want": 1, "wait_ms": 0 })).await;
    assert_eq!(gone, (404, "the runner's session is over; register again".to_owned()));
}

#[tokio::test]
async fn a_report_is_taken_although_clients_may_send_little() {
    use windlass_model::exit::Exit;
    use windlass_model::log::Stream;
    use windlass_model::runner::Report;

    let mut config = Config::default();
    config.http.body_bytes = 1000;
    let server = TestServer::with(config).await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    let log = vec![crate::server::chunk(1, Stream::Stdout, &[7; 5000])];
    runner.finish(vec![Report { log, ..crate::server::report(&task, Exit::Code(0)) }]).await;
    assert_eq!(server.status(&id).await, "complete");
}

#[tokio::test]
async fn whoever_names_many_clusters_does_not_flood_the_metrics() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let tasks: Vec<Value> =
        (0..300).map(|n| json!({ "code_name": "w", "cluster": format!("c{n:03}") })).collect();
    assert_eq!(server.post("tasks", json!({ "tasks": tasks })).await.status, 200);
    let _runner = server.runner_in("z", 1).await;
    let text = server.call(Method::GET, "/metrics", &server.admin, None).await.text();
    let queued: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("windlass_tasks{") && line.contains("status=\"queued\""))
        .collect();
    assert!(queued.len() <= 101, "{}", queued.len());
    let total: u64 = queued.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(total, 300);
    assert!(queued.iter().any(|line| line.contains("cluster=\"other\"")), "{queued:?}");
    assert!(text.contains("windlass_slots{cluster=\"z\"} 1"), "{text}");
}
