//! The list of code packages: how each stands and how it did lately.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use windlass_model::code::Launch;
use windlass_model::id::CodeId;
use windlass_model::task::Status;
use windlass_store::types::counts_of;

use super::answer::{Shown, show};
use super::choices::MOST;
use super::guard::Here;
use super::lately::lately;
use super::same::Same;
use super::shell::Shell;
use super::show::{When, count, span_ms};
use crate::app::App;
use crate::auth::InProject;

#[derive(Template)]
#[template(path = "hud/codes.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<Row>,
    same: Vec<Same>,
}

struct Row {
    id: CodeId,
    name: String,
    rev: u32,
    start: String,
    is_paused: bool,
    changed: When,
    queued: String,
    running: String,
    rate: String,
    mean: String,
    spark: String,
    compute: String,
    last: Option<(String, &'static str, When)>,
}

/// `GET /p/{project}/codes`.
pub(super) async fn list(State(app): State<Arc<App>>, here: Here, InProject(project): InProject) -> Shown {
    let now = app.now();
    let codes = app.store.codes(project, MOST).await?;
    let ids: Vec<CodeId> = codes.iter().map(|code| code.id).collect();
    let lanes = app.store.counts(Some(project)).await?;
    let mut lately = lately(&app, project, None).await?;
    let newest = app.store.newest_of(project, &ids).await?;
    let rows = codes.into_iter().zip(newest).map(|(code, newest)| {
        let stand = counts_of(&lanes, code.id);
        let lately = lately.remove(&code.id).unwrap_or_default();
        Row {
            id: code.id,
            rev: code.latest.rev,
            start: start(&code.latest.launch),
            is_paused: code.is_paused,
            changed: When::new(code.updated_at, now),
            queued: count(stand.get(Status::Queued)),
            running: count(stand.get(Status::Running)),
            rate: lately.rate(),
            mean: lately.mean(),
            spark: lately.spark(),
            compute: if lately.compute.attempts > 0 {
                span_ms(lately.compute.wall_ms)
            } else {
                String::new()
            },
            last: newest
                .map(|t| (t.new.id.to_string(), t.state.status.as_str(), When::new(t.state.updated_at, now))),
            name: code.name,
        }
    });
    Ok(show(&ListPage {
        rows: rows.collect(),
        same: vec![
            Same::new("List these", "windlass codes".to_owned(), "GET", project, "/codes", None),
            Same::upload("Make a new one", "windlass upload hello.sh".to_owned(), project, "hello", true),
        ],
        shell: here.shell(&app, "Codes", "Codes")?,
    }))
}

/// How its tasks are started, in one line.
pub(super) fn start(launch: &Launch) -> String {
    let parts = [&launch.image, &launch.command, &launch.runtime, &launch.file_name, &launch.handler];
    parts.into_iter().filter(|p| !p.is_empty()).cloned().collect::<Vec<_>>().join(" ")
}
