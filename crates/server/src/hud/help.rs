//! Keys and words.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::answer::{Shown, show};
use super::guard::Here;
use super::shell::Shell;
use crate::app::App;

#[derive(Template)]
#[template(path = "hud/help.html")]
struct HelpPage {
    shell: Shell,
}

/// `GET /help`, around the project that one lands at.
pub(super) async fn page(State(app): State<Arc<App>>, here: Here) -> Shown {
    let shell = here.somewhere(&app)?.shell(&app, "", "Keys")?;
    Ok(show(&HelpPage { shell: Shell { live: String::new(), ..shell } }))
}
