//! The projects: those in reach, and a new one.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use windlass_model::id::ProjectId;
use windlass_model::project::Scope;
use windlass_model::wire::projects::ProjectRequest;

use super::answer::{Shown, done, show};
use super::form::Form;
use super::guard::Here;
use super::same::{Same, quoted};
use super::shell::Shell;
use super::show::When;
use crate::api::projects as api;
use crate::app::App;

/// Most projects that the page lists.
const MOST: usize = 500;

#[derive(Template)]
#[template(path = "hud/projects.html")]
struct ProjectsPage {
    shell: Shell,
    rows: Vec<Row>,
    /// How many are not listed.
    more: usize,
    may_create: bool,
    same: Vec<Same>,
}

struct Row {
    id: ProjectId,
    name: String,
    created: When,
    isolation: &'static str,
}

/// `GET /projects`.
pub(super) async fn list(State(app): State<Arc<App>>, here: Here) -> Shown {
    let (here, now) = (here.somewhere(&app)?, app.now());
    let own = here.session()?.token.record.project;
    let projects = app.projects();
    let in_reach = || projects.iter().filter(|p| own.is_none_or(|own| own == p.id));
    let rows = in_reach().take(MOST).map(|p| Row {
        id: p.id,
        name: p.name.clone(),
        created: When::new(p.created_at, now),
        isolation: p.min_isolation.as_str(),
    });
    let may_create = here.may_everywhere(Scope::Admin);
    let name = "reports";
    let body = serde_json::json!({ "name": name }).to_string();
    let mut same =
        vec![Same::root("List these", "windlass project list".to_owned(), "GET", "/projects", None)];
    if may_create {
        let cli = format!("windlass project create {}", quoted(name));
        same.push(Same::root("Make one", cli, "POST", "/projects", Some(&body)));
    }
    Ok(show(&ProjectsPage {
        rows: rows.collect(),
        more: in_reach().count().saturating_sub(MOST),
        may_create,
        same,
        shell: Shell { live: String::new(), ..here.shell(&app, "", "Projects")? },
    }))
}

/// `POST /projects`: shows the new project.
pub(super) async fn create(State(app): State<Arc<App>>, form: Form) -> Shown {
    let project = api::make(&app, &ProjectRequest { name: form.text("name") }).await?;
    Ok(done(&format!("/p/{}", project.id), &format!("Made the project {}", project.name)))
}
