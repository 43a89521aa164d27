//! Compute time as clients read it.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_model::exit::{Exit, Usage};

use crate::server::{START, TestRunner, TestServer, report};

/// Runs the next task; it takes so long on the wall and a tenth of it on a processor.
async fn run(runner: &TestRunner<'_>, wall_ms: u64) {
    let task = runner.claim_one().await;
    let usage = Usage { wall_ms, user_us: wall_ms * 60, system_us: wall_ms * 40, peak_memory_bytes: wall_ms };
    let mut report = report(&task, Exit::Code(0));
    report.usage = usage;
    runner.finish(vec![report]).await;
}

async fn usage(server: &TestServer, query: &str) -> Value {
    server.get(&format!("usage?{query}")).await.json()
}

#[tokio::test]
async fn sums_are_by_code_schedule_and_day() {
    let server = TestServer::start().await;
    let a = server.code("a", json!({})).await;
    let b = server.code("b", json!({})).await;
    let runner = server.runner(9).await;
    assert_eq!(usage(&server, "").await["usage"], json!([]));

    server.queue(json!({ "code_name": "a" })).await;
    run(&runner, 1_000).await;
    server.queue(json!({ "code_name": "b" })).await;
    run(&runner, 5_000).await;
    let schedules = json!({ "schedules": [{ "code_name": "a", "name": "nightly" }] });
    let schedule = server.post("schedules", schedules).await.json()["schedules"][0]["id"].clone();
    server.advance(Duration::from_secs(86_400));
    let runner = server.runner(9).await;
    windlass_server::loops::scheduler::run_once(&server.app, server.app.now()).await.unwrap();
    run(&runner, 2_000).await;

    let sum = |wall: u64, n: u64| json!({ "attempts": n, "wall_ms": wall, "cpu_ms": wall / 10 });
    let of = |row: &Value| json!({ "attempts": row["attempts"], "wall_ms": row["wall_ms"], "cpu_ms": row["cpu_ms"] });
    let by_code = usage(&server, "").await;
    assert_eq!(by_code["by"], "code");
    assert_eq!(by_code["usage"][0]["code_id"], b, "the one that took most is first: {by_code}");
    assert_eq!(by_code["usage"][1]["code_name"], "a");
    assert_eq!(of(&by_code["usage"][1]), sum(3_000, 2));
    assert_eq!(by_code["usage"][1]["peak_memory_bytes"], 2_000);
    assert_eq!(of(&by_code["total"]), sum(8_000, 3));

    let by_schedule = usage(&server, "by=schedule").await;
    let row = &by_schedule["usage"][0];
    assert_eq!((&row["schedule_id"], &row["schedule_name"]), (&schedule, &json!("nightly")));
    assert_eq!((&row["code_id"], of(row)), (&json!(a), sum(2_000, 1)));
    assert_eq!(by_schedule["usage"].as_array().unwrap().len(), 1);
    assert_eq!(of(&by_schedule["total"]), sum(8_000, 3));

    let by_day = usage(&server, "by=day").await;
    let days: Vec<_> =
        by_day["usage"].as_array().unwrap().iter().map(|d| (d["day"].clone(), of(d))).collect();
    assert_eq!(days, [(json!("2026-01-31"), sum(6_000, 2)), (json!("2026-02-01"), sum(2_000, 1))]);

    let first = START.as_millis() / 1000;
    let narrow = usage(&server, &format!("from={first}&to={first}")).await;
    assert_eq!(of(&narrow["total"]), sum(6_000, 2));
    assert_eq!(narrow["from"], "2026-01-31T00:00:00.000Z");
    assert_eq!(narrow["to"], "2026-02-01T00:00:00.000Z");

    let other = server.app.create_project("other").await.unwrap().id;
    let path = format!("/2/projects/{other}/usage");
    let other = server.call(http::Method::GET, &path, &server.admin, None).await.json();
    assert_eq!((&other["usage"], &other["total"]["attempts"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_named() {
    let server = TestServer::start().await;
    for (query, says) in [
        ("by=month", "by: must be code, schedule or day"),
        ("from=yesterday", "from: must be a number, not \"yesterday\""),
    ] {
        assert_eq!(server.get(&format!("usage?{query}")).await.said(), (400, says.to_owned()));
    }
    for query in ["from=-1e300", "to=1e300&from=0", "from=9&to=1"] {
        assert_eq!(server.get(&format!("usage?{query}")).await.status, 200, "{query}");
    }
}
