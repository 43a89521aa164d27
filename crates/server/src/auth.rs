//! Who asks, and whether they may.
//!
//! A token is read from `Authorization: OAuth|Bearer|JWT|Token X` (the scheme in any case) or from `?oauth=`.
//!
//! | status | when |
//! |---|---|
//! | 401 | no token, or none that is known here, or one that has expired; the text says which |
//! | 403 | a token that is known, but lacks the scope, or belongs to another project than the one in the path |
//! | 404 | what the path names is not there, or is not the project's: the two look alike |
//!
//! A token that is limited to a project gets the same 403 for every other project id, existing or not.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, Request};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use windlass_model::id::{ProjectId, TaskId, TokenId};
use windlass_model::project::Scope;

use crate::app::App;
use crate::attempt_token::Attempt;
use crate::body;
use crate::error::ApiError;
use crate::query::value_of;
use crate::tokens::Token;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, without a token.
    Open,
    /// Whoever has any token that is valid.
    Known,
    /// Whoever has any valid token that reaches the project in the path.
    Member,
    /// Whoever has this scope in the project in the path.
    Project(Scope),
    /// Whoever has this scope without being limited to a project.
    Root(Scope),
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Access::Open => f.write_str("open"),
            Access::Known => f.write_str("any token"),
            Access::Member => f.write_str("any token of the project"),
            Access::Project(scope) => write!(f, "{scope}"),
            Access::Root(scope) => write!(f, "{scope}, not limited to a project"),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Principal {
    /// Nobody in particular, on an open route.
    Anyone,
    /// The bearer of a token.
    Token(Arc<Token>),
    /// A worker, for as long as its attempt runs. It may queue, schedule, report progress and read.
    Attempt(Attempt),
}

impl Principal {
    /// The task that a worker acts for.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Principal::Attempt(attempt) => Some(attempt.held.task),
            _ => None,
        }
    }

    /// The token that must stay good for what goes on after it was let in.
    pub fn token(&self) -> Option<TokenId> {
        match self {
            Principal::Token(token) => Some(token.record.id),
            _ => None,
        }
    }

    /// The project it is limited to.
    pub fn project(&self) -> Option<ProjectId> {
        match self {
            Principal::Anyone => None,
            Principal::Token(token) => token.record.project,
            Principal::Attempt(attempt) => Some(attempt.project),
        }
    }

    /// The cluster that a runner must be of which shows it; none: any.
    pub fn cluster(&self) -> Option<&str> {
        match self {
            Principal::Token(token) => token.record.cluster.as_deref(),
            Principal::Anyone | Principal::Attempt(_) => None,
        }
    }

    /// Whether it may do what needs `scope` in `project` (none: outside of any).
    pub fn may(&self, scope: Scope, project: Option<ProjectId>) -> bool {
        match self {
            Principal::Anyone => false,
            Principal::Token(token) => token.record.allows(scope, project),
            Principal::Attempt(attempt) => {
                matches!(scope, Scope::Queue | Scope::Read) && project == Some(attempt.project)
            }
        }
    }

    fn scopes(&self) -> String {
        match self {
            Principal::Anyone => String::new(),
            Principal::Token(token) => {
                token.record.scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ")
            }
            Principal::Attempt(_) => "queue, read, while its attempt runs".to_owned(),
        }
    }
}

/// The project in the path, after the caller was let in.
#[derive(Clone, Copy, Debug)]
pub struct InProject(pub ProjectId);

/// The caller, after being let in.
#[derive(Clone, Debug)]
pub struct Caller(pub Principal);

impl<S: Sync> FromRequestParts<S> for InProject {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let found = parts.extensions.get::<InProject>().copied();
        found.ok_or_else(|| ApiError::internal("a route without a project asks for it"))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let found = parts.extensions.get::<Caller>().cloned();
        found.ok_or_else(|| ApiError::internal("a route was reached without a caller"))
    }
}

/// The request with its caller, and its project where the path names one, if `access` allows it. Every handler has
/// this in front of it.
pub async fn guard(app: &Arc<App>, access: Access, request: Request) -> Result<Request, ApiError> {
    let (mut parts, body) = request.into_parts();
    if let Err(refusal) = admit(app, access, &mut parts).await {
        body::linger(body);
        return Err(refusal);
    }
    let has_unused_body = matches!(parts.method, Method::GET | Method::DELETE);
    let request = Request::from_parts(parts, body);
    if has_unused_body { body::drop_unused(app, request).await } else { Ok(request) }
}

