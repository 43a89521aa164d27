//! Tokens of a project, and the projects themselves.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use windlass_model::id::{ProjectId, TokenId};
use windlass_model::project::{Scope, TokenRecord};
use windlass_model::wire::lenient::Text;
use windlass_model::wire::projects::TokenRequest;

use super::answer::{Shown, done, show};
use super::form::Form;
use super::guard::Here;
use super::same::Same;
use super::shell::Shell;
use super::show::When;
use crate::api::params::Id;
use crate::api::tokens as api;
use crate::app::App;
use crate::auth::{Caller, InProject};
use crate::error::ApiError;

#[derive(Template)]
#[template(path = "hud/tokens.html")]
struct TokensPage {
    shell: Shell,
    lists: Vec<TokenList>,
    /// Whether tokens that are good in every project can be made, too.
    is_root: bool,
    /// The text of a token that was just made; it is shown this once.
    fresh: String,
    same: Vec<Same>,
}

/// Most tokens that a list has: the newest.
const MOST: usize = 500;

struct TokenList {
    title: &'static str,
    rows: Vec<TokenRow>,
    /// How many are not listed.
    more: usize,
}

struct TokenRow {
    id: TokenId,
    name: String,
    scopes: String,
    created: When,
    used: Option<When>,
    expires: Option<When>,
    is_expired: bool,
    is_own: bool,
}

/// `GET /p/{project}/tokens`.
pub(super) async fn list(State(app): State<Arc<App>>, here: Here) -> Shown {
    tokens(&app, &here, String::new())
}

fn tokens(app: &App, here: &Here, fresh: String) -> Shown {
    let project = here.project()?;
    let is_root = here.may_everywhere(Scope::Admin);
    let all = app.tokens.all();
    let mut lists = vec![list_of(app, here, "Tokens of this project", &all, Some(project))?];
    if is_root {
        lists.push(list_of(app, here, "Tokens that are good in every project", &all, None)?);
    }
    let body = r#"{"name":"ci","scopes":["queue","read"]}"#;
    let cli = "windlass token create --name ci --scope queue --scope read".to_owned();
    let mut same = vec![
        Same::new("Make one", cli, "POST", project, "/tokens", Some(body)),
        Same::new("Revoke one", "windlass token revoke ID".to_owned(), "DELETE", project, "/tokens/ID", None),
    ];
    if is_root {
        let body = r#"{"name":"box","scopes":["runner"]}"#;
        let cli = "windlass token create --everywhere --name box --scope runner".to_owned();
        same.push(Same::root("Make one for runners", cli, "POST", "/tokens", Some(body)));
    }
    Ok(show(&TokensPage {
        lists,
        is_root,
        fresh,
        same,
        shell: Shell { live: String::new(), ..here.shell(app, "Tokens", "Tokens")? },
    }))
}

fn list_of(
    app: &App,
    here: &Here,
    title: &'static str,
    all: &[TokenRecord],
    project: Option<ProjectId>,
) -> Result<TokenList, ApiError> {
    let (own, now) = (here.session()?.token.record.id, app.now());
    let wanted = || all.iter().filter(|token| token.project == project);
    let rows = wanted().take(MOST).map(|token| TokenRow {
        id: token.id,
        scopes: token.scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", "),
        created: When::new(token.created_at, now),
        used: token.last_used_at.map(|at| When::new(at, now)),
        expires: token.expires_at.map(|at| When::new(at, now)),
        is_expired: token.is_expired(now),
        is_own: token.id == own,
        name: token.name.clone(),
    });
    Ok(TokenList { title, rows: rows.collect(), more: wanted().count().saturating_sub(MOST) })
}

/// `POST /p/{project}/tokens`: answers with the text of the new token, which is kept nowhere.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Caller(caller): Caller,
    Form(form): Form,
) -> Shown {
    let days = form.number("days")?.map(|days| (days.max(0.0) * 86_400.0) as u64);
    let expires_at = days.map(|s| Text::Is((app.now() + Duration::from_secs(s)).to_string()));
    let request = TokenRequest {
        name: form.get("name").map_or(Text::default(), |n| Text::Is(n.to_owned())),
        scopes: Some(form.all("scope").map(str::to_owned).collect()),
        expires_at: expires_at.unwrap_or_default(),
    };
    // Whoever makes one for everywhere has every scope there: nobody hands out what they do not have.
    let project = (form.get("where") != Some("everywhere")).then_some(project);
    let (text, _) = api::make(&app, project, &caller, &request).await?;
    tokens(&app, &here, text)
}

/// `POST /p/{project}/tokens/{id}/revoke`: of the project, or of those that are good in every one.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Id(id): Id<TokenId>,
) -> Shown {
    let is_everywhere = app.tokens.by_id(id).is_some_and(|token| token.record.project.is_none());
    let of = if is_everywhere && here.may_everywhere(Scope::Admin) { None } else { Some(project) };
    api::forget(&app, of, id).await?;
    Ok(done(&format!("/p/{project}/tokens"), "Revoked: no request with it is let in any more"))
}
