//! One task: its facts, why it stands where it stands, what it got, wrote and left.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use windlass_model::exit::{Exit, Outcome};
use windlass_model::id::{ProjectId, TaskId};
use windlass_model::project::Scope;
use windlass_model::task::{Attempt, Task};

use super::answer::{Shown, done, show};
use super::guard::Here;
use super::log::{self, Lines};
use super::payload::{self, Content};
use super::same::{Same, quoted};
use super::shell::Shell;
use super::show::{When, bytes, span, span_ms};
use crate::api::params::Id;
use crate::api::present::Names;
use crate::api::queueing::Origin;
use crate::api::{explain, logs, tasks as api};
use crate::app::App;
use crate::auth::InProject;
use crate::error::{ApiError, written_by_worker};
use crate::query::Query;

#[derive(Template)]
#[template(path = "hud/task.html")]
struct TaskPage {
    shell: Shell,
    id: TaskId,
    code: String,
    code_name: String,
    status: &'static str,
    is_final: bool,
    is_cancelling: bool,
    percent: u8,
    explain: String,
    msg: String,
    facts: Vec<(&'static str, String)>,
    times: Vec<(&'static str, When)>,
    links: Vec<(&'static str, String, String)>,
    payload: Content,
    payload_size: String,
    reveal: String,
    attempts: Vec<AttemptRow>,
    log: Lines,
    /// The event stream that goes on where the lines end; empty: nothing will follow.
    log_live: String,
    result: Option<Content>,
    same: Vec<Same>,
}

/// An ended attempt.
struct AttemptRow {
    n: u32,
    outcome: &'static str,
    exit: String,
    started: When,
    wall: String,
    /// Share of the longest attempt, in percent.
    share: u64,
    cpu: String,
    memory: String,
    isolation: String,
    missing: Vec<String>,
    msg: String,
}

/// `GET /p/{project}/tasks/{id}`.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    query: Query,
) -> Shown {
    let task = app.task_of(project, id).await?;
    let (new, state, now) = (&task.new, &task.state, app.now());
    let name = Names::new(&app).name(new.code).await?;
    let (_, explain) = explain::explain(&app, &task).await?;
    let may_reveal = here.may(Scope::Manage);
    let reveal = query.flag("reveal") && may_reveal;
    let shown = payload::content(&new.payload, reveal);
    let attempt = logs::count(&query, "attempt")?;
    let log = match app.store.log(id, attempt, 0).await? {
        Some(part) => {
            let is_live = !part.is_whole;
            let lines = log::lines(&logs::chunks(&app, id, &part, 0).await?);
            let live = format!(
                "/p/{project}/tasks/{id}/log/live?attempt={}&after={}&lines={}&open={}",
                part.attempt,
                lines.after,
                lines.lines.last().map_or(0, |l| l.n),
                u8::from(lines.is_open)
            );
            (lines, if is_live { live } else { String::new() })
        }
        None if state.status.is_final() => (Lines::default(), String::new()),
        None => (Lines::default(), format!("/p/{project}/tasks/{id}/log/live")),
    };
    let result = match app.store.result(id).await? {
        Some(stored) => Some(payload::content(&app.content(id, stored).await?, true)),
        None => None,
    };
    let ended = app.store.attempts(id).await?;
    let longest = ended.iter().map(|a| wall(a).as_millis()).max().unwrap_or(1).max(1);
    Ok(show(&TaskPage {
        id,
        code: format!("/p/{project}/codes/{}", new.code),
        status: state.status.as_str(),
        is_final: state.status.is_final(),
        is_cancelling: state.cancel_requested && !state.status.is_final(),
        percent: state.percent,
        explain,
        msg: state.msg.clone(),
        facts: facts(&task),
        times: times(&task, |at| When::new(at, now)),
        links: links(project, &task),
        payload_size: bytes(new.payload.len() as u64),
        reveal: if shown.is_masked && may_reveal {
            format!("/p/{project}/tasks/{id}?reveal=1")
        } else {
            String::new()
        },
        payload: shown,
        attempts: ended.iter().map(|a| AttemptRow::new(a, When::new(a.started_at, now), longest)).collect(),
        log: log.0,
        log_live: log.1,
        result,
        same: same(project, &task, &name),
        code_name: name,
        shell: Shell {
            live: if state.status.is_final() {
                String::new()
            } else {
                format!("/p/{project}/tasks/{id}/live")
            },
            ..here.shell(&app, "Tasks", &format!("Task {id}"))?
        },
    }))
}

fn facts(task: &Task) -> Vec<(&'static str, String)> {
    let (new, state) = (&task.new, &task.state);
    let retries = match new.retry.retries {
        0 => "none".to_owned(),
        most => format!("{} of {most}, {} apart", state.retries, span_ms(new.retry.delay_ms)),
    };
    let facts = [
        ("Revision", new.rev.to_string()),
        ("Cluster", new.cluster.clone()),
        ("Priority", new.priority.get().to_string()),
        ("Timeout", span(Duration::from_secs(new.timeout_s.into()))),
        ("Attempts", state.attempts.to_string()),
        ("Retries", retries),
        ("Label", new.label.clone().unwrap_or_default()),
        ("Failed as", state.error_class.clone().unwrap_or_default()),
        ("Runner", state.runner.map_or(String::new(), |r| r.to_string())),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn times(task: &Task, when: impl Fn(windlass_model::time::Timestamp) -> When) -> Vec<(&'static str, When)> {
    let (new, state) = (&task.new, &task.state);
    let due = (state.run_at > new.created_at && !state.status.is_final()).then_some(state.run_at);
    let times = [
        ("Queued", Some(new.created_at)),
        ("Due", due),
        ("Started", state.started_at),
        ("Ended", state.ended_at),
    ];
    times.into_iter().filter_map(|(name, at)| Some((name, when(at?)))).collect()
}

/// Where it came from and what came of it: name, text, path.
fn links(project: ProjectId, task: &Task) -> Vec<(&'static str, String, String)> {
    let new = &task.new;
    let to_task = |name, id: TaskId| (name, id.to_string(), format!("/p/{project}/tasks/{id}"));
    let mut links = Vec::new();
    links.extend(new.schedule.map(|id| ("Schedule", id.to_string(), format!("/p/{project}/schedules/{id}"))));
    links.extend(new.parent.map(|id| to_task("Queued by", id)));
    links.extend(new.retry_of.map(|id| to_task("Retry of", id)));
    links
}

fn same(project: ProjectId, task: &Task, name: &str) -> Vec<Same> {
    let id = task.new.id;
    let mut same = vec![Same::new(
        "Follow its log",
        format!("windlass logs -f {id}"),
        "GET",
        project,
        &format!("/tasks/{id}/log"),
        None,
    )];
    if !task.state.status.is_final() {
        same.push(Same::new(
            "Cancel it",
            format!("windlass cancel {id}"),
            "POST",
            project,
            &format!("/tasks/{id}/cancel"),
            None,
        ));
    }
    same.push(Same::new(
        "Retry it",
        format!("windlass retry {id}"),
        "POST",
        project,
        &format!("/tasks/{id}/retry"),
        None,
    ));
    let payload = String::from_utf8_lossy(&task.new.payload);
    if payload.len() < 500 && !payload::content(&task.new.payload, false).is_masked {
        let body = serde_json::json!({ "tasks": [{ "code_name": name, "payload": payload }] }).to_string();
        let cli = format!("windlass queue {} --payload {}", quoted(name), quoted(&payload));
        same.push(Same::new("Queue one like it", cli, "POST", project, "/tasks", Some(&body)));
    }
    same
}

/// How long it ran. Of one whose runner was lost only the times of its claim and its end are known.
fn wall(attempt: &Attempt) -> Duration {
    let used = attempt.usage.map(|usage| Duration::from_millis(usage.wall_ms));
    used.unwrap_or_else(|| attempt.ended_at.since(attempt.started_at))
}

impl AttemptRow {
    fn new(attempt: &Attempt, started: When, longest_ms: u128) -> Self {
        let (outcome, exit) = match &attempt.outcome {
            Outcome::Lost => ("killed", "runner lost".to_owned()),
            Outcome::Exited(Exit::Code(0)) => ("complete", "exit 0".to_owned()),
            Outcome::Exited(Exit::Code(code)) => ("error", format!("exit {code}")),
            Outcome::Exited(Exit::Signal(signal)) => ("error", format!("signal {signal}")),
            Outcome::Exited(Exit::TimedOut) => ("timeout", "timed out".to_owned()),
            Outcome::Exited(Exit::Cancelled) => ("cancelled", "cancelled".to_owned()),
            Outcome::Exited(Exit::OutOfMemory { limit_bytes, peak_bytes }) => {
                ("error", format!("out of memory: {} of {}", bytes(*peak_bytes), bytes(*limit_bytes)))
            }
            Outcome::Exited(Exit::Error { class, .. }) => ("error", class.clone()),
            Outcome::Exited(Exit::NotStarted(_)) => ("error", "not started".to_owned()),
            Outcome::Exited(Exit::Unable(_)) => ("killed", "runner unable".to_owned()),
        };
        let usage = attempt.usage.unwrap_or_default();
        let wall = wall(attempt);
        let isolation = attempt.isolation.as_ref();
        Self {
            n: attempt.n,
            outcome,
            exit,
            started,
            wall: span(wall),
            share: (wall.as_millis() * 100 / longest_ms) as u64,
            cpu: span(Duration::from_micros(usage.user_us + usage.system_us)),
            memory: bytes(usage.peak_memory_bytes),
            isolation: isolation.map_or(String::new(), |i| i.level.clone()),
            missing: isolation.map_or(Vec::new(), |i| i.missing.clone()),
            msg: attempt.msg.clone(),
        }
    }
}

/// `GET /p/{project}/tasks/{id}/result`: as the worker left it, as a file.
pub(super) async fn result(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
) -> Shown {
    app.task_of(project, id).await?;
    let stored = app.store.result(id).await?.ok_or_else(|| ApiError::not_found("Result"))?;
    Ok(written_by_worker("application/octet-stream", app.content(id, stored).await?))
}

/// `POST /p/{project}/tasks/{id}/cancel`.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
) -> Shown {
    app.task_of(project, id).await?;
    app.store.cancel_unless_final(&[id], app.now()).await?;
    Ok(done(&format!("/p/{project}/tasks/{id}"), "Cancelled"))
}

/// `POST /p/{project}/tasks/{id}/retry`: shows the new task.
pub(super) async fn retry(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
) -> Shown {
    let task = app.task_of(project, id).await?;
    let new = api::retry_of(&app, task.new, 0, Origin::default()).await?;
    let queued = app.enqueue(project, vec![new], None).await?;
    Ok(to_task(project, queued.first().map(|t| t.id), "Queued again, as a new task"))
}

/// Shows the task that was queued.
pub(super) fn to_task(project: ProjectId, id: Option<TaskId>, said: &str) -> Response {
    match id {
        Some(id) => done(&format!("/p/{project}/tasks/{id}"), said),
        None => done(&format!("/p/{project}/tasks"), said),
    }
}
