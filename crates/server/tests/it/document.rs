//! The API document and the table of routes, as they are.

use windlass_server::openapi::document;
use windlass_server::router::routes;

use crate::server::TestServer;

#[tokio::test]
async fn the_document_is_made_of_the_routes_and_served() {
    let routes = routes();
    let json = document(&routes).to_pretty_json().unwrap();
    insta::assert_snapshot!("openapi", json);
    let server = TestServer::start().await;
    let served = server.call(http::Method::GET, "/openapi.json", "", None).await.json();
    for route in &routes {
        let method = route.method.as_str().to_ascii_lowercase();
        assert!(served["paths"][route.path][&method].is_object(), "{route:?}");
        assert!(!route.summary.is_empty(), "{route:?}");
    }
}

#[test]
fn every_schema_that_the_document_names_is_in_it() {
    let document = serde_json::to_value(document(&routes())).unwrap();
    let text = document.to_string();
    for name in text.split("#/components/schemas/").skip(1) {
        let name = name.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[test]
fn the_routes_and_who_may_use_them() {
    let lines: Vec<String> =
        routes().iter().map(|r| format!("{:<7}{:<60}{}", r.method.as_str(), r.path, r.access)).collect();
    insta::assert_snapshot!("routes", lines.join("\n"));
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md")).unwrap();
    assert!(page.contains(&lines.join("\n")), "docs/api.md must show the routes as they are");
}
