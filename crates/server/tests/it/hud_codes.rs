//! The pages of packages, projects and tokens: what their forms make.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use windlass_model::exit::Exit;
use windlass_model::project::Scope;
use windlass_model::runner::{Claim, ClaimRequest};

use crate::hud::Browser;
use crate::server::{Answer, TestServer, report};

/// Sends a form with a file, as a browser does.
async fn send_file(
    browser: &Browser<'_>,
    action: &str,
    fields: &[(&str, &str)],
    file: (&str, &[u8]),
    by_script: bool,
) -> Answer {
    let page = format!("/p/{}", browser.server.project);
    let csrf = browser.csrf(&page).await;
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(head.as_bytes());
    }
    let head = format!(
        "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n\r\n",
        file.0
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(file.1);
    body.extend_from_slice(b"\r\n--X--\r\n");
    let mut request = Request::builder().method(Method::POST).uri(format!("{action}?csrf={csrf}"));
    request =
        request.header("cookie", &browser.cookie).header("content-type", "multipart/form-data; boundary=X");
    if by_script {
        request = request.header("x-live", "1");
    }
    browser.server.send(request.body(Body::from(body)).unwrap()).await
}

async fn code(server: &TestServer) -> Value {
    server.get("codes").await.json()["codes"][0].clone()
}

async fn variables(server: &TestServer, name: &str) -> Value {
    server.queue(json!({ "code_name": name })).await;
    let runner = server.runner(1).await;
    let claim: Claim =
        runner.call("claim", &ClaimRequest { want: 1, wait_ms: 0, is_idle: false, load: None }).await;
    runner.finish(vec![report(&claim.tasks[0], Exit::Code(0))]).await;
    json!(claim.revisions[0].env_vars)
}

#[tokio::test]
async fn a_program_is_uploaded_by_a_form_and_its_revisions_say_what_changed() {
    let server = TestServer::start().await;
    let browser = Browser::with(&server, &server.admin).await;
    let codes = format!("/p/{}/codes", server.project);
    assert!(browser.page(&codes).await.contains("No package yet"));
    assert!(browser.page(&format!("{codes}/new")).await.contains("multipart/form-data"));

    let made = send_file(&browser, &codes, &[("name", "")], ("hello.py", b"print('hello')"), false).await;
    assert_eq!(made.status, 303, "{}", made.text());
    let page = made.header("location").to_owned();
    let first = code(&server).await;
    assert_eq!(
        (&first["name"], &first["runtime"], &first["file_name"]),
        (&json!("hello"), &json!("python"), &json!("hello.py"))
    );
    let again = send_file(&browser, &codes, &[("name", "hello")], ("hello.py", b"print(2)"), false).await;
    assert_eq!((again.status.as_u16(), again.text().contains("already")), (409, true));

    // A script hears where the package is, and what it says is kept for that page.
    let sent = send_file(&browser, &page, &[("command", "")], ("hello.py", b"print('again')"), true).await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (201, page.as_str()));
    assert!(sent.header("set-cookie").contains("revision%202"), "{}", sent.header("set-cookie"));
    assert_eq!(code(&server).await["file_name"], "hello.py");
    let refused = send_file(&browser, &page, &[], ("", b""), true).await;
    assert_eq!((refused.status.as_u16(), refused.text().contains("class=\"why\">file: choose")), (400, true));
    let broken = send_file(&browser, &page, &[], ("x.zip", b"PK\x03\x04 but no more"), true).await;
    assert_eq!(broken.status, 400, "{}", broken.text());

    let html = browser.page(&page).await;
    for part in [
        "<li>zip <del>",
        "Roll back to revision 1",
        "http://localhost/2/projects/",
        "tasks/webhook?code_name=hello",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let (html, _) = browser.act(&page, &format!("{page}/rollback"), "revision=1").await;
    assert!(html.contains("Rolled back: revision 3 is like revision 1"), "{html}");
    assert_eq!(code(&server).await["latest_checksum"], first["latest_checksum"]);
}

