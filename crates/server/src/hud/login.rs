//! Logging in with a token, out again, and to where one lands.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use windlass_model::project::Scope;

use super::answer::{Failure, Shown, redirect, set_cookie, show};
use super::assets;
use super::guard::{Here, is_secure};
use super::session::{FAILURE_DELAY, cookie_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::query::Query;
use crate::serve::Peer;

/// Largest form, but for those that carry a payload or a file.
const FORM_BYTES: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "hud/login.html")]
struct LoginPage {
    css: &'static str,
    next: String,
    problem: &'static str,
}

/// `GET /login`.
pub(super) async fn page(query: Query) -> Response {
    ask(query.get("next").unwrap_or("/"), "")
}

fn ask(next: &str, problem: &'static str) -> Response {
    show(&LoginPage { css: assets::css_path(), next: next.to_owned(), problem })
}

/// `POST /login`: begins a session. What failed is answered slowly, what is right at once, however many fail.
pub(super) async fn login(State(app): State<Arc<App>>, headers: HeaderMap, request: Request) -> Shown {
    let from = request.extensions().get::<Peer>().map(|peer| peer.0);
    let form = body::read(&app, &headers, request.into_body(), FORM_BYTES).await?;
    let form = Query::parse(&String::from_utf8_lossy(&form.bytes));
    let now = app.now();
    let next = form.get("next").filter(|n| is_local(n)).unwrap_or("/");
    let token = app.tokens.find(form.get("token").unwrap_or_default().trim());
    let problem = match &token {
        Some(token) if token.record.is_expired(now) => "This token has expired.",
        Some(token)
            if ![Scope::Read, Scope::Queue, Scope::Manage, Scope::Admin]
                .iter()
                .any(|s| token.record.scopes.contains(s)) =>
        {
            "This token is for runners: it shows nothing."
        }
        Some(token) => {
            let mut response = redirect(next);
            let (name, is_secure) = (cookie_name(is_secure(&headers)), is_secure(&headers));
            let value = app.hud.cookie(token.record.id, now);
            set_cookie(response.headers_mut(), name, &value, None, is_secure);
            return Ok(response);
        }
        None => "This token is not known here: it is wrong, or was revoked.",
    };
    let Some(_turn) = app.hud.failures.begin(from) else {
        let msg = "too many logins have failed just now; try again in a moment";
        return Err(Failure::from(ApiError::new(StatusCode::TOO_MANY_REQUESTS, msg)));
    };
    tokio::time::sleep(FAILURE_DELAY).await;
    let mut response = ask(next, problem);
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(response)
}

/// Whether a path is one of this server's: `//host` and `/\host` are not, and browsers read over tabs and line breaks.
fn is_local(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains(|c: char| c == '\\' || c.is_control() || c.is_whitespace())
}

/// `POST /logout`.
pub(super) async fn logout(headers: HeaderMap) -> Response {
    let mut response = redirect("/login");
    let is_secure = is_secure(&headers);
    set_cookie(response.headers_mut(), cookie_name(is_secure), "", Some(0), is_secure);
    response
}

/// `GET /`: the oldest project in reach, or what there is to do in it for whoever may not look.
pub(super) async fn home(State(app): State<Arc<App>>, here: Here) -> Shown {
    let own = here.session()?.token.record.project;
    let first = match own {
        Some(own) => Some(own),
        None => app.projects().first().map(|p| p.id),
    };
    let first = first.ok_or_else(|| ApiError::not_found("Project"))?;
    let may_read = here.session()?.token.record.allows(Scope::Read, Some(first));
    Ok(redirect(&if may_read { format!("/p/{first}") } else { format!("/p/{first}/queue") }))
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn nobody_is_sent_elsewhere_after_the_login() {
        assert!(is_local("/p/5?x=//y"));
        for elsewhere in [
            "//evil",
            "/\\evil",
            "http://evil",
            "",
            "evil",
            "/\t/evil",
            "/\n/evil",
            "/ /evil",
            "/p\\..//evil",
        ] {
            assert!(!is_local(elsewhere), "{elsewhere}");
        }
    }
}
