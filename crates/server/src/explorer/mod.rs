//! The explorer of the API at `/docs`: every route with its parameters, bodies and curl line, and a form to try it.
//!
//! One page, made of the route table when it is first asked for. It works without JavaScript; with it, routes can be
//! searched and requests be sent, to this server only and with the token that is typed in. Nothing comes from elsewhere, and
//! nothing runs that is written into the page.

mod fields;
mod view;

use std::sync::LazyLock;

use askama::Template as _;
use axum::extract::RawPathParams;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, header};

use crate::error::{Answer, ApiError};
use view::Page;

const CSS: &str = concat!(include_str!("../theme.css"), include_str!("explorer.css"));
const JS: &str = include_str!("explorer.js");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<String> = LazyLock::new(|| {
    Page::of(&crate::router::routes()).render().expect("the page is made of plain text, which can be written")
});

/// `GET /docs`.
pub async fn page() -> Answer {
    let mut answer = file("text/html; charset=utf-8", PAGE.as_str());
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(answer)
}

/// `GET /docs/{name}`: what belongs to the page.
pub async fn asset(params: RawPathParams) -> Answer {
    match params.iter().find(|(key, _)| *key == "name").map_or("", |(_, name)| name) {
        "explorer.css" => Ok(file("text/css; charset=utf-8", CSS)),
        "explorer.js" => Ok(file("text/javascript; charset=utf-8", JS)),
        _ => Err(ApiError::not_found("File")),
    }
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, content).into_response()
}
