//! What the HUD does to many tasks at once.

use http::Method;
use serde_json::json;
use windlass_model::exit::Exit;
use windlass_server::Config;

use crate::hud::Browser;
use crate::server::TestServer;

#[tokio::test]
async fn a_text_is_a_filter_of_what_is_done_to_everything_that_matches() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        let payload = format!("{{\"zone\":\"Needle-{}\"}}", n % 10);
        ids.push(server.queue(json!({ "code_name": "w", "payload": payload })).await);
    }
    let browser = Browser::with(&server, &server.admin).await;
    let list = format!("/p/{}/tasks", server.project);
    let csrf = browser.csrf(&list).await;
    let form = "all=1&filter=queued%3D1%26text%3DNEEDLE%252D3";
    let asked = browser.send(Method::POST, &format!("{list}/cancel?csrf={csrf}"), form).await.text();
    assert!(asked.contains("3 to cancel") && asked.contains("<q>NEEDLE-3</q>"), "{asked}");
    let (html, target) = browser.act(&list, &format!("{list}/cancel"), &format!("{form}&sure=1")).await;
    assert!(html.contains("3 tasks cancelled") && target.contains("text=NEEDLE"), "{html}");
    let mut cancelled = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        if server.status(id).await == "cancelled" {
            cancelled.push(n);
        }
    }
    assert_eq!(cancelled, [3, 13, 23], "the others stay");

    let form = "all=1&filter=cancelled%3D1%26text%3Dneedle%252D3";
    let (html, _) = browser.act(&list, &format!("{list}/retry"), &format!("{form}&sure=1")).await;
    assert!(html.contains("3 tasks queued again"), "{html}");
    let form = "all=1&filter=text%3Dnobody";
    let asked = browser.send(Method::POST, &format!("{list}/retry?csrf={csrf}"), form).await.text();
    assert!(asked.contains("0 to retry"), "{asked}");
}

#[tokio::test]
async fn what_is_too_much_for_one_request_is_done_in_parts_and_nothing_twice() {
    let mut config = Config::default();
    config.limits.tasks_per_request = 4;
    let server = TestServer::with(config).await;
    server.code("w", json!({ "retries": 0 })).await;
    let runner = server.runner(1).await;
    for _ in 0..8 {
        server.queue(json!({ "code_name": "w" })).await;
        runner.run(Exit::Code(1)).await;
    }
    let browser = Browser::with(&server, &server.admin).await;
    let list = format!("/p/{}/tasks", server.project);
    let csrf = browser.csrf(&list).await;
    let retry = async |form: &str| {
        browser
            .send(Method::POST, &format!("{list}/retry?csrf={csrf}"), &format!("all=1&sure=1&filter={form}"))
            .await
    };
    let part = retry("").await.text();
    assert!(part.contains("4 tasks queued again") && part.contains("4 to retry"), "{part}");
    let cursor = part.split("name=\"cursor\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let rest = retry(&format!("&cursor={cursor}")).await;
    assert_eq!(rest.status, 303, "nothing is left to ask for: {}", rest.text());
    let queued = server.get("tasks?queued=1").await.json();
    let queued = queued["tasks"].as_array().unwrap();
    let mut of: Vec<_> = queued.iter().map(|task| task["retry_of"].as_str().unwrap()).collect();
    of.sort_unstable();
    of.dedup();
    assert_eq!((queued.len(), of.len()), (8, 8));
}

#[tokio::test]
async fn a_task_that_is_retried_changed_says_of_which() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w", "payload": "p" })).await;
    let browser = Browser::with(&server, &server.admin).await;
    let edit = format!("/p/{}/tasks/{id}/edit", server.project);
    assert!(browser.page(&edit).await.contains(&format!("name=\"retry_of\" value=\"{id}\"")));
    let queue = format!("/p/{}/queue", server.project);
    let form = format!("code_name=w&payload=better&retry_of={id}");
    let (html, _) = browser.act(&edit, &queue, &form).await;
    assert!(html.contains("Retry of") && html.contains("better"), "{html}");
    assert_eq!(server.get("tasks?per_page=1").await.json()["tasks"][0]["retry_of"], json!(id));
    let csrf = browser.csrf(&edit).await;
    let form = format!("code_name=w&retry_of={}", server.project);
    assert_eq!(browser.send(Method::POST, &format!("{queue}?csrf={csrf}"), &form).await.status, 404);
}
