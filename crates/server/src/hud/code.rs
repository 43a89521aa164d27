//! One code package: how it stands, what it may take, and its revisions with what each changed.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use windlass_model::code::{Code, Kind, Revision};
use windlass_model::difference::{Difference, differences};
use windlass_model::id::{CodeId, ProjectId};
use windlass_model::limits::{Network, Policy};
use windlass_model::project::Scope;
use windlass_model::task::Status;
use windlass_model::wire::Page;
use windlass_store::types::{TaskQuery, counts_of};

use super::answer::{Shown, done, show};
use super::codes::start;
use super::guard::Here;
use super::lately::lately;
use super::same::{Same, quoted};
use super::shell::Shell;
use super::show::{When, bytes, count, counted, span, span_ms};
use super::tasks::{Row, encoded};
use crate::api::codes as api;
use crate::api::params::Id;
use crate::api::present::Names;
use crate::app::App;
use crate::auth::InProject;
use crate::query::Query;

/// Revisions that the page lists: the newest.
const MOST_REVISIONS: usize = 50;

/// Fields for variables that are not there yet.
const NEW_VARIABLES: usize = 3;

#[derive(Template)]
#[template(path = "hud/code.html")]
struct CodePage {
    shell: Shell,
    id: CodeId,
    name: String,
    is_paused: bool,
    figures: Vec<(&'static str, String)>,
    spark: String,
    facts: Vec<(&'static str, String)>,
    variables: Vec<String>,
    new_variables: std::ops::Range<usize>,
    config: String,
    settings: Settings,
    revisions: Vec<RevisionRow>,
    /// How many older revisions there are.
    older: u32,
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
    changes: Vec<Difference>,
    is_first: bool,
    is_latest: bool,
    has_zip: bool,
}

/// What the form of settings shows: wishes as they were made, defaults beside them.
struct Settings {
    limits: Vec<Limit>,
    networks: Vec<(&'static str, bool)>,
    default_network: &'static str,
    max_concurrency: String,
    retries: u32,
    retries_delay: String,
    priority: u8,
}

struct Limit {
    field: &'static str,
    label: &'static str,
    value: String,
    default: String,
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
    let stand = counts_of(&lanes, id);
    let lately = lately(&app, project, Some(id)).await?.remove(&id).unwrap_or_default();
    // One more, to say what the last of them changed.
    let skip = (code.latest.rev as usize).saturating_sub(MOST_REVISIONS + 1);
    let mut revisions = app.store.revisions(id, Page { skip, limit: MOST_REVISIONS + 1 }).await?;
    revisions.reverse();
    let rows = TaskQuery { code: Some(id), ..TaskQuery::of(project, 10) };
    let mut names = Names::new(&app);
    let may_manage = here.may(Scope::Manage);
    Ok(show(&CodePage {
        id,
        is_paused: code.is_paused,
        figures: vec![
            ("queued", count(stand.get(Status::Queued))),
            ("running", count(stand.get(Status::Running))),
            ("complete in 24 h", count(lately.ended.get(Status::Complete))),
            ("went well", lately.rate()),
            ("compute in 24 h", span_ms(lately.compute.wall_ms)),
            ("mean run time", lately.mean()),
        ],
        spark: lately.spark(),
        facts: facts(&code, app.policy()),
        variables: code.latest.env_vars.keys().cloned().collect(),
        new_variables: 0..NEW_VARIABLES,
        config: code.latest.config.clone().unwrap_or_default(),
        settings: Settings::of(&code, app.policy()),
        older: code.latest.rev.saturating_sub(MOST_REVISIONS as u32),
        revisions: (0..revisions.len().min(MOST_REVISIONS)).map(|at| row(&revisions, at, now)).collect(),
        rows: Row::all(&app, &mut names, &rows).await?,
        tasks: format!("/p/{project}/tasks?code_name={}", encoded(&code.name)),
        queue: format!("/p/{project}/queue?code_name={}", encoded(&code.name)),
        schedule: format!("/p/{project}/schedules/new?code_name={}", encoded(&code.name)),
        webhook: format!(
            "{}/2/projects/{project}/tasks/webhook?code_name={}&oauth=TOKEN",
            here.origin,
            encoded(&code.name)
        ),
        same: same(project, &code, may_manage),
        shell: here.shell(&app, "Codes", &code.name)?,
        name: code.name,
    }))
}

fn row(revisions: &[Revision], at: usize, now: windlass_model::time::Timestamp) -> RevisionRow {
    let revision = &revisions[at];
    RevisionRow {
        rev: revision.rev,
        at: When::new(revision.created_at, now),
        size: revision.package.as_ref().map_or(String::new(), |p| bytes(p.size_bytes)),
        checksum: revision.checksum.chars().take(8).collect(),
        changes: revisions.get(at + 1).map_or(Vec::new(), |before| differences(before, revision)),
        is_first: revision.rev == 1,
        is_latest: at == 0,
        has_zip: revision.package.is_some(),
    }
}

fn facts(code: &Code, policy: &Policy) -> Vec<(&'static str, String)> {
    let latest = &code.latest;
    let limits = policy.limits(&latest.wishes);
    let retry = match latest.retry.retries {
        0 => "no".to_owned(),
        n => format!("{n} times, {} apart", span_ms(latest.retry.delay_ms)),
    };
    let facts = [
        ("Runs", start(&latest.launch)),
        ("Warm workers", warm(latest)),
        ("Revision", latest.rev.to_string()),
        ("Zip", latest.package.as_ref().map_or(String::new(), |p| bytes(p.size_bytes))),
        ("At once", code.max_concurrency.map_or("no limit".to_owned(), |n| n.to_string())),
        ("Retried", retry),
        ("Priority", latest.default_priority.get().to_string()),
        ("Memory", bytes(limits.memory_bytes)),
        ("Processors", (f64::from(limits.cpu_millis) / 1000.0).to_string()),
        ("Disk", bytes(limits.disk_bytes)),
        ("Network", policy.network(&latest.wishes).to_string()),
        ("Id", code.id.to_string()),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// For how long its processes are kept; empty: there is one for each task.
fn warm(latest: &Revision) -> String {
    if latest.launch.kind() != Kind::Warm {
        return String::new();
    }
    let keep = latest.keep.resolve();
    let seconds = |s: u32| span(Duration::from_secs(s.into()));
    let kept = match keep.min_warm {
        0 => String::new(),
        n => format!("; {} for good on each runner", counted(n.into(), "idle one")),
    };
    format!(
        "replaced after {} or {}, ended after {} without any{kept}",
        counted(keep.max_tasks.into(), "task"),
        seconds(keep.max_age_s),
        seconds(keep.idle_timeout_s),
    )
}

impl Settings {
    fn of(code: &Code, policy: &Policy) -> Self {
        let (latest, wishes, defaults) = (&code.latest, &code.latest.wishes, &policy.defaults);
        let cpus = |millis: u32| (f64::from(millis) / 1000.0).to_string();
        let limit = |field, label, value: Option<String>, default| Limit {
            field,
            label,
            value: value.unwrap_or_default(),
            default,
        };
        let text = |n: u32| n.to_string();
        Self {
            limits: vec![
                limit("memory", "Memory", wishes.memory_bytes.map(exact), exact(defaults.memory_bytes)),
                limit("cpu", "Processors", wishes.cpu_millis.map(cpus), cpus(defaults.cpu_millis)),
                limit("pids", "Processes", wishes.processes.map(text), text(defaults.processes)),
                limit("disk", "Disk", wishes.disk_bytes.map(exact), exact(defaults.disk_bytes)),
                limit("open_files", "Open files", wishes.open_files.map(text), text(defaults.open_files)),
                limit("output", "Output kept", wishes.output_bytes.map(exact), exact(defaults.output_bytes)),
            ],
            networks: Network::ALL
                .into_iter()
                .filter(|network| *network != Network::Host || policy.allow_host)
                .map(|network| (network.as_str(), wishes.network == Some(network)))
                .collect(),
            default_network: policy.network.as_str(),
            max_concurrency: code.max_concurrency.map_or(String::new(), |n| n.to_string()),
            retries: latest.retry.retries,
            retries_delay: (latest.retry.delay_ms as f64 / 1000.0).to_string(),
            priority: latest.default_priority.get(),
        }
    }
}

/// A size that means the same when it is sent back: in its largest unit that is whole.
fn exact(size: u64) -> String {
    let units = [("G", 1u64 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    let unit = units.into_iter().find(|(_, factor)| size > 0 && size.is_multiple_of(*factor));
    unit.map_or(size.to_string(), |(name, factor)| format!("{}{name}", size / factor))
}

fn same(project: ProjectId, code: &Code, may_manage: bool) -> Vec<Same> {
    let (name, id) = (quoted(&code.name), code.id);
    let task = serde_json::json!({ "tasks": [{ "code_name": code.name, "payload": "{}" }] }).to_string();
    let queue = format!("windlass queue {name} --payload '{{}}'");
    let mut same = vec![Same::new("Queue a task", queue, "POST", project, "/tasks", Some(&task))];
    if !may_manage {
        return same;
    }
    let (verb, route, what) = match code.is_paused {
        true => ("resume", "resume_task_queue", "Let its tasks start"),
        false => ("pause", "pause_task_queue", "Keep its tasks from starting"),
    };
    let pause = format!("windlass codes {verb} {name}");
    same.push(Same::new(what, pause, "POST", project, &format!("/codes/{id}/{route}"), None));
    let upload = format!("windlass upload ./folder --name {name}");
    same.push(Same::upload("Upload a new revision", upload, project, &code.name, false));
    let settings = serde_json::json!({ "name": code.name, "memory": "1G", "retries": 3, "network": "none" });
    let cli = format!("windlass upload --name {name} --memory 1G --retries 3 --network none");
    let body = settings.to_string();
    same.push(Same::new("Change what its tasks may take", cli, "POST", project, "/codes", Some(&body)));
    let mut variables: serde_json::Map<String, serde_json::Value> =
        code.latest.env_vars.keys().map(|name| (name.clone(), "***".into())).collect();
    variables.insert("NAME".to_owned(), "value".into());
    let env: Vec<String> = variables
        .iter()
        .map(|(name, value)| {
            format!("--env {}", quoted(&format!("{name}={}", value.as_str().unwrap_or_default())))
        })
        .collect();
    let cli = format!("windlass upload --name {name} {}", env.join(" "));
    let body = serde_json::json!({ "name": code.name, "env_vars": variables }).to_string();
    same.push(Same::new("Set a variable, keep the others", cli, "POST", project, "/codes", Some(&body)));
    let delete = format!("windlass codes delete {name}");
    same.push(Same::new("Delete it", delete, "DELETE", project, &format!("/codes/{id}"), None));
    if let Some(before) = code.latest.rev.checked_sub(1).filter(|rev| *rev > 0) {
        let path = format!("/codes/{id}/rollback?revision={before}");
        let cli = format!("windlass codes rollback {name} {before}");
        same.push(Same::new("Roll back", cli, "POST", project, &path, None));
    }
    same
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

#[cfg(test)]
mod tests {
    use windlass_model::size;

    use super::exact;

    #[test]
    fn a_size_survives_its_form() {
        for bytes in [0, 17, 1000, 1 << 10, 1_000_000, 3 << 29, 512 << 20, 64 << 30] {
            assert_eq!(size::parse(&exact(bytes)), Ok(bytes), "{}", exact(bytes));
        }
        assert_eq!([exact(512 << 20), exact(3 << 29), exact(1000)], ["512M", "1536M", "1000"]);
    }
}
