//! Projects and their tokens.

use http::Method;
use serde_json::json;
use windlass_model::project::Scope;
use windlass_server::Config;

use crate::server::TestServer;

#[tokio::test]
async fn a_project_and_its_tokens_are_made_used_and_revoked() {
    let server = TestServer::start().await;
    let made =
        server.call(Method::POST, "/2/projects", &server.admin, Some(json!({ "name": "outcast" }))).await;
    assert_eq!((made.status.as_u16(), &made.json()["name"]), (200, &json!("outcast")));
    let project = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/2/projects/{project}/tokens");

    let body = json!({ "name": "ci", "scopes": ["manage"] });
    let made = server.call(Method::POST, &path, &server.admin, Some(body)).await.json();
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let seen = server.call(Method::GET, "/2/projects", token, None).await.json();
    assert_eq!(seen["projects"].as_array().unwrap().len(), 1, "it sees its own project only");

    let list = server.call(Method::GET, &path, token, None).await;
    assert!(!list.text().contains(token), "a token is shown once");
    assert_eq!(list.json()["tokens"][0]["name"], "ci");
    assert_ne!(list.json()["tokens"][0]["last_used_at"], "0001-01-01T00:00:00Z");

    let revoked = server.call(Method::DELETE, &format!("{path}/{id}"), token, None).await;
    assert_eq!(revoked.said(), (200, "Deleted".to_owned()));
    assert_eq!(server.call(Method::GET, &path, token, None).await.status, 401);
}

#[tokio::test]
async fn nobody_grants_what_they_lack() {
    let server = TestServer::start().await;
    let manage = server.token(&[Scope::Manage]).await;
    let make = async |token: &str, path: &str, scopes: &[&str]| {
        server.call(Method::POST, path, token, Some(json!({ "scopes": scopes }))).await.said()
    };
    let path = server.path("tokens");
    assert_eq!(make(&manage, &path, &["queue", "read", "manage"]).await.0, 200);
    for scope in ["runner", "admin"] {
        let said = make(&manage, &path, &[scope]).await;
        assert_eq!(said.0, 400, "{}", said.1);
    }
    assert_eq!(make(&server.admin, &path, &["queue", "fly"]).await.0, 400);
    assert_eq!(make(&server.admin, &path, &[]).await, (400, "scopes: is required".to_owned()));
    assert_eq!(make(&server.admin, "/2/tokens", &["runner"]).await.0, 200);
    assert_eq!(make(&manage, "/2/tokens", &["read"]).await.0, 403);
    let never = json!({ "scopes": ["read"], "expires_at": "tomorrow" });
    let said = server.call(Method::POST, &path, &server.admin, Some(never)).await.said();
    assert_eq!(said.1, "expires_at: a time is RFC 3339, such as 2026-01-31T12:00:00Z");
}

#[tokio::test]
async fn what_is_in_memory_for_every_request_has_a_limit() {
    let server = TestServer::with(Config { accounts: 3, ..Config::default() }).await;
    let make =
        async |path: &str, body| server.call(Method::POST, path, &server.admin, Some(body)).await.said();
    let token = async || make(&server.path("tokens"), json!({ "scopes": ["read"] })).await;
    assert_eq!(token().await.0, 200);
    assert_eq!(token().await, (403, "there may be 3 tokens, and there are as many".to_owned()));
    let project = async || make("/2/projects", json!({ "name": "p" })).await;
    assert_eq!([project().await.0, project().await.0], [200, 200]);
    assert_eq!(project().await, (403, "there may be 3 projects, and there are as many".to_owned()));
}