#[tokio::test]
async fn settings_and_variables_are_changed_in_place() {
    let server = TestServer::start().await;
    let id = server
        .code("w", json!({ "env_vars": { "KEEP": "1", "SET": "2", "GONE": "3" }, "memory": "64M" }))
        .await;
    let browser = Browser::with(&server, &server.admin).await;
    let page = format!("/p/{}/codes/{id}", server.project);
    let html = browser.page(&page).await;
    assert!(
        html.contains("name=\"memory\" value=\"64M\"") && html.contains("placeholder=\"512M\""),
        "{html}"
    );

    let same = "memory=64M&cpu=&pids=&disk=&open_files=&output=&network=default&max_concurrency=&retries=0&retries_delay=60&default_priority=0&config=";
    let delay = code(&server).await["retries_delay"].clone();
    let same = same.replace("retries_delay=60", &format!("retries_delay={delay}"));
    let (html, _) = browser.act(&page, &format!("{page}/settings"), &same).await;
    assert!(html.contains("Nothing was changed") && code(&server).await["rev"] == 1, "{html}");
    let other = same
        .replace("memory=64M", "memory=")
        .replace("cpu=", "cpu=0.5")
        .replace("max_concurrency=", "max_concurrency=3");
    let (html, _) = browser
        .act(&page, &format!("{page}/settings"), &other.replace("network=default", "network=none"))
        .await;
    assert!(
        html.contains("Changed: revision 2") && html.contains("<li>memory <del>64 MiB</del></li>"),
        "{html}"
    );
    let now = code(&server).await;
    assert_eq!(
        (&now["max_concurrency"], &now["network"], &now["cpu"]),
        (&json!(3), &json!("none"), &json!(0.5))
    );
    let csrf = browser.csrf(&page).await;
    let wrong = browser.send(Method::POST, &format!("{page}/settings?csrf={csrf}"), "memory=lots").await;
    assert_eq!((wrong.status.as_u16(), wrong.text().contains("is not a size")), (400, true));

    let form = "set.KEEP=&set.SET=new&remove=GONE&name.0=ADDED&value.0=4&name.1=&value.1=";
    let (html, _) = browser.act(&page, &format!("{page}/variables"), form).await;
    assert!(html.contains("Changed: revision 3") && html.contains("ADDED=***"), "{html}");
    assert!(!html.contains(">new<") && !html.contains("value=\"new\""));
    assert_eq!(variables(&server, "w").await, json!({ "KEEP": "1", "SET": "new", "ADDED": "4" }));
}

#[tokio::test]
async fn a_config_that_is_emptied_is_gone() {
    let server = TestServer::start().await;
    let id = server.code("w", json!({ "config": "a=1" })).await;
    let browser = Browser::with(&server, &server.admin).await;
    let page = format!("/p/{}/codes/{id}", server.project);
    assert!(browser.page(&page).await.contains(">a=1</textarea>"));
    let (html, _) = browser.act(&page, &format!("{page}/settings"), "retries=0&config=").await;
    assert!(html.contains("<li>config <del>3 B</del></li>") && html.contains("></textarea>"), "{html}");
    assert_eq!(code(&server).await["config"], "");
}