async fn admit(app: &Arc<App>, access: Access, parts: &mut Parts) -> Result<(), ApiError> {
    // A path that is not UTF-8 names nothing.
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| ApiError::new(StatusCode::NOT_FOUND, "Not found"))?;
    let caller = match access {
        Access::Open => Principal::Anyone,
        _ => identify(app, &parts.headers, parts.uri.query()).await?,
    };
    match access {
        Access::Open | Access::Known => {}
        Access::Root(scope) => root(&caller, scope)?,
        Access::Member => {
            let project = project(app, &caller, &params).await?;
            parts.extensions.insert(InProject(project));
        }
        Access::Project(scope) => {
            let project = project(app, &caller, &params).await?;
            if !caller.may(scope, Some(project)) {
                return Err(lacks(&caller, scope));
            }
            parts.extensions.insert(InProject(project));
        }
    }
    parts.extensions.insert(Caller(caller));
    Ok(())
}

fn root(caller: &Principal, scope: Scope) -> Result<(), ApiError> {
    if caller.may(scope, None) {
        return Ok(());
    }
    match caller.project() {
        Some(_) => Err(ApiError::forbidden(format!(
            "this needs a token with the scope {scope} that is not limited to a project"
        ))),
        None => Err(lacks(caller, scope)),
    }
}

/// What is said to whoever lacks a scope.
pub(crate) fn lacks(caller: &Principal, scope: Scope) -> ApiError {
    ApiError::forbidden(format!(
        "this needs a token with the scope {scope}; this one has: {}",
        caller.scopes()
    ))
}

async fn project(app: &App, caller: &Principal, params: &RawPathParams) -> Result<ProjectId, ApiError> {
    let text = params.iter().find(|(name, _)| *name == "project_id").map(|(_, v)| v).unwrap_or_default();
    let named = text.parse::<ProjectId>().map_err(|_| {
        let msg = "Project not found: the project id in the path must be 24 hexadecimal digits";
        ApiError::new(StatusCode::NOT_FOUND, msg)
    })?;
    match caller.project() {
        Some(own) if own == named => Ok(named),
        Some(own) => {
            Err(ApiError::forbidden(format!("this token belongs to the project {own}, not to {named}")))
        }
        None if app.project(named).is_some() => Ok(named),
        None => {
            app.catch_up(true).await?;
            app.project(named).map(|_| named).ok_or_else(|| ApiError::not_found("Project"))
        }
    }
}

async fn identify(app: &Arc<App>, headers: &HeaderMap, query: Option<&str>) -> Result<Principal, ApiError> {
    let unauthorized = |msg: &str| ApiError::new(StatusCode::UNAUTHORIZED, msg);
    let in_query;
    let text = match bearer(headers)? {
        Some(text) => text,
        None => {
            in_query = query.and_then(|q| value_of(q, "oauth"));
            in_query.as_deref().ok_or_else(|| {
                unauthorized("no token: send it as `Authorization: OAuth TOKEN` or as `?oauth=TOKEN`")
            })?
        }
    };
    let now = app.now();
    if let Err(e) = app.catch_up(false).await {
        tracing::debug!(error = %e, "what other servers changed is not known yet: {e}");
    }
    let mut found = app.tokens.find(text);
    let attempt = if found.is_none() { app.attempt_key.read(text) } else { None };
    if found.is_none() && attempt.is_none() {
        app.catch_up(true).await?;
        found = app.tokens.find(text);
    }
    if let Some(token) = found {
        if token.record.is_expired(now) {
            return Err(unauthorized("this token has expired"));
        }
        app.note_use(&token);
        return Ok(Principal::Token(token));
    }
    if let Some(attempt) = attempt {
        return match app.store.leased(&[attempt.held]).await?.first() {
            Some(Some(_)) => Ok(Principal::Attempt(attempt)),
            _ => Err(unauthorized("this token was good for one attempt of a task, which is over")),
        };
    }
    Err(unauthorized("this token is not known here: it is wrong, or was revoked"))
}

/// The token in the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let (scheme, token) = value.to_str().ok().and_then(|v| v.trim().split_once(' ')).unwrap_or_default();
    let is_known = ["oauth", "bearer", "jwt", "token"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
    let token = token.trim();
    if !is_known || token.is_empty() {
        let msg = "the Authorization header must be `OAuth TOKEN` (or Bearer, JWT, Token)";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, msg));
    }
    Ok(Some(token))
}
