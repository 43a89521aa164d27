//! Tokens: of a project, and those that are good everywhere.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use windlass_model::id::{ProjectId, TokenId};
use windlass_model::project::{Scope, TokenRecord, UnknownScope};
use windlass_model::wire::BadField;
use windlass_model::wire::projects::{Token, TokenCreated, TokenList, TokenRequest};
use windlass_model::wire::tasks::MAX_NAME_BYTES;

use super::params::Id;
use crate::app::App;
use crate::auth::{Caller, InProject, Principal};
use crate::body::{Ignored, Json};
use crate::error::{Answer, ApiError, json, said};

/// `GET P/tokens`.
pub async fn list(State(app): State<Arc<App>>, InProject(project): InProject) -> Answer {
    Ok(of(&app, Some(project)))
}

/// `POST P/tokens`.
pub async fn create(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Caller(caller): Caller,
    Json(request, _hold): Json<TokenRequest>,
) -> Answer {
    Ok(created(make(&app, Some(project), &caller, &request).await?))
}

/// `DELETE P/tokens/{id}`.
pub async fn revoke(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TokenId>,
    _: Ignored,
) -> Answer {
    forget(&app, Some(project), id).await?;
    Ok(said("Deleted"))
}

/// `GET /2/tokens`: those that are not limited to a project.
pub async fn list_global(State(app): State<Arc<App>>) -> Answer {
    Ok(of(&app, None))
}

/// `POST /2/tokens`: also a runner's.
pub async fn create_global(
    State(app): State<Arc<App>>,
    Caller(caller): Caller,
    Json(request, _hold): Json<TokenRequest>,
) -> Answer {
    Ok(created(make(&app, None, &caller, &request).await?))
}

/// `DELETE /2/tokens/{id}`.
pub async fn revoke_global(State(app): State<Arc<App>>, Id(id): Id<TokenId>, _: Ignored) -> Answer {
    forget(&app, None, id).await?;
    Ok(said("Deleted"))
}

fn of(app: &App, project: Option<ProjectId>) -> Response {
    let tokens = app.tokens.all().into_iter().filter(|t| t.project == project);
    json(&TokenList { tokens: tokens.map(|t| Token::present(&t)).collect() })
}

/// Makes a token that its maker may hand out; returns its text, which is kept nowhere.
pub(crate) async fn make(
    app: &App,
    project: Option<ProjectId>,
    caller: &Principal,
    request: &TokenRequest,
) -> Result<(String, TokenRecord), ApiError> {
    let name = request.name.get("name")?.unwrap_or_default();
    if name.len() > MAX_NAME_BYTES {
        return Err(BadField::too_large("name", name.len(), MAX_NAME_BYTES).into());
    }
    let scopes = scopes(request)?;
    for &scope in &scopes {
        if project.is_some() && matches!(scope, Scope::Runner | Scope::Admin) {
            let problem =
                format!("{scope} is for tokens that are not limited to a project; make it at /2/tokens");
            return Err(BadField::invalid("scopes", problem).into());
        }
        // Nobody can hand out what they do not have.
        if !caller.may(scope, project) {
            return Err(ApiError::forbidden(format!("scopes: this token lacks {scope} itself")));
        }
    }
    let expires_at = match request.expires_at.non_empty("expires_at")? {
        None => None,
        Some(text) => Some(text.parse().map_err(|e: windlass_model::time::InvalidTime| {
            BadField::invalid("expires_at", e.to_string())
        })?),
    };
    Ok(app.create_token(project, &scopes, name, expires_at).await?)
}

fn created((token, record): (String, TokenRecord)) -> Response {
    json(&TokenCreated { msg: "Created".to_owned(), token, about: Token::present(&record) })
}

fn scopes(request: &TokenRequest) -> Result<Vec<Scope>, BadField> {
    let named = request.scopes.as_deref().filter(|s| !s.is_empty());
    let named = named.ok_or_else(|| BadField::missing("scopes"))?;
    let parsed = named.iter().map(|text| text.parse());
    parsed.collect::<Result<_, UnknownScope>>().map_err(|e| BadField::invalid("scopes", e.to_string()))
}

/// Revokes a token of the project, or one that is limited to none.
pub(crate) async fn forget(app: &App, project: Option<ProjectId>, id: TokenId) -> Result<(), ApiError> {
    let found = app.tokens.by_id(id).filter(|t| t.record.project == project);
    found.ok_or_else(|| ApiError::not_found("Token"))?;
    Ok(app.revoke_token(id).await?)
}