#[tokio::test]
async fn a_package_is_deleted_after_it_was_said_what_that_means() {
    let server = TestServer::start().await;
    let id = server.code("w", json!({})).await;
    server.code("other", json!({})).await;
    let queued = server.queue(json!({ "code_name": "w" })).await;
    let other = server.queue(json!({ "code_name": "other" })).await;
    let schedule = json!({ "code_name": "w", "run_every": 3600, "start_at": "2030-01-01T00:00:00Z" });
    server.post("schedules", json!({ "schedules": [schedule] })).await;
    let browser = Browser::with(&server, &server.admin).await;
    let page = format!("/p/{}/codes/{id}", server.project);
    assert!(browser.page(&page).await.contains(&format!("href=\"{page}/delete\"")));
    let asked = browser.page(&format!("{page}/delete")).await;
    for part in ["cancelled: 1 task.", "end: 0 tasks.", "no more: 1 schedule.", "windlass codes delete w"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    assert_eq!(server.status(&queued).await, "queued", "it was only asked");
    let (html, _) = browser.act(&page, &format!("{page}/delete"), "").await;
    assert!(html.contains("Deleted w") && !html.contains(&page), "{html}");
    assert_eq!(
        (server.status(&queued).await, server.status(&other).await),
        ("cancelled".into(), "queued".into())
    );
    assert!(browser.page(&format!("/p/{}/schedules", server.project)).await.contains("is-cancelled"));
}

#[tokio::test]
async fn warm_workers_say_for_how_long_they_are_kept() {
    let server = TestServer::start().await;
    let browser = Browser::with(&server, &server.admin).await;
    let codes = format!("/p/{}/codes", server.project);
    let file = ("app.py", &b"def handler(event, context): pass"[..]);
    let made = send_file(&browser, &codes, &[("name", "w")], file, false).await;
    let page = made.header("location").to_owned();
    assert!(!browser.page(&page).await.contains("Warm workers"));
    let warm = json!({
        "name": "w", "mode": "warm", "runtime": "python3", "handler": "app.handler",
        "min_warm": 2, "max_tasks": 50, "idle_timeout": 90
    });
    let answer = server.post("codes", warm).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let html = browser.page(&page).await;
    let said = "replaced after 50 tasks or 1 h 00 min, ended after 1 min 30 s without any; 2 idle ones for good on each runner";
    assert!(html.contains(said), "{html}");
}

#[tokio::test]
async fn the_list_says_how_packages_did_lately() {
    let server = TestServer::start().await;
    server.code("w", json!({ "retries": 0 })).await;
    server.code("idle", json!({})).await;
    let runner = server.runner(2).await;
    for exit in [Exit::Code(0), Exit::Code(0), Exit::Code(1)] {
        server.queue(json!({ "code_name": "w" })).await;
        runner.run(exit).await;
    }
    let browser = Browser::with(&server, &server.admin).await;
    let html = browser.page(&format!("/p/{}/codes", server.project)).await;
    for part in ["66.6 %", "class=\"spark\"", "1.50 s", "4.50 s", "is-error", ">idle<"] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert_eq!(html.matches("class=\"spark\"").count(), 1, "nothing is drawn of what did not run");
}

#[tokio::test]
async fn projects_and_their_tokens_are_made_by_those_who_may() {
    let server = TestServer::start().await;
    let admin = Browser::with(&server, &server.admin).await;
    let member = Browser::with(&server, &server.token(&[Scope::Manage]).await).await;
    let html = member.page("/projects").await;
    assert!(html.contains(&server.project.to_string()) && !html.contains("Make a project"), "{html}");
    let csrf = member.csrf("/projects").await;
    assert_eq!(member.send(Method::POST, &format!("/projects?csrf={csrf}"), "name=x").await.status, 403);

    let (html, target) = admin.act("/projects", "/projects", "name=reports").await;
    assert!(
        html.contains("Made the project reports") && target != format!("/p/{}", server.project),
        "{html}"
    );
    assert!(
        admin.page(&format!("/p/{}", server.project)).await.contains(&format!("href=\"{target}\"")),
        "the switcher has it"
    );
    assert!(!member.page("/projects").await.contains("reports"), "others do not see it");

    let tokens = format!("/p/{}/tokens", server.project);
    let html = member.page(&tokens).await;
    assert!(!html.contains("every project</caption>") && !html.contains("value=\"runner\""), "{html}");
    let csrf = member.csrf(&tokens).await;
    let refused =
        member.send(Method::POST, &format!("{tokens}?csrf={csrf}"), "scope=read&where=everywhere").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let csrf = admin.csrf(&tokens).await;
    let made = admin
        .send(Method::POST, &format!("{tokens}?csrf={csrf}"), "name=box&scope=runner&where=everywhere")
        .await;
    let token = made.text().split("<code>wl_").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let record = server.app.tokens.find(&format!("wl_{token}")).unwrap().record.clone();
    assert_eq!((record.project, record.scopes), (None, vec![Scope::Runner]));
    let revoke = format!("{tokens}/{}/revoke", record.id);
    let csrf = member.csrf(&tokens).await;
    assert_eq!(member.send(Method::POST, &format!("{revoke}?csrf={csrf}"), "").await.status, 404);
    let (html, _) = admin.act(&tokens, &revoke, "").await;
    assert!(html.contains("Revoked") && server.app.tokens.by_id(record.id).is_none(), "{html}");
}
