//! Code packages: the list, and one with its revisions.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use windlass_model::code::{Code, Kind, Launch, Revision};
use windlass_model::id::{CodeId, ProjectId};
use windlass_model::task::Status;
use windlass_model::wire::Page;
use windlass_store::types::{Counts, TaskQuery};

use super::answer::{Shown, done, show};
use super::choices::MOST;
use super::guard::Here;
use super::same::{Same, quoted};
use super::shell::Shell;
use super::show::{When, bytes, count, span_ms};
use super::tasks::{Row, encoded};
use crate::api::codes as api;
use crate::api::params::Id;
use crate::api::present::Names;
use crate::app::App;
use crate::auth::InProject;
use crate::query::Query;

/// What "lately" means here.
const LATELY: Duration = Duration::from_secs(86_400);

#[derive(Template)]
#[template(path = "hud/codes.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<ListRow>,
    same: Vec<Same>,
}

struct ListRow {
    id: CodeId,
    name: String,
    rev: u32,
    start: String,
    is_paused: bool,
    changed: When,
    queued: String,
    running: String,
    rate: String,
    last: Option<(String, &'static str, When)>,
}

/// `GET /p/{project}/codes`.
pub(super) async fn list(State(app): State<Arc<App>>, here: Here, InProject(project): InProject) -> Shown {
    let now = app.now();
    let lanes = app.store.counts(Some(project)).await?;
    let mut rows = Vec::new();
    for code in app.store.codes(project, MOST).await? {
        let stand: Counts = lanes.iter().filter(|l| l.code == code.id).map(|l| &l.counts).sum();
        let ended = app.store.ended_between(code.id, now - LATELY, now).await?;
        let newest = TaskQuery { code: Some(code.id), ..TaskQuery::of(project, 1) };
        let last = app.store.tasks(&newest).await?.into_iter().next();
        rows.push(ListRow {
            id: code.id,
            rev: code.latest.rev,
            start: start(&code.latest.launch),
            is_paused: code.is_paused,
            changed: When::new(code.updated_at, now),
            queued: count(stand.get(Status::Queued)),
            running: count(stand.get(Status::Running)),
            rate: rate(&ended),
            last: last
                .map(|t| (t.new.id.to_string(), t.state.status.as_str(), When::new(t.state.updated_at, now))),
            name: code.name,
        });
    }
    let cli = "windlass codes".to_owned();
    Ok(show(&ListPage {
        rows,
        same: vec![Same::new("List these", cli, "GET", project, "/codes", None)],
        shell: here.shell(&app, "Codes", "Codes")?,
    }))
}

/// How its tasks are started, in one line.
fn start(launch: &Launch) -> String {
    let parts = [&launch.image, &launch.command, &launch.runtime, &launch.file_name, &launch.handler];
    let line = parts.into_iter().filter(|p| !p.is_empty()).cloned().collect::<Vec<_>>().join(" ");
    if launch.kind() == Kind::Warm { format!("warm: {line}") } else { line }
}

/// The share that went well; empty if nothing ended.
fn rate(ended: &Counts) -> String {
    let good = ended.get(Status::Complete);
    let all =
        good + [Status::Error, Status::Timeout, Status::Killed].map(|s| ended.get(s)).iter().sum::<u64>();
    // Rounded down: 100 % is said only of those where nothing failed.
    (good * 1000).checked_div(all).map_or(String::new(), |tenths| match tenths {
        1000 => "100 %".to_owned(),
        tenths => format!("{}.{} %", tenths / 10, tenths % 10),
    })
}

#[derive(Template)]
#[template(path = "hud/code.html")]
struct CodePage {
    shell: Shell,
    id: CodeId,
    name: String,
    is_paused: bool,
    facts: Vec<(&'static str, String)>,
    variables: Vec<String>,
    config: String,
    figures: Vec<(&'static str, String)>,
    revisions: Vec<RevisionRow>,
    rows: Vec<Row>,
    tasks: String,
    queue: String,
    schedule: String,
    webhook: String,
    same: Vec<Same>,
}

struct RevisionRow {
    rev: u32,
    at: When,
    size: String,
    checksum: String,
    changes: String,
    is_latest: bool,
    has_zip: bool,
}

/// `GET /p/{project}/codes/{id}`.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
) -> Shown {
    let code = app.code_of(project, id).await?;
    let now = app.now();
    let lanes = app.store.counts(Some(project)).await?;
    let stand: Counts = lanes.iter().filter(|l| l.code == id).map(|l| &l.counts).sum();
    let ended = app.store.ended_between(id, now - LATELY, now).await?;
    let mut revisions = app.store.revisions(id, Page { skip: 0, limit: 1000 }).await?;
    revisions.reverse();
    let rows = TaskQuery { code: Some(id), ..TaskQuery::of(project, 10) };
    let mut names = Names::new(&app);
    Ok(show(&CodePage {
        id,
        is_paused: code.is_paused,
        facts: facts(&code),
        variables: code.latest.env_vars.keys().cloned().collect(),
        config: code.latest.config.clone().unwrap_or_default(),
        figures: vec![
            ("queued", count(stand.get(Status::Queued))),
            ("running", count(stand.get(Status::Running))),
            ("complete in 24 h", count(ended.get(Status::Complete))),
            ("went well", rate(&ended)),
        ],
        revisions: revisions
            .iter()
            .enumerate()
            .map(|(at, revision)| RevisionRow {
                rev: revision.rev,
                at: When::new(revision.created_at, now),
                size: revision.package.as_ref().map_or(String::new(), |p| bytes(p.size_bytes)),
                checksum: revision.checksum.chars().take(8).collect(),
                changes: revisions.get(at + 1).map_or("first".to_owned(), |before| changes(before, revision)),
                is_latest: at == 0,
                has_zip: revision.package.is_some(),
            })
            .collect(),
        rows: Row::all(&app, &mut names, &rows).await?,
        tasks: format!("/p/{project}/tasks?code_name={}", encoded(&code.name)),
        queue: format!("/p/{project}/queue?code_name={}", encoded(&code.name)),
        schedule: format!("/p/{project}/schedules/new?code_name={}", encoded(&code.name)),
        webhook: format!(
            "{}/2/projects/{project}/tasks/webhook?code_name={}&oauth=TOKEN",
            here.origin,
            encoded(&code.name)
        ),
        same: same(project, &code),
        shell: here.shell(&app, "Codes", &code.name)?,
        name: code.name,
    }))
}

fn facts(code: &Code) -> Vec<(&'static str, String)> {
    let latest = &code.latest;
    let retry = match latest.retry.retries {
        0 => "no".to_owned(),
        n => format!("{n} times, {} apart", span_ms(latest.retry.delay_ms)),
    };
    let facts = [
        ("Runs", start(&latest.launch)),
        ("Revision", latest.rev.to_string()),
        ("Package", latest.package.as_ref().map_or(String::new(), |p| bytes(p.size_bytes))),
        ("At once", code.max_concurrency.map_or("no limit".to_owned(), |n| n.to_string())),
        ("Retried", retry),
        ("Priority", latest.default_priority.get().to_string()),
        ("Id", code.id.to_string()),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// What a revision changed, in words.
fn changes(before: &Revision, after: &Revision) -> String {
    let changed = [
        ("zip", before.package != after.package),
        ("how it starts", before.launch != after.launch),
        ("config", before.config != after.config),
        ("variables", before.env_vars != after.env_vars),
        ("retries", before.retry != after.retry),
        ("priority", before.default_priority != after.default_priority),
        ("how long it is kept", before.keep != after.keep),
    ];
    let changed: Vec<_> = changed.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") }
}

fn same(project: ProjectId, code: &Code) -> Vec<Same> {
    let name = quoted(&code.name);
    let (verb, route) =
        if code.is_paused { ("resume", "resume_task_queue") } else { ("pause", "pause_task_queue") };
    let what = if code.is_paused { "Let its tasks start" } else { "Keep its tasks from starting" };
    let body = serde_json::json!({ "tasks": [{ "code_name": code.name, "payload": "{}" }] }).to_string();
    vec![
        Same::new(
            "Queue a task",
            format!("windlass queue {name} --payload '{{}}'"),
            "POST",
            project,
            "/tasks",
            Some(&body),
        ),
        Same::new(
            what,
            format!("windlass codes {verb} {name}"),
            "POST",
            project,
            &format!("/codes/{}/{route}", code.id),
            None,
        ),
    ]
}

/// `POST /p/{project}/codes/{id}/pause`.
pub(super) async fn pause(app: State<Arc<App>>, project: InProject, id: Id<CodeId>) -> Shown {
    set_paused(&app, project, id, true).await
}

/// `POST /p/{project}/codes/{id}/resume`.
pub(super) async fn resume(app: State<Arc<App>>, project: InProject, id: Id<CodeId>) -> Shown {
    set_paused(&app, project, id, false).await
}

async fn set_paused(app: &App, InProject(project): InProject, Id(id): Id<CodeId>, is_paused: bool) -> Shown {
    app.code_of(project, id).await?;
    app.store.set_paused(id, is_paused, app.now()).await?;
    Ok(done(&format!("/p/{project}/codes/{id}"), if is_paused { "Paused" } else { "Resumed" }))
}

/// `GET /p/{project}/codes/{id}/download?revision=N`.
pub(super) async fn download(
    app: State<Arc<App>>,
    project: InProject,
    id: Id<CodeId>,
    query: Query,
) -> Shown {
    Ok(api::download(app, project, id, query).await?)
}
