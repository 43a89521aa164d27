//! Keys and words.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::answer::{Shown, show};
use super::guard::Here;
use super::shell::Shell;
use crate::app::App;
use crate::error::ApiError;

#[derive(Template)]
#[template(path = "hud/help.html")]
struct HelpPage {
    shell: Shell,
}

/// `GET /help`, around the project that one lands at.
pub(super) async fn page(State(app): State<Arc<App>>, here: Here) -> Shown {
    let own = here.session()?.token.record.project;
    let projects = app.projects();
    let project = projects.iter().find(|p| own.is_none_or(|own| own == p.id)).cloned();
    let here = Here { project: Some(project.ok_or_else(|| ApiError::not_found("Project"))?), ..here };
    let shell = here.shell(&app, "", "Keys")?;
    Ok(show(&HelpPage { shell: Shell { live: String::new(), ..shell } }))
}
