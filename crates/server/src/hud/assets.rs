//! Style, script and icon, from the binary, under names that change with their content: so they are asked for once.

use std::sync::LazyLock;

use axum::extract::RawPathParams;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, header};
use sha2::{Digest as _, Sha256};

use super::answer::{Failure, Shown};
use crate::error::ApiError;

const CSS: &str = concat!(include_str!("../theme.css"), include_str!("assets/hud.css"));
const JS: &str = include_str!("assets/live.js");
const ICON: &str = include_str!("assets/icon.svg");

static CSS_PATH: LazyLock<String> = LazyLock::new(|| named("hud", CSS, "css"));
static JS_PATH: LazyLock<String> = LazyLock::new(|| named("live", JS, "js"));

fn named(name: &str, content: &str, extension: &str) -> String {
    let hash = hex::encode(&Sha256::digest(content)[..6]);
    format!("/assets/{name}.{hash}.{extension}")
}

/// Path of the style sheet.
pub(super) fn css_path() -> &'static str {
    &CSS_PATH
}

/// Path of the script.
pub(super) fn js_path() -> &'static str {
    &JS_PATH
}

/// `GET /assets/{name}`.
pub(super) async fn read(params: RawPathParams) -> Shown {
    let name = params.iter().find(|(key, _)| *key == "name").map_or("", |(_, value)| value);
    let path = format!("/assets/{name}");
    if path == *CSS_PATH {
        Ok(asset("text/css; charset=utf-8", CSS))
    } else if path == *JS_PATH {
        Ok(asset("text/javascript; charset=utf-8", JS))
    } else if name == "icon.svg" {
        Ok(asset("image/svg+xml", ICON))
    } else {
        Err(Failure::from(ApiError::not_found("File")))
    }
}

fn asset(content_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_together_are_light() {
        assert!(CSS.len() + JS.len() < 100_000, "{} bytes", CSS.len() + JS.len());
    }
}
