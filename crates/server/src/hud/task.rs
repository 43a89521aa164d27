//! One task: its facts, why it stands where it stands, what it got, wrote and left.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, header};
use windlass_model::exit::{Exit, Outcome};
use windlass_model::id::{ProjectId, TaskId};
use windlass_model::limits::Limits;
use windlass_model::project::Scope;
use windlass_model::task::{Attempt, Status, Task};
use windlass_model::time::Timestamp;
use windlass_store::types::TaskQuery;

use super::answer::{Shown, done, show};
use super::guard::Here;
use super::log::{self, Lines};
use super::payload::{self, Content};
use super::same::{Same, quoted};
use super::shell::Shell;
use super::show::{When, bytes, span, span_ms};
use super::tasks::Row;
use super::timeline::{Stretch, timeline};
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
    is_revealed: bool,
    attempts: Vec<AttemptRow>,
    timeline: String,
    /// The attempt whose log is shown.
    attempt: u32,
    log: Lines,
    /// The event stream that goes on where the lines end; empty: nothing will follow.
    log_live: String,
    result: Option<Content>,
    queued: Vec<Row>,
    same: Vec<Same>,
}

/// Tasks that it queued, as far as its page lists them.
const MOST_QUEUED: usize = 20;

/// An attempt.
struct AttemptRow {
    n: u32,
    outcome: &'static str,
    exit: String,
    started: When,
    ended: Timestamp,
    wall: Use,
    cpu: String,
    memory: Use,
    isolation: String,
    missing: Vec<String>,
    msg: String,
}

/// What was used of what there was.
struct Use {
    used: u64,
    of: u64,
    shown: String,
    of_shown: String,
}

