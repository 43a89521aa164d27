//! How pages are answered: headers that keep a browser to what is ours, redirects after actions, errors as pages.

use super::assets;
use super::session::cookie;
use crate::error::{ApiError, shortened};
use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// Everything comes from this server and nothing runs that is written into a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Name of the cookie that carries what an action has to say to the page after it.
const FLASH: &str = "windlass_said";

/// What a page answers.
pub(super) type Shown = Result<Response, Failure>;

/// An error, shown as a page.
#[derive(Debug)]
pub(super) struct Failure(ApiError);

impl<E: Into<ApiError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(error.into())
    }
}

#[derive(Template)]
#[template(path = "hud/failure.html")]
struct FailurePage {
    css: &'static str,
    status: u16,
    reason: &'static str,
    msg: String,
    /// Whether another token may be let in.
    is_refused: bool,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let ApiError { status, msg } = self.0;
        let reason = status.canonical_reason().unwrap_or("Error");
        let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let (css, msg) = (assets::css_path(), shortened(msg));
        let mut response = show(&FailurePage { css, status: status.as_u16(), reason, msg, is_refused });
        *response.status_mut() = status;
        response
    }
}

/// The page.
pub(super) fn show(page: &impl Template) -> Response {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => {
            return ApiError::internal(&format!("a page cannot be rendered: {error}")).into_response();
        }
    };
    let mut response = html.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    protect(headers);
    response
}

/// The headers of whatever is answered: nothing else than what it says it is, nowhere else than here, and kept by no
/// cache unless it says so.
pub(super) fn protect(headers: &mut HeaderMap) {
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Shows the page at `target` instead, also after a form was sent.
pub(super) fn redirect(target: &str) -> Response {
    let target = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, target)]).into_response()
}

/// Shows the page at `target`, which says `said`.
pub(super) fn done(target: &str, said: &str) -> Response {
    let mut response = redirect(target);
    let said = percent_encoding::utf8_percent_encode(said, percent_encoding::NON_ALPHANUMERIC).to_string();
    set_cookie(response.headers_mut(), FLASH, &said, Some(30), false);
    response
}

/// What an action has to say to this page.
pub(super) fn flash(headers: &HeaderMap) -> Option<String> {
    let said = cookie(headers, FLASH)?;
    Some(percent_encoding::percent_decode_str(said).decode_utf8_lossy().into_owned())
}

/// It was said.
pub(super) fn forget_flash(headers: &mut HeaderMap) {
    set_cookie(headers, FLASH, "", Some(0), false);
}

/// Sets a cookie that only this server sees, for `seconds`; none: as long as the browser runs.
pub(super) fn set_cookie(
    headers: &mut HeaderMap,
    name: &str,
    value: &str,
    seconds: Option<u32>,
    is_secure: bool,
) {
    let age = seconds.map_or(String::new(), |s| format!("; Max-Age={s}"));
    let secure = if is_secure { "; Secure" } else { "" };
    let line = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}");
    if let Ok(line) = HeaderValue::from_str(&line) {
        headers.append(header::SET_COOKIE, line);
    }
}
