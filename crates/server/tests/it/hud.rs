//! The HUD without a browser: who gets in, what pages say, and that actions do what they say.

use axum::body::Body;
use http::{Method, Request};
use serde_json::json;
use windlass_model::exit::Exit;
use windlass_model::log::Stream;
use windlass_model::project::Scope;
use windlass_server::auth::Access;
use windlass_server::hud::{Page, pages};

use crate::server::{Answer, TestServer, chunk, report};

/// A browser that is logged in.
pub(crate) struct Browser<'a> {
    server: &'a TestServer,
    cookie: String,
}

impl<'a> Browser<'a> {
    pub(crate) async fn with(server: &'a TestServer, token: &str) -> Browser<'a> {
        let nobody = Browser { server, cookie: String::new() };
        let answer = nobody.send(Method::POST, "/login", &format!("token={token}")).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        Browser { server, cookie }
    }

    async fn send(&self, method: Method, path: &str, form: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("cookie", &self.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.server.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.send(Method::GET, path, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'")
        );
        let html = answer.text();
        let inline = [
            "style=",
            "onclick=",
            "onload=",
            "onsubmit=",
            "onchange=",
            "oninput=",
            "<style",
            "<script>",
            "javascript:",
        ];
        let found: Vec<_> = inline.into_iter().filter(|bad| html.contains(bad)).collect();
        assert!(found.is_empty(), "{path} has something inline: {found:?}");
        html
    }

    /// Sends a form as its page would; the page after it.
    async fn act(&self, page: &str, action: &str, form: &str) -> (String, String) {
        let csrf = self.csrf(page).await;
        let answer = self.send(Method::POST, &format!("{action}?csrf={csrf}"), form).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let target = answer.header("location").to_owned();
        let said = answer.header("set-cookie").split(';').next().unwrap();
        let after = Browser { server: self.server, cookie: format!("{}; {said}", self.cookie) };
        (after.page(&target).await, target)
    }

    async fn csrf(&self, page: &str) -> String {
        let html = self.page(page).await;
        let (_, rest) = html.split_once("csrf=").expect("every page can log out");
        rest.split('"').next().unwrap().to_owned()
    }
}

fn filled(page: &Page, project: &str) -> String {
    let id = "f".repeat(24);
    page.path.replace("{project_id}", project).replace("{id}", &id).replace("{name}", "icon.svg")
}

#[tokio::test]
async fn every_page_asks_for_the_login_and_its_scope() {
    let server = TestServer::start().await;
    let project = server.project.to_string();
    let nobody = Browser { server: &server, cookie: String::new() };
    let forged = Browser { server: &server, cookie: "windlass=AAAA".to_owned() };
    let token = server.token(&[Scope::Queue]).await;
    let weak = Browser::with(&server, &token).await;
    let other = server.app.create_project("other").await.unwrap().id;
    for page in pages() {
        let path = filled(&page, &project);
        for browser in [&nobody, &forged] {
            let answer = browser.send(page.method.clone(), &path, "").await;
            match (page.access, &page.method) {
                (Access::Open, _) => assert!(answer.status != 303 || path == "/login", "{page:?}"),
                (_, &Method::GET) => {
                    assert!(
                        answer.header("location").starts_with("/login?next="),
                        "{page:?}: {}",
                        answer.status
                    );
                }
                _ => assert_eq!(answer.status, 401, "{page:?}"),
            }
        }
        if matches!(page.access, Access::Project(Scope::Read | Scope::Manage) | Access::Root(_)) {
            let answer = weak.send(page.method.clone(), &path, "").await;
            assert_eq!(answer.status, 403, "{page:?}");
        }
        if page.path.contains("{project_id}") {
            let elsewhere = filled(&page, &other.to_string());
            let answer = weak.send(page.method.clone(), &elsewhere, "").await;
            assert_eq!(answer.status, 404, "{page:?}: another project looks like none");
        }
    }
}

#[tokio::test]
async fn a_form_that_is_not_ours_does_nothing() {
    let server = TestServer::start().await;
    let code = server.code("w", json!({})).await;
    let browser = Browser::with(&server, &server.admin).await;
    let pause = format!("/p/{}/codes/{code}/pause", server.project);
    let csrf = browser.csrf(&format!("/p/{}", server.project)).await;
    assert_eq!(browser.send(Method::POST, &pause, "").await.status, 403);
    assert_eq!(browser.send(Method::POST, &format!("{pause}?csrf=x{csrf}"), "").await.status, 403);
    let foreign = Request::builder().method(Method::POST).uri(format!("{pause}?csrf={csrf}"));
    let foreign = foreign.header("cookie", &browser.cookie).header("sec-fetch-site", "cross-site");
    assert_eq!(server.send(foreign.body(Body::empty()).unwrap()).await.status, 403);
    let (html, _) = browser.act(&format!("/p/{}/codes/{code}", server.project), &pause, "").await;
    assert!(html.contains("Resume") && html.contains(">paused<"), "{html}");
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_its_time() {
    let server = TestServer::start().await;
    let (text, record) = server.app.create_token(None, &[Scope::Read], "short", None).await.unwrap();
    let browser = Browser::with(&server, &text).await;
    let home = format!("/p/{}", server.project);
    assert!(browser.page(&home).await.contains("short"));
    server.advance(std::time::Duration::from_secs(12 * 3600));
    assert_eq!(browser.send(Method::GET, &home, "").await.status, 303, "its time is over");
    let again = Browser::with(&server, &text).await;
    server.app.revoke_token(record.id).await.unwrap();
    assert_eq!(again.send(Method::GET, &home, "").await.status, 303, "its token is gone");
    let wrong = again.send(Method::POST, "/login", "token=wl_wrong").await;
    assert_eq!((wrong.status.as_u16(), wrong.text().contains("not known here")), (401, true));
}

#[tokio::test]
async fn a_task_tells_its_story() {
    let server = TestServer::start().await;
    server.code("w", json!({ "retries": 0 })).await;
    let payload = r#"{"zone":"<b>ANZ</b>","api_token":"hush"}"#;
    let id = server.queue(json!({ "code_name": "w", "payload": payload, "label": "l1" })).await;
    let browser = Browser::with(&server, &server.admin).await;
    let path = format!("/p/{}/tasks/{id}", server.project);
    let html = browser.page(&path).await;
    assert!(html.contains("there is no runner in its cluster") && html.contains("&#60;b&#62;ANZ"), "{html}");
    assert!(!html.contains("hush") && html.contains("••••••"), "{html}");
    assert!(browser.page(&format!("{path}?reveal=1")).await.contains("hush"));

    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    let log = vec![chunk(1, Stream::Stdout, b"one\n\x1b[32mtwo"), chunk(2, Stream::Stderr, b"<three>\n")];
    let report = windlass_model::runner::Report { log, ..report(&task, Exit::Code(3)) };
    runner.finish(vec![report]).await;
    let html = browser.page(&path).await;
    for part in
        ["is-error", "exit 3", "1.50 s", "Process Exit 3", "id=\"L2\"", "<span class=\"c2\">two</span>"]
    {
        assert!(html.contains(part), "{part} in {html}");
    }
    assert!(html.contains("&lt;three&gt;") && html.contains(&format!("windlass retry {id}")));

    let (html, target) = browser.act(&path, &format!("{path}/retry"), "").await;
    assert!(target != path && html.contains("Queued again") && html.contains("is-queued"), "{html}");
    let edit = browser.page(&format!("{path}/edit")).await;
    assert!(edit.contains("hush"), "what is edited is all of it");
    let form = "code_name=w&payload=%7B%22zone%22%3A+1%7D%0D%0A&priority=&timeout=20&label=edited";
    let (html, _) = browser.act(&path, &format!("/p/{}/queue", server.project), form).await;
    assert!(html.contains("edited") && html.contains("20.0 s"), "{html}");
    let newest = server.get("tasks?per_page=1").await.json();
    assert_eq!(newest["tasks"][0]["payload"], "{\"zone\": 1}\n");
}

#[tokio::test]
async fn many_tasks_are_found_and_changed_at_once() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(
            server
                .queue(json!({ "code_name": "w", "payload": format!("needle-{}", n % 10), "label": "x" }))
                .await,
        );
    }
    let browser = Browser::with(&server, &server.admin).await;
    let list = format!("/p/{}/tasks", server.project);
    let rows = |html: &str| html.matches("<tr data-row=").count();
    let html = browser.page(&list).await;
    assert_eq!(rows(&html), 50);
    let older =
        html.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
    assert_eq!(rows(&browser.page(&older).await), 10);
    assert_eq!(rows(&browser.page(&format!("{list}?text=NEEDLE-3")).await), 6);
    assert!(browser.page(&format!("{list}?running=1")).await.contains("Nothing matches"));

    let (html, _) =
        browser.act(&list, &format!("{list}/cancel"), &format!("id={}&id={}", ids[0], ids[1])).await;
    assert!(html.contains("2 tasks cancelled"), "{html}");
    let csrf = browser.csrf(&list).await;
    let filter = "all=1&filter=label%3Dx";
    let asked = browser.send(Method::POST, &format!("{list}/cancel?csrf={csrf}"), filter).await;
    assert!(asked.text().contains("58 to cancel") && asked.text().contains("queued, preparing, running"));
    assert_eq!(server.status(&ids[5]).await, "queued", "it was only asked");
    let (html, _) = browser.act(&list, &format!("{list}/cancel"), &format!("{filter}&sure=1")).await;
    assert!(html.contains("58 tasks cancelled"), "{html}");
    assert_eq!(server.status(&ids[5]).await, "cancelled");
}

#[tokio::test]
async fn schedules_tokens_and_runners_are_looked_after() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let runner = server.runner(3).await;
    let browser = Browser::with(&server, &server.admin).await;
    let base = format!("/p/{}", server.project);
    let form = "code_name=w&run_every=600&name=ten&payload=p1";
    let (html, target) = browser.act(&base, &format!("{base}/schedules/new"), form).await;
    assert!(html.contains("10 min") && html.contains("in 9 min") | html.contains("in 10 min"), "{html}");
    let (html, _) = browser.act(&target, &target, "code_name=w&run_every=120&name=two&payload=p2").await;
    assert!(html.contains(">2 min<") && html.contains("p2"), "{html}");
    let (html, _) = browser.act(&target, &format!("{target}/run"), "").await;
    assert!(html.contains("p2") && html.contains("is-queued"), "{html}");
    let (html, _) = browser.act(&target, &format!("{target}/pause"), "").await;
    assert!(html.contains("is-paused") && html.contains("windlass schedule resume"), "{html}");
    let (html, _) =
        browser.act(&target, &target, "code_name=w&run_every=180&run_times=&name=&payload=p2").await;
    assert!(html.contains(">3 min<") && html.contains("is-paused"), "a change does not resume it: {html}");
    let (html, _) = browser.act(&target, &format!("{target}/resume"), "").await;
    assert!(html.contains("is-scheduled") && html.contains("in 3 min"), "{html}");
    let (html, _) = browser.act(&target, &format!("{target}/cancel"), "").await;
    assert!(html.contains("is-cancelled") && html.contains("It fires no more"));

    let csrf = browser.csrf(&base).await;
    let made =
        browser.send(Method::POST, &format!("{base}/tokens?csrf={csrf}"), "name=ci&scope=queue&days=3").await;
    let text = made.text();
    let token = text.split("<code>wl_").nth(1).unwrap().split('<').next().unwrap();
    assert_eq!(
        server.call(Method::GET, &server.path("tasks"), &format!("wl_{token}"), None).await.status,
        403
    );
    assert!(!browser.page(&format!("{base}/tokens")).await.contains(token), "it is shown once");

    let drain = format!("{base}/runners/{}/drain", runner.id);
    let (html, _) = browser.act(&base, &drain, "").await;
    assert!(html.contains("is-draining") && html.contains("0 / 3"), "{html}");
    let (html, _) = browser.act(&base, &drain, "resume=1").await;
    assert!(html.contains("is-live"), "{html}");
    for page in ["", "?range=day", "?range=week", "/codes", "/schedules"] {
        browser.page(&format!("{base}{page}")).await;
    }
    browser.page("/help").await;
}
