//! Every answer as it is on the wire: status, type, body. Ids and tokens are replaced; the clock stands still.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use windlass_model::bytes::Bytes as Lossless;
use windlass_model::exit::Exit;
use windlass_model::log::Stream;
use windlass_model::runner::{Claim, ClaimRequest, Report};
use windlass_server::loops::scheduler;

use crate::server::{Answer, Kind, TestServer, chunk, report};

fn redact(value: &mut Value) {
    match value {
        Value::String(text) => {
            if text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
                *text = "[id]".to_owned();
            } else if text.starts_with("wl_") || text.starts_with("wla_") {
                *text = "[token]".to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(fields) => {
            fields.values_mut().for_each(redact);
            // A retry is spread by a random part of its delay.
            if let Some(run_at) = fields.get_mut("run_at") {
                *run_at = "[instant]".into();
            }
        }
        _ => {}
    }
}

fn show(answer: &Answer) -> String {
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(mut json) => {
            redact(&mut json);
            serde_json::to_string_pretty(&json).unwrap()
        }
        Err(_) => answer.text(),
    };
    format!("{} {}\n{body}", answer.status.as_u16(), answer.header("content-type"))
}

#[tokio::test]
async fn answers_on_the_wire_are_the_same_on_every_store() {
    for store in [Kind::Memory, Kind::Sqlite] {
        let server = TestServer::on(store, windlass_server::Config::default()).await;
        insta::assert_snapshot!("answers", answers(&server).await);
    }
}

