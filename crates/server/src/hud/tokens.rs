//! Tokens of a project, and the projects themselves.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use windlass_model::id::TokenId;
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

#[derive(Template)]
#[template(path = "hud/tokens.html")]
struct TokensPage {
    shell: Shell,
    rows: Vec<TokenRow>,
    /// The text of a token that was just made; it is shown this once.
    fresh: String,
    same: Vec<Same>,
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
    let (project, own, now) = (here.project()?, here.session()?.token.record.id, app.now());
    let of_project = app.tokens.all().into_iter().filter(|t| t.project == Some(project));
    let rows = of_project.map(|token| TokenRow {
        id: token.id,
        scopes: token.scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", "),
        created: When::new(token.created_at, now),
        used: token.last_used_at.map(|at| When::new(at, now)),
        expires: token.expires_at.map(|at| When::new(at, now)),
        is_expired: token.is_expired(now),
        is_own: token.id == own,
        name: token.name,
    });
    let body = r#"{"name":"ci","scopes":["queue","read"]}"#;
    let cli = "windlass token create --name ci --scope queue --scope read".to_owned();
    Ok(show(&TokensPage {
        rows: rows.collect(),
        fresh,
        same: vec![Same::new("Make one", cli, "POST", project, "/tokens", Some(body))],
        shell: Shell { live: String::new(), ..here.shell(app, "Tokens", "Tokens")? },
    }))
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
    let (text, _) = api::make(&app, Some(project), &caller, &request).await?;
    tokens(&app, &here, text)
}

/// `POST /p/{project}/tokens/{id}/revoke`.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TokenId>,
) -> Shown {
    api::forget(&app, Some(project), id).await?;
    Ok(done(&format!("/p/{project}/tokens"), "Revoked: no request with it is let in any more"))
}
