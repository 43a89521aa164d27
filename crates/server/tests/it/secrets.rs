//! Values of `env_vars`: workers get them, nobody else does.

use serde_json::{Value, json};
use windlass_model::exit::Exit;
use windlass_model::runner::{Claim, ClaimRequest};
use windlass_server::{App, Config, Seal, router};

use crate::server::{KEY, TestServer, report};

/// The variables that a runner gets with the next task.
async fn handed_out(server: &TestServer) -> Value {
    server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let claim: Claim =
        runner.call("claim", &ClaimRequest { want: 1, wait_ms: 0, is_idle: false, load: None }).await;
    runner.finish(vec![report(&claim.tasks[0], Exit::Code(0))]).await;
    json!(claim.revisions[0].env_vars)
}

#[tokio::test]
async fn workers_get_what_no_answer_shows() {
    let server = TestServer::start().await;
    let body = json!({ "name": "w", "image": "busybox", "env_vars": { "KEY": "open sesame", "EMPTY": "" } });
    let uploaded = server.post("codes", body).await;
    let id = uploaded.json()["id"].as_str().unwrap().to_owned();
    let masked = json!({ "KEY": "***", "EMPTY": "***" });
    assert_eq!(uploaded.json()["env_vars"], masked);
    for rest in ["codes".to_owned(), format!("codes/{id}"), format!("codes/{id}/revisions")] {
        let shown = server.get(&rest).await;
        assert!(shown.text().contains("***") && !shown.text().contains("sesame"), "{}", shown.text());
    }
    assert_eq!(handed_out(&server).await, json!({ "KEY": "open sesame", "EMPTY": "" }));
}

#[tokio::test]
async fn a_value_that_comes_back_as_it_is_shown_stays() {
    let server = TestServer::start().await;
    server.code("w", json!({ "env_vars": { "KEY": "open sesame", "OLD": "1" } })).await;
    let shown = server.get("codes").await.json()["codes"][0]["env_vars"].clone();
    server.code("w", json!({ "env_vars": shown })).await;
    assert_eq!(handed_out(&server).await, json!({ "KEY": "open sesame", "OLD": "1" }));
    server.code("w", json!({ "env_vars": { "KEY": "***", "NEW": "2" } })).await;
    server.code("w", json!({ "command": "other" })).await;
    assert_eq!(handed_out(&server).await, json!({ "KEY": "open sesame", "NEW": "2" }));
    let options = json!({ "name": "w", "env_vars": { "GONE": "***" } });
    let refused = server.post("codes", options).await.said();
    let expected = "env_vars.GONE: is ***, which stands for a value that is there, and there is none";
    assert_eq!(refused, (400, expected.to_owned()));
}

#[tokio::test]
async fn a_task_whose_variables_cannot_be_read_fails_and_says_why() {
    let mut server = TestServer::start().await;
    server.code("w", json!({ "env_vars": { "KEY": "open sesame" } })).await;
    server.code("plain", json!({})).await;
    let secret = server.queue(json!({ "code_name": "w" })).await;
    let plain = server.queue(json!({ "code_name": "plain" })).await;

    let (store, blobs, clock) =
        (server.app.store.clone(), server.app.blobs.clone(), server.app.clock.clone());
    let seal = Seal::open(&*store, &KEY.map(|b| b + 1), true).await.unwrap();
    server.app = App::open(store, blobs, clock, Config::default(), seal).await.unwrap();
    server.router = router(server.app.clone());

    let claimed = server.runner(2).await.claim(2).await;
    let ids: Vec<String> = claimed.iter().map(|t| t.task.to_string()).collect();
    assert_eq!(ids, [plain], "the others are not held up");
    let failed = server.task(&secret).await;
    assert_eq!(failed["status"], "error");
    let msg = failed["msg"].as_str().unwrap();
    assert!(msg.contains("variable KEY cannot be read") && msg.contains("upload"), "{msg}");
}

#[tokio::test]
async fn a_login_to_a_registry_goes_to_runners_of_its_images_and_is_shown_nowhere() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    let server = TestServer::start().await;
    let login = |address: &str, name: &str, password: &str| {
        let auth = json!({ "email": "e", "username": name, "password": password, "serveraddress": address });
        json!({ "auth": BASE64.encode(auth.to_string()) })
    };
    let kept = server.post("credentials", login("https://h.io/v1/", "user", "open sesame")).await;
    assert_eq!(kept.said(), (200, "Login kept".to_owned()));
    let stored = server.app.store.projects().await.unwrap();
    assert!(stored.iter().any(|project| project.registries.contains_key("h.io")));
    assert!(!serde_json::to_string(&stored).unwrap().contains("sesame"));
    let of = async |name: &str, image: &str| {
        let uploaded = server.post("codes", json!({ "name": name, "image": image })).await;
        assert!(!uploaded.text().contains("sesame"));
        server.queue(json!({ "code_name": name })).await;
        let runner = server.runner(1).await;
        let claim: Claim =
            runner.call("claim", &ClaimRequest { want: 1, wait_ms: 0, is_idle: false, load: None }).await;
        runner.finish(vec![report(&claim.tasks[0], Exit::Code(0))]).await;
        claim.revisions[0].login.clone().map(|login| (login.username, login.password))
    };
    let expected = Some(("user".to_owned(), "open sesame".to_owned()));
    assert_eq!(of("mine", "h.io/team/tool:1").await, expected);
    assert_eq!(of("other", "g.io/team/tool:1").await, None);
    assert!(!server.get("").await.text().contains("sesame"));
    // Taken away again.
    server.post("credentials", login("h.io", "", "")).await;
    assert_eq!(of("mine", "h.io/team/tool:1").await, None);
    let refused = server.post("credentials", json!({ "auth": "!" })).await.said();
    assert_eq!(refused, (400, "auth: is not base64".to_owned()));
}