async fn answers(server: &TestServer) -> String {
    let mut shots: Vec<(String, String)> = Vec::new();
    macro_rules! shot {
        ($name:expr, $answer:expr) => {{
            let answer = $answer.await;
            shots.push(($name.to_owned(), show(&answer)));
            answer
        }};
    }
    let admin = server.admin.clone();
    let root =
        async |method: Method, path: &str, body: Option<Value>| server.call(method, path, &admin, body).await;

    let upload = json!({ "name": "w", "image": "busybox", "command": "echo", "config": "{}", "env_vars": { "A": "b" },
        "max_concurrency": 5, "retries": 1, "retries_delay": 2.5, "default_priority": 1 });
    let code = shot!("POST codes", server.post("codes", upload)).json()["id"].as_str().unwrap().to_owned();
    shot!("GET codes", server.get("codes"));
    shot!("GET codes/{id}", server.get(&format!("codes/{code}")));
    shot!("GET codes/{id}/revisions", server.get(&format!("codes/{code}/revisions")));
    shot!("GET codes/{id}/download", server.get(&format!("codes/{code}/download")));
    let tasks = json!({ "tasks": [{ "code_name": "w", "payload": "{}" }, { "code_name": "w", "payload": "x", "label": "l", "delay": 60 }] });
    let queued = shot!("POST tasks", server.post("tasks", tasks)).json();
    let id = queued["tasks"][0]["id"].as_str().unwrap().to_owned();
    let delayed = queued["tasks"][1]["id"].as_str().unwrap().to_owned();
    shot!("GET tasks", server.get("tasks?per_page=1"));
    shot!("GET tasks/{id}", server.get(&format!("tasks/{id}")));
    shot!("GET tasks/{id}/explain", server.get(&format!("tasks/{delayed}/explain")));
    shot!("GET tasks/{id}/log before it ran", server.get(&format!("tasks/{id}/log")));
    shot!("GET tasks/{id}/result before it ran", server.get(&format!("tasks/{id}/result")));

    let runner = server.runner(2).await;
    let claim = shot!(
        "POST runners/{id}/claim",
        runner.raw("claim", &ClaimRequest { want: 1, wait_ms: 0, is_idle: false, load: None })
    );
    let task = serde_json::from_slice::<Claim>(&claim.body).unwrap().tasks.pop().unwrap();
    shot!(
        "POST tasks/{id}/progress",
        server.post(&format!("tasks/{id}/progress"), json!({ "percent": 40, "msg": "half" }))
    );
    shot!(
        "POST runners/{id}/heartbeat",
        runner.raw("heartbeat", &json!({ "holds": [crate::server::held(&task)] }))
    );
    server.advance(Duration::from_millis(1500));
    let failed = Report {
        log: vec![chunk(1, Stream::Stdout, b"Hello\n"), chunk(2, Stream::Stderr, b"boom\n")],
        stderr_tail: Lossless(b"boom\n".to_vec()),
        ..report(&task, Exit::Code(3))
    };
    shot!("POST runners/{id}/finish", runner.raw("finish", &json!({ "reports": [failed] })));
    shot!("GET tasks/{id} waiting for a retry", server.get(&format!("tasks/{id}")));
    server.advance(Duration::from_secs(3));
    server.app.store.promote(server.app.now()).await.unwrap();
    let task = runner.claim_one().await;
    server.advance(Duration::from_millis(1500));
    let result = Some(Lossless(b"{\"ok\":true}".to_vec()));
    runner.finish(vec![Report { result, ..report(&task, Exit::Code(0)) }]).await;
    shot!("GET tasks/{id} complete", server.get(&format!("tasks/{id}")));
    shot!("GET tasks/{id}/attempts", server.get(&format!("tasks/{id}/attempts")));
    shot!("GET tasks/{id}/log", server.get(&format!("tasks/{id}/log?attempt=1")));
    shot!("GET tasks/{id}/outlog", server.get(&format!("tasks/{id}/outlog?attempt=1")));
    shot!("GET tasks/{id}/result", server.get(&format!("tasks/{id}/result")));
    shot!(
        "POST tasks/{id}/progress of an ended task",
        server.post(&format!("tasks/{id}/progress"), json!({}))
    );
    shot!("POST tasks/{id}/retry", server.post(&format!("tasks/{id}/retry"), json!({})));
    shot!("POST tasks/webhook", server.post("tasks/webhook?code_name=w", json!({})));
    shot!("POST tasks/cancel", server.post("tasks/cancel", json!({ "code_name": "w" })));
    shot!("POST tasks/retry", server.post("tasks/retry?cancelled=1", json!({})));
    shot!("GET codes/{id}/stats", server.get(&format!("codes/{code}/stats")));

    let schedule =
        json!({ "schedules": [{ "code_name": "w", "payload": "p", "run_every": 60, "name": "n" }] });
    let made = shot!("POST schedules", server.post("schedules", schedule)).json();
    let schedule = made["schedules"][0]["id"].as_str().unwrap().to_owned();
    shot!("GET schedules", server.get("schedules"));
    scheduler::run_once(&server.app, server.app.now()).await.unwrap();
    shot!("GET schedules/{id} after a run", server.get(&format!("schedules/{schedule}")));
    server.post(&format!("schedules/{schedule}/cancel"), json!({})).await;
    shot!("GET schedules/{id} cancelled", server.get(&format!("schedules/{schedule}")));

    shot!("GET project", root(Method::GET, &format!("/2/projects/{}", server.project), None));
    shot!("GET projects", root(Method::GET, "/2/projects", None));
    shot!("POST credentials", server.post("credentials", json!({ "auth": "e30=" })));
    shot!("POST tokens", server.post("tokens", json!({ "name": "ci", "scopes": ["read", "queue"] })));
    shot!("GET tokens", server.get("tokens"));
    shot!("GET clusters", root(Method::GET, "/2/clusters", None));
    shot!("GET clusters/{name}", root(Method::GET, "/2/clusters/default", None));
    shot!("GET clusters/{name}/stats", root(Method::GET, "/2/clusters/default/stats", None));
    shot!("GET clusters/{name} unknown", root(Method::GET, "/2/clusters/gpu", None));
    shot!("GET runners", root(Method::GET, "/2/runners", None));
    shot!("GET stacks", root(Method::GET, "/2/stacks", None));
    shot!("GET version", root(Method::GET, "/version", None));
    shot!("GET health/live", root(Method::GET, "/health/live", None));
    shot!("GET health/ready", root(Method::GET, "/health/ready", None));
    let metrics = root(Method::GET, "/metrics", None).await;
    let mut lines: Vec<String> = metrics.text().lines().map(str::to_owned).collect();
    assert_eq!(lines.last().map(String::as_str), Some("# EOF"));
    lines.sort();
    shots.push(("GET metrics, sorted".to_owned(), lines.join("\n")));

    let page: Vec<String> = shots.iter().map(|(name, shown)| format!("## {name}\n{shown}\n")).collect();
    page.join("\n")
}
