//! Every page of the HUD as it is, with a clock that stands still: `INSTA_UPDATE=always cargo test -p windlass-server
//! pages` writes them anew, and the difference is what to look at.

use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use serde_json::json;
use windlass_model::exit::Exit;
use windlass_server::loops::scheduler;

use crate::hud::Browser;
use crate::server::TestServer;

/// A page with what differs from run to run named by its order, a tag a line, and charts by what they say they are.
fn calm(html: &str) -> String {
    let mut text = without_charts(html);
    for (before, after) in [("csrf=", '"'), ("/assets/hud.", '"'), ("/assets/live.", '"')] {
        let mut parts = text.split(before);
        let mut calmed = parts.next().unwrap().to_owned();
        for part in parts {
            let (_, rest) = part.split_once(after).unwrap();
            calmed.push_str(&format!("{before}…{after}{rest}"));
        }
        text = calmed;
    }
    let mut ids: HashMap<String, usize> = HashMap::new();
    let mut calmed = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let (hex, rest) = word.split_at(word.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(word.len()));
        if hex.len() == 24 {
            let next = ids.len() + 1;
            calmed.push_str(&format!("ID{}{rest}", ids.entry(hex.to_owned()).or_insert(next)));
        } else {
            calmed.push_str(word);
        }
    }
    calmed.replace("><", ">\n<").lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

/// Charts and their tables have tests of their own.
fn without_charts(html: &str) -> String {
    let mut parts = html.split("<svg class=\"chart\"");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let label = part.split("aria-label=\"").nth(1).unwrap().split('"').next().unwrap();
        let rest = part.split_once("</svg>").unwrap().1;
        let rest = rest
            .strip_prefix("<div class=\"hidden\"><table>")
            .map_or(rest, |r| r.split_once("</div>").unwrap().1);
        text.push_str(&format!("[chart: {label}]{rest}"));
    }
    text
}

#[tokio::test]
async fn pages_are_as_they_were_when_somebody_last_looked() {
    let server = TestServer::start().await;
    let code = server.code("report", json!({ "max_concurrency": 2 })).await;
    server.code("idle", json!({})).await;
    let runner = server.runner(3).await;
    let schedule =
        json!({ "code_name": "report", "name": "hourly", "run_every": 3600, "payload": "{\"zone\": 1}" });
    let made = server.post("schedules", json!({ "schedules": [schedule] })).await.json();
    let schedule = made["schedules"][0]["id"].as_str().unwrap().to_owned();
    scheduler::run_once(&server.app, server.app.now()).await.unwrap();
    for (payload, exit) in [("{\"zone\": 2, \"token\": \"hush\"}", Exit::Code(0)), ("{}", Exit::Code(3))] {
        server.queue(json!({ "code_name": "report", "payload": payload, "label": "nightly" })).await;
        server.advance(Duration::from_secs(5));
        runner.run(exit).await;
        server.advance(Duration::from_secs(5));
    }
    let task = server.queue(json!({ "code_name": "report", "payload": "{\"zone\": 3}", "delay": 90 })).await;
    server.advance(Duration::from_secs(40));

    let browser = Browser::with(&server, &server.admin).await;
    let base = format!("/p/{}", server.project);
    for (name, path) in [
        ("overview", String::new()),
        ("overview_week", "?range=week".to_owned()),
        ("tasks", "/tasks".to_owned()),
        ("tasks_filtered", "/tasks?error=1&label=nightly&text=zone".to_owned()),
        ("task", format!("/tasks/{task}")),
        ("task_edit", format!("/tasks/{task}/edit")),
        ("codes", "/codes".to_owned()),
        ("code", format!("/codes/{code}")),
        ("queue", "/queue".to_owned()),
        ("schedules", "/schedules".to_owned()),
        ("schedule", format!("/schedules/{schedule}")),
        ("schedule_new", "/schedules/new".to_owned()),
        ("runners", "/runners".to_owned()),
        ("tokens", "/tokens".to_owned()),
    ] {
        insta::assert_snapshot!(format!("page_{name}"), calm(&browser.page(&format!("{base}{path}")).await));
    }
    insta::assert_snapshot!("page_help", calm(&browser.page("/help").await));
    insta::assert_snapshot!("page_login", calm(&browser.page("/login").await));
    let missing = browser.send(Method::GET, &format!("{base}/tasks/{}", "f".repeat(24)), "").await;
    insta::assert_snapshot!("page_failure", calm(&missing.text()));
    let csrf = browser.csrf(&base).await;
    let form = "all=1&filter=label%3Dnightly";
    let asked = browser.send(Method::POST, &format!("{base}/tasks/retry?csrf={csrf}"), form).await;
    insta::assert_snapshot!("page_bulk", calm(&asked.text()));
}

#[tokio::test]
async fn a_new_project_shows_the_way_to_the_first_task() {
    let server = TestServer::start().await;
    let browser = Browser::with(&server, &server.admin).await;
    insta::assert_snapshot!("page_new", calm(&browser.page(&format!("/p/{}", server.project)).await));
}
