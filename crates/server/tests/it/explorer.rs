//! The page of the API.

use http::Method;
use serde_json::Value;
use windlass_server::openapi::document;
use windlass_server::route::Content;
use windlass_server::router::routes;

use crate::server::{Answer, TestServer};

async fn get(server: &TestServer, path: &str) -> Answer {
    server.call(Method::GET, path, "", None).await
}

#[tokio::test]
async fn the_page_has_every_route_and_nothing_from_elsewhere() {
    let server = TestServer::start().await;
    let page = get(&server, "/docs").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = page.text();
    for route in routes() {
        let form = format!("data-method=\"{}\" data-path=\"{}\"", route.method, route.path);
        let is_multipart = matches!(route.takes, Some(Content::Other("multipart/form-data", _)));
        assert_eq!(html.contains(&form), !is_multipart, "{route:?}");
        assert!(html.contains(&format!("{}</span>", route.access)), "{route:?}");
    }
    for inline in ["<style", " style=", " onclick=", "<script>", "http://", "https://"] {
        let found = html.replace("WINDLASS_URL=http://127.0.0.1:8080", "").contains(inline);
        assert!(!found, "{inline} is in the page");
    }
    let named = |attribute| html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap());
    for name in named(" href=\"/docs/").chain(named(" src=\"/docs/")) {
        let asset = get(&server, &format!("/docs/{name}")).await;
        assert_eq!(asset.status, 200, "{name}");
        assert!(asset.header("content-type").starts_with("text/"), "{name}");
    }
    assert_eq!(get(&server, "/docs/other.js").await.status, 404);
}

#[test]
fn every_body_of_json_has_an_example_of_its_schema() {
    let routes = routes();
    let document = serde_json::to_value(document(&routes)).unwrap();
    for route in &routes {
        let Some(Content::Json(name)) = &route.takes else { continue };
        let example: Value = serde_json::from_str(route.example).unwrap_or_else(|e| panic!("{route:?}: {e}"));
        let properties = &document["components"]["schemas"][name]["properties"];
        for field in example.as_object().unwrap().keys() {
            assert!(properties[field].is_object(), "{route:?}: {field} is not of {name}");
        }
    }
}
