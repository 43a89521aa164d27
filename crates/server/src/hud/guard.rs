//! In front of every page: who is logged in, whether they may, and whether a form is one of ours.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use windlass_model::project::{Project, Scope};

use super::answer::{Failure, forget_flash, protect, redirect, set_cookie};
use super::routes::Page;
use super::session::{self, Session, cookie_name};
use super::shared::Key;
use crate::app::App;
use crate::auth::{Access, Caller, InProject, lacks};
use crate::error::ApiError;
use crate::query::value_of;

/// Who asks for which page, after being let in.
#[derive(Clone, Debug)]
pub(super) struct Here {
    /// Who is logged in; nobody on an open page.
    pub(super) session: Option<Session>,
    /// The project in the path.
    pub(super) project: Option<Arc<Project>>,
    /// What the action before this page has to say.
    pub(super) flash: Option<String>,
    /// Where the browser found us: `https://host:port`.
    pub(super) origin: String,
}

impl Here {
    /// Whether whoever is logged in may do what needs `scope` in the project of the page.
    pub(super) fn may(&self, scope: Scope) -> bool {
        let project = self.project.as_ref().map(|p| p.id);
        self.session.as_ref().is_some_and(|s| s.token.record.allows(scope, project))
    }

    /// Whether whoever is logged in may do what needs `scope` outside of any project.
    pub(super) fn may_everywhere(&self, scope: Scope) -> bool {
        self.session.as_ref().is_some_and(|s| s.token.record.allows(scope, None))
    }
}

impl<S: Sync> FromRequestParts<S> for Here {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let found = parts.extensions.get::<Here>().cloned();
        found.ok_or_else(|| ApiError::internal("a page was reached past its guard").into())
    }
}

/// The pages with their guards in front of them.
pub fn mount(pages: Vec<Page>, app: &Arc<App>) -> Router<Arc<App>> {
    pages.into_iter().fold(Router::new(), |router, page| {
        let guarded = page.handler.layer(from_fn_with_state((app.clone(), page.access), guard));
        router.route(page.path, guarded)
    })
}

async fn guard(
    State((app, access)): State<(Arc<App>, Access)>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let now = app.now();
    let session = session::of(&app, request.headers(), now);
    if session.is_none() && access != Access::Open {
        return to_login(&request);
    }
    // A path that is not UTF-8 names nothing.
    let Ok(params) = params else { return Failure::from(ApiError::not_found("Page")).into_response() };
    let here = match enter(&app, access, session, &params) {
        Ok(here) => {
            // A page that is open already looks again at any moment, also between an action and the page that says so.
            let flash = (!is_live(&request)).then(|| super::answer::flash(request.headers())).flatten();
            Here { flash, origin: origin(request.headers()), ..here }
        }
        Err(error) => return Failure::from(error).into_response(),
    };
    if *request.method() == Method::POST && !is_ours(&app, &here, &request) {
        let msg =
            "this form is not one of yours, or its session is over: go back, reload the page, try again";
        return Failure::from(ApiError::forbidden(msg)).into_response();
    }
    let renewed = here.session.as_ref().filter(|s| s.is_half_over(now)).map(|s| s.token.record.id);
    let has_flash = here.flash.is_some() && *request.method() == Method::GET;
    if let Some(project) = &here.project {
        request.extensions_mut().insert(InProject(project.id));
    }
    if let Some(session) = &here.session {
        request.extensions_mut().insert(Caller(session.principal()));
    }
    if let Some(session) = &here.session {
        app.note_use(&session.token);
    }
    let is_secure = is_secure(request.headers());
    let is_read = *request.method() == Method::GET;
    let shared = shared(&app, &here, &request);
    request.extensions_mut().insert(here);
    let mut answer = match shared {
        Some((key, beat)) => app.hud.shared.page(key, beat, next.run(request)).await,
        None => next.run(request).await,
    };
    // What was refused before it reached its page is shown as one, too.
    if let Some(error) = answer.extensions_mut().remove::<ApiError>() {
        answer = Failure::from(error).into_response();
    }
    if is_read {
        // What was only read can be read again; what was done must be said, however large the answer.
        answer = app.answers.hold_whole(answer).await.unwrap_or_else(|e| Failure::from(e).into_response());
    }
    if access != Access::Open {
        protect(answer.headers_mut());
    }
    // A stylesheet or a stream shows nothing: what was said waits for a page.
    let is_page =
        answer.headers().get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"text/html"));
    if has_flash && is_page {
        forget_flash(answer.headers_mut());
    }
    if let Some(token) = renewed {
        set_cookie(
            answer.headers_mut(),
            cookie_name(is_secure),
            &app.hud.cookie(token, now),
            None,
            is_secure,
        );
    }
    answer
}