/// `GET /p/{project}/tasks/{id}?attempt=N&line=N&reveal=1`.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    query: Query,
) -> Shown {
    let task = app.task_of(project, id).await?;
    let (new, state, now) = (&task.new, &task.state, app.now());
    let mut names = Names::new(&app);
    let name = names.name(new.code).await?;
    let (_, explain) = explain::explain(&app, &task).await?;
    let may_reveal = here.may(Scope::Manage);
    let reveal = query.flag("reveal") && may_reveal;
    let shown = payload::content(&new.payload, reveal);
    let attempt = logs::count(&query, "attempt")?;
    let (attempt, log, log_live) = match app.store.log(id, attempt, 0).await? {
        Some(part) => {
            let lines = log::shown(&app, id, &part, logs::count(&query, "line")?).await?;
            let live = format!(
                "/p/{project}/tasks/{id}/log/live?attempt={}&after={}&lines={}&open={}",
                part.attempt,
                lines.after,
                lines.lines.back().map_or(0, |l| l.n),
                u8::from(lines.is_open)
            );
            let goes_on = !part.is_whole && lines.later == 0;
            (part.attempt, lines, if goes_on { live } else { String::new() })
        }
        None if state.status.is_final() || attempt.is_some() => {
            (attempt.unwrap_or(state.attempts), Lines::default(), String::new())
        }
        None => (1, Lines::default(), format!("/p/{project}/tasks/{id}/log/live")),
    };
    let result = match app.store.result(id).await? {
        Some(stored) => Some(payload::content(&app.content(id, stored).await?, reveal)),
        None => None,
    };
    let has_secrets = shown.is_masked || result.as_ref().is_some_and(|r| r.is_masked);
    let revision = app.store.revision(new.code, new.rev).await?;
    let limits = app.policy().limits(&revision.map(|r| r.wishes).unwrap_or_default());
    let ended = app.store.attempts(id).await?;
    let mut attempts: Vec<AttemptRow> =
        ended.iter().map(|a| AttemptRow::ended(a, &limits, new.timeout_s, now)).collect();
    attempts.extend(AttemptRow::running(&task, &limits, now));
    let queued_by = TaskQuery { parent: Some(id), ..TaskQuery::of(project, MOST_QUEUED) };
    Ok(show(&TaskPage {
        timeline: timeline_of(&task, &attempts, now),
        queued: Row::all(&app, &mut names, &queued_by).await?,
        links: links(&app, &mut names, project, &task).await?,
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
        payload_size: bytes(new.payload.len() as u64),
        is_revealed: reveal,
        reveal: if has_secrets && may_reveal {
            format!("/p/{project}/tasks/{id}?reveal=1")
        } else {
            String::new()
        },
        payload: shown,
        attempts,
        attempt,
        log,
        log_live,
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

fn times(task: &Task, when: impl Fn(Timestamp) -> When) -> Vec<(&'static str, When)> {
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

/// Where it came from: name, text, path.
async fn links(
    app: &App,
    names: &mut Names<'_>,
    project: ProjectId,
    task: &Task,
) -> Result<Vec<(&'static str, String, String)>, ApiError> {
    let new = &task.new;
    let mut links = Vec::new();
    if let Some(id) = new.schedule {
        let name = app.store.schedule(id).await?.map(|schedule| schedule.name).filter(|n| !n.is_empty());
        let name = name.unwrap_or_else(|| id.to_string());
        links.push(("Made by schedule", name, format!("/p/{project}/schedules/{id}")));
    }
    for (name, of) in [("Queued by", new.parent), ("Retry of", new.retry_of)] {
        let Some(id) = of else { continue };
        let words = match app.store.task(id).await? {
            Some(task) => format!("{} {id}", names.name(task.new.code).await?),
            None => id.to_string(),
        };
        links.push((name, words, format!("/p/{project}/tasks/{id}")));
    }
    Ok(links)
}

/// Every attempt between its beginning and its end, from when the task was queued.
fn timeline_of(task: &Task, attempts: &[AttemptRow], now: Timestamp) -> String {
    let stretches: Vec<Stretch> = attempts
        .iter()
        .map(|a| Stretch {
            n: a.n,
            class: a.outcome,
            words: a.exit.clone(),
            from: a.started.at(),
            to: a.ended,
        })
        .collect();
    timeline(task.new.created_at, task.state.ended_at.unwrap_or(now), &stretches)
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
    same.push(Same::new(
        "List what it queued",
        format!("windlass tasks --parent {id}"),
        "GET",
        project,
        &format!("/tasks?parent_id={id}"),
        None,
    ));
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
    // To be pasted into a terminal, where control characters do things, and an `@` is a file.
    let is_plain = !payload.chars().any(|c| c.is_control() && c != '\n') && !payload.starts_with(['@', '-']);
    if payload.len() < 500 && is_plain && !payload::content(&task.new.payload, false).is_masked {
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

impl Use {
    fn of_time(used: Duration, timeout_s: u32) -> Self {
        let of = Duration::from_secs(timeout_s.into());
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { used: ms(used), of: ms(of), shown: span(used), of_shown: span(of) }
    }

    fn of_memory(used: u64, of: u64) -> Self {
        Self { used, of, shown: if used == 0 { String::new() } else { bytes(used) }, of_shown: bytes(of) }
    }
}

impl AttemptRow {
    /// The attempt that is under way.
    fn running(task: &Task, limits: &Limits, now: Timestamp) -> Option<Self> {
        let state = &task.state;
        let started =
            state.started_at.filter(|_| matches!(state.status, Status::Preparing | Status::Running))?;
        Some(Self {
            n: state.attempts,
            outcome: state.status.as_str(),
            exit: state.status.to_string(),
            started: When::new(started, now),
            ended: now,
            wall: Use::of_time(now.since(started), task.new.timeout_s),
            cpu: String::new(),
            memory: Use::of_memory(0, limits.memory_bytes),
            isolation: String::new(),
            missing: Vec::new(),
            msg: String::new(),
        })
    }

    fn ended(attempt: &Attempt, limits: &Limits, timeout_s: u32, now: Timestamp) -> Self {
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
            started: When::new(attempt.started_at, now),
            ended: attempt.ended_at,
            wall: Use::of_time(wall, timeout_s),
            cpu: span(Duration::from_micros(usage.user_us.saturating_add(usage.system_us))),
            memory: Use::of_memory(usage.peak_memory_bytes, limits.memory_bytes),
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
    let mut answer = written_by_worker("application/octet-stream", app.content(id, stored).await?);
    let name = HeaderValue::from_str(&format!("attachment; filename=\"{id}.result\""));
    let name = name.map_err(|_| ApiError::internal("an id is no file name"))?;
    answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(answer)
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
