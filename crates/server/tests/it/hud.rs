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
    pub(crate) server: &'a TestServer,
    pub(crate) cookie: String,
}

impl<'a> Browser<'a> {
    pub(crate) async fn with(server: &'a TestServer, token: &str) -> Browser<'a> {
        let nobody = Browser { server, cookie: String::new() };
        let answer = nobody.send(Method::POST, "/login", &format!("token={token}")).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        Browser { server, cookie }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, form: &str) -> Answer {
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
    pub(crate) async fn act(&self, page: &str, action: &str, form: &str) -> (String, String) {
        let csrf = self.csrf(page).await;
        let answer = self.send(Method::POST, &format!("{action}?csrf={csrf}"), form).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let target = answer.header("location").to_owned();
        let said = answer.header("set-cookie").split(';').next().unwrap();
        let after = Browser { server: self.server, cookie: format!("{}; {said}", self.cookie) };
        (after.page(&target).await, target)
    }

    pub(crate) async fn csrf(&self, page: &str) -> String {
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
async fn no_action_is_done_without_what_only_its_own_page_knows() {
    let server = TestServer::start().await;
    let project = server.project.to_string();
    let browser = Browser::with(&server, &server.admin).await;
    let foreign = Browser::with(&server, &server.token(&[Scope::Manage]).await).await;
    let home = format!("/p/{project}");
    let (own, others) = (browser.csrf(&home).await, foreign.csrf(&home).await);
    assert_ne!(own, others);
    let actions: Vec<_> = pages().into_iter().filter(|page| page.method == Method::POST).collect();
    assert!(actions.len() > 10);
    for page in &actions {
        if page.access == Access::Open {
            continue;
        }
        let path = filled(page, &project);
        for csrf in ["", "?csrf=", "?csrf=x", &format!("?csrf={others}"), &format!("?csrf={own}x")] {
            let answer = browser.send(Method::POST, &format!("{path}{csrf}"), "").await;
            assert_eq!(answer.status, 403, "{page:?} {csrf}: {}", answer.text());
            assert!(answer.text().contains("not one of yours"), "{page:?}");
        }
        // The form's own token, shown by a page of another site, or in the body where it is not looked for.
        for site in ["cross-site", "same-site", "none"] {
            let request = Request::builder().method(Method::POST).uri(format!("{path}?csrf={own}"));
            let request = request.header("cookie", &browser.cookie).header("sec-fetch-site", site);
            assert_eq!(
                server.send(request.body(Body::empty()).unwrap()).await.status,
                403,
                "{page:?} {site}"
            );
        }
        let in_body = browser.send(Method::POST, &path, &format!("csrf={own}")).await;
        assert_eq!(in_body.status, 403, "{page:?}");
    }
}

#[tokio::test]
async fn whatever_a_page_answers_is_for_one_reader_and_no_cache() {
    let server = TestServer::start().await;
    let browser = Browser::with(&server, &server.admin).await;
    for page in pages().into_iter().filter(|page| page.method == Method::GET && page.access != Access::Open) {
        if page.path.ends_with("/live") {
            continue;
        }
        let answer = browser.send(Method::GET, &filled(&page, &server.project.to_string()), "").await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{page:?}"
        );
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{page:?} {name}");
        }
    }
    let odd = browser.send(Method::GET, "/p/%ff/tasks", "").await;
    assert_eq!(odd.status, 404, "{}", odd.text());
}

#[tokio::test]
async fn nobody_is_logged_in_by_another_site_or_sent_to_one() {
    let server = TestServer::start().await;
    let nobody = Browser { server: &server, cookie: String::new() };
    let login = |headers: &[(&str, &str)], next: &str| {
        let form = format!("token={}&next={next}", server.admin);
        let mut request = Request::builder().method(Method::POST).uri("/login").header("host", "here:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (server, request) = (&server, request.body(Body::from(form)).unwrap());
        async move { server.send(request).await }
    };
    assert_eq!(login(&[("origin", "http://here:8080")], "").await.status, 303);
    assert_eq!(login(&[("origin", "http://evil")], "").await.status, 403);
    assert_eq!(login(&[("origin", "null")], "").await.status, 403);
    assert_eq!(login(&[("sec-fetch-site", "cross-site")], "").await.status, 403);
    let behind_proxy = [("sec-fetch-site", "same-origin"), ("origin", "https://windlass.example")];
    assert_eq!(login(&behind_proxy, "").await.status, 303, "the proxy changed the host");
    for evil in ["//evil", "%2F%2Fevil", "/%09/evil", "/%0a/evil", "/%5Cevil", "https:evil", "/%20/evil"] {
        assert_eq!(login(&[], evil).await.header("location"), "/", "{evil}");
        let page = nobody.send(Method::GET, &format!("/login?next={evil}"), "").await.text();
        assert!(!page.contains("<script") && page.contains("name=\"next\""));
    }
    assert_eq!(login(&[], "/p/5%3Fx").await.header("location"), "/p/5?x");

    let by_tls = login(&[("x-forwarded-proto", "https")], "").await;
    let cookie = by_tls.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-windlass=") && cookie.contains("; Secure") && cookie.contains("HttpOnly")
    );
    let value = cookie.split(';').next().unwrap();
    let home = |cookie: String, proto: &'static str| {
        let request = Request::builder().uri(format!("/p/{}", server.project)).header("cookie", cookie);
        let request = request.header("x-forwarded-proto", proto).body(Body::empty()).unwrap();
        let server = &server;
        async move { server.send(request).await.status.as_u16() }
    };
    assert_eq!(home(value.to_owned(), "https").await, 200);
    assert_eq!(home(value.replace("__Host-", ""), "https").await, 303, "a neighbour could have set it");
}

#[tokio::test]
async fn what_workers_and_clients_write_stays_text() {
    let server = TestServer::start().await;
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let variable = evil.replace('=', "");
    let options = json!({ "env_vars": { variable: "x" }, "config": evil, "command": evil });
    let code = server.code(evil, options).await;
    let task = json!({ "code_name": evil, "payload": evil, "label": evil });
    let id = server.queue(task).await;
    let schedule =
        json!({ "schedules": [{ "code_name": evil, "name": evil, "payload": evil, "run_every": 600 }] });
    let schedule = server.post("schedules", schedule).await.json()["schedules"][0]["id"].clone();
    server.app.create_token(Some(server.project), &[Scope::Read], evil, None).await.unwrap();
    server.app.create_project(evil).await.unwrap();
    let runner = server.runner(1).await;
    let claimed = runner.claim_one().await;
    let noise = format!("{evil}\n\x1b[31m{evil}\x1b]0;{evil}\x07\x1b[<script>m{evil}\n");
    let log = vec![chunk(1, Stream::Stdout, noise.as_bytes()), chunk(2, Stream::Stderr, evil.as_bytes())];
    let report = windlass_model::runner::Report { log, ..report(&claimed, Exit::Code(3)) };
    runner.finish(vec![report]).await;
    let browser = Browser::with(&server, &server.admin).await;
    let base = format!("/p/{}", server.project);
    let text = percent_encoding::utf8_percent_encode(evil, percent_encoding::NON_ALPHANUMERIC).to_string();
    for path in [
        String::new(),
        "/tasks".to_owned(),
        format!("/tasks?text={text}&label={text}&code_name={text}&cluster={text}"),
        format!("/tasks/{id}"),
        format!("/tasks/{id}/edit"),
        "/codes".to_owned(),
        format!("/codes/{code}"),
        format!("/queue?code_name={text}"),
        "/schedules".to_owned(),
        format!("/schedules/{}", schedule.as_str().unwrap()),
        format!("/schedules/new?code_name={text}"),
        "/tokens".to_owned(),
        "/runners".to_owned(),
    ] {
        let answer = browser.send(Method::GET, &format!("{base}{path}"), "").await;
        let html = answer.text();
        assert_eq!(answer.status, 200, "{path}: {html}");
        assert!(!html.contains("<script>alert") && !html.contains("<img src=x"), "{path}: {html}");
        assert!(!html.contains("\"'><img"), "{path}");
    }
    let failure = browser.send(Method::GET, &format!("{base}/tasks?schedule_id={text}"), "").await;
    assert_eq!(failure.status, 400);
    assert!(!failure.text().contains("<img src=x"), "{}", failure.text());
    let long = "x".repeat(20_000);
    let failure = browser.send(Method::GET, &format!("{base}/tasks?schedule_id={long}"), "").await.text();
    assert!(failure.len() < 3_000, "{}", failure.len());
}

#[tokio::test]
async fn secrets_in_payloads_are_for_those_who_may_manage() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id =
        server.queue(json!({ "code_name": "w", "payload": r#"{"zone":"ANZ","password":"hush"}"# })).await;
    let reader = Browser::with(&server, &server.token(&[Scope::Read, Scope::Queue]).await).await;
    let base = format!("/p/{}", server.project);
    for path in ["", "/tasks", &format!("/tasks/{id}"), &format!("/tasks/{id}?reveal=1"), "/tasks?text=anz"] {
        let html = reader.page(&format!("{base}{path}")).await;
        assert!(!html.contains("hush") && html.contains(&id), "{path}");
    }
    assert!(reader.page(&format!("{base}/tasks?text=hush")).await.contains("Nothing matches"));
    let edit = reader.send(Method::GET, &format!("{base}/tasks/{id}/edit"), "").await;
    assert_eq!((edit.status.as_u16(), edit.text().contains("looks like a secret")), (403, true));
    let manager = Browser::with(&server, &server.admin).await;
    assert!(manager.page(&format!("{base}/tasks/{id}/edit")).await.contains("hush"));
    assert!(manager.page(&format!("{base}/tasks?text=hush")).await.contains(&id));
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
async fn what_an_action_says_waits_for_its_page_not_for_one_that_was_open() {
    let server = TestServer::start().await;
    let browser = Browser::with(&server, &server.admin).await;
    let list = format!("/p/{}/tasks", server.project);
    let cookie = format!("{}; windlass_said=it%20was%20done", browser.cookie);
    let ask = |live: Option<&str>| {
        let request = Request::get(&list).header("cookie", &cookie);
        let request = live.into_iter().fold(request, |request, beat| request.header("x-live", beat));
        server.send(request.body(Body::empty()).unwrap())
    };
    for beat in ["0", "1"] {
        let answer = ask(Some(beat)).await;
        assert!(!answer.text().contains("it was done") && answer.header("set-cookie").is_empty());
    }
    let answer = ask(None).await;
    assert!(answer.text().contains("it was done"));
    assert!(answer.header("set-cookie").starts_with("windlass_said=;"), "{}", answer.header("set-cookie"));
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
    let html = browser.page(&format!("{list}?from=2026-01-31T11:59&to=2026-01-31T12:00")).await;
    assert_eq!(rows(&html), 50);
    assert!(html.contains("value=\"2026-01-31T12:00\"") && html.contains("from_time=1769860740"), "{html}");
    assert!(browser.page(&format!("{list}?from=2026-01-31T12:01")).await.contains("Nothing matches"));

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