/// By which beat the page was told to look again, and what it looks at: others may look at the same.
fn shared(app: &App, here: &Here, request: &Request) -> Option<(Key, u64)> {
    let beat = request.headers().get("x-live")?.to_str().ok()?.parse().ok()?;
    let has_beaten = (1..=app.hud.pulse.last()).contains(&beat);
    if !has_beaten || here.flash.is_some() || *request.method() != Method::GET {
        return None;
    }
    let target = format!("{}{}", here.origin, request.uri());
    Some((Key { token: here.session.as_ref()?.token.record.id, target }, beat))
}

fn enter(
    app: &App,
    access: Access,
    session: Option<Session>,
    params: &RawPathParams,
) -> Result<Here, ApiError> {
    let not_found = || ApiError::not_found("Project");
    let text = params.iter().find(|(name, _)| *name == "project_id").map(|(_, v)| v);
    let project = match text {
        Some(text) => {
            let id = text.parse().map_err(|_| not_found())?;
            Some(app.project(id).ok_or_else(not_found)?)
        }
        None => None,
    };
    let here = Here { session, project, flash: None, origin: String::new() };
    // A project that the token does not reach looks like one that is not there.
    if here.project.is_some() && !reaches(&here) {
        return Err(not_found());
    }
    match access {
        Access::Project(scope) if !here.may(scope) => return Err(lacks(&here.session()?.principal(), scope)),
        Access::Root(scope) if !here.may_everywhere(scope) => {
            return Err(lacks(&here.session()?.principal(), scope));
        }
        _ => {}
    }
    Ok(here)
}

fn reaches(here: &Here) -> bool {
    let own = here.session.as_ref().and_then(|s| s.token.record.project);
    own.is_none() || own == here.project.as_ref().map(|p| p.id)
}

/// Is it asked for by a page that is open?
fn is_live(request: &Request) -> bool {
    request.headers().contains_key("x-live")
}

fn to_login(request: &Request) -> Response {
    // A fragment or a stream cannot be redirected in a way that anybody would see.
    if *request.method() != Method::GET || is_live(request) {
        let error =
            ApiError::new(StatusCode::UNAUTHORIZED, "you are not logged in, or no longer: log in again");
        return Failure::from(error).into_response();
    }
    let target = request.uri().path_and_query().map_or("/", |t| t.as_str());
    let next = percent_encoding::utf8_percent_encode(target, percent_encoding::NON_ALPHANUMERIC);
    redirect(&format!("/login?next={next}"))
}

/// Whether the request comes from a page of ours: a browser says so, and the form carries what only our pages know.
fn is_ours(app: &App, here: &Here, request: &Request) -> bool {
    let said = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    if said("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    let Some(session) = &here.session else {
        // The login, which nobody may do for somebody else. By plain HTTP browsers say no more than where the form was;
        // behind a proxy we do not know where we are, but there is TLS, and they say more.
        let is_told = said("sec-fetch-site").is_some();
        let elsewhere =
            |from: &str| from.split_once("://").is_none_or(|(_, host)| Some(host) != said("host"));
        return is_told || !said("origin").is_some_and(elsewhere);
    };
    let in_query = request.uri().query().and_then(|q| value_of(q, "csrf"));
    let shown = said("x-csrf").or(in_query.as_deref()).unwrap_or_default();
    app.hud.is_csrf(session.token.record.id, shown)
}

/// Where the browser found us, by its own word.
fn origin(headers: &HeaderMap) -> String {
    let said = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty());
    let host = said("x-forwarded-host").or_else(|| said("host")).unwrap_or("localhost");
    let scheme = if is_secure(headers) { "https" } else { "http" };
    format!("{scheme}://{host}")
}

/// Whether the browser reached us through TLS, as far as we or a proxy can tell.
pub(super) fn is_secure(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto == HeaderValue::from_static("https"))
}
