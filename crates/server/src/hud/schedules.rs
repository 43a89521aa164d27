//! Schedules: the list with what comes next, one with what it did, and the form that makes or changes one.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use windlass_model::id::{ProjectId, ScheduleId, TaskId};
use windlass_model::schedule::{Schedule, ScheduleStatus};
use windlass_model::task::Task;
use windlass_model::time::Timestamp;
use windlass_model::wire::BadField;
use windlass_model::wire::lenient::{Number, Payload, Text};
use windlass_model::wire::schedules::{CreateRequest, ScheduleRequest};
use windlass_model::wire::tasks::TaskRequest;
use windlass_store::types::TaskQuery;

use super::answer::{Shown, done, show};
use super::choices::{MOST, code_names};
use super::firings;
use super::form::Form;
use super::guard::Here;
use super::payload::{self, Content};
use super::same::{Same, quoted};
use super::shell::Shell;
use super::show::{When, rough};
use super::tasks::Row;
use crate::api::params::Id;
use crate::api::present::Names;
use crate::api::queueing::{Key, Origin};
use crate::api::schedules as api;
use crate::app::App;
use crate::auth::InProject;
use crate::error::ApiError;
use crate::query::Query;

/// Firings that are told ahead.
const AHEAD: usize = 10;

/// Tasks whose outcomes are shown of each schedule, and of how many schedules.
const OUTCOMES: usize = 5;
const WITH_OUTCOMES: usize = 100;

#[derive(Template)]
#[template(path = "hud/schedules.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<ListRow>,
    strip: String,
    next: Vec<NextRow>,
}

/// A firing to come.
struct NextRow {
    at: When,
    id: ScheduleId,
    name: String,
    code_name: String,
}

/// How a task that a schedule made stands.
struct Outcome {
    id: TaskId,
    status: &'static str,
    at: When,
}

struct ListRow {
    id: ScheduleId,
    name: String,
    code_name: String,
    status: &'static str,
    every: String,
    next: Option<When>,
    last: Option<When>,
    runs: String,
    /// The oldest first.
    outcomes: Vec<Outcome>,
}

/// `GET /p/{project}/schedules`.
pub(super) async fn list(State(app): State<Arc<App>>, here: Here, InProject(project): InProject) -> Shown {
    let now = app.now();
    let mut schedules = app.store.schedules(project, MOST).await?;
    // Those that fire, the next one first; then the others as they are.
    schedules.sort_by_key(|s| s.state.next_at.map_or(i64::MAX, Timestamp::as_millis));
    let mut names = Names::new(&app);
    let mut next = Vec::with_capacity(AHEAD);
    for (at, schedule) in firings::ahead_of_all(&schedules, AHEAD) {
        next.push(NextRow {
            at: When::new(at, now),
            id: schedule.id,
            name: name_of(schedule),
            code_name: names.name(schedule.template.code).await?,
        });
    }
    let mut rows = Vec::with_capacity(schedules.len());
    for (at, schedule) in schedules.iter().enumerate() {
        let has_run = schedule.state.last_run_at.is_some() && at < WITH_OUTCOMES;
        rows.push(ListRow {
            id: schedule.id,
            name: name_of(schedule),
            code_name: names.name(schedule.template.code).await?,
            status: status(schedule),
            every: every(schedule),
            next: schedule.state.next_at.map(|at| When::new(at, now)),
            last: schedule.state.last_run_at.map(|at| When::new(at, now)),
            runs: runs(schedule),
            outcomes: if has_run { outcomes(&app, project, schedule.id, now).await? } else { Vec::new() },
        });
    }
    Ok(show(&ListPage {
        rows,
        next,
        strip: firings::strip(&schedules, now),
        shell: here.shell(&app, "Schedules", "Schedules")?,
    }))
}

/// How the newest tasks that it made stand.
async fn outcomes(
    app: &App,
    project: ProjectId,
    id: ScheduleId,
    now: Timestamp,
) -> Result<Vec<Outcome>, ApiError> {
    let query = TaskQuery { schedule: Some(id), ..TaskQuery::of(project, OUTCOMES) };
    let tasks = app.store.tasks(&query).await?;
    let outcome = |task: &Task| Outcome {
        id: task.new.id,
        status: task.state.status.as_str(),
        at: When::new(task.state.ended_at.unwrap_or(task.new.created_at), now),
    };
    Ok(tasks.iter().rev().map(outcome).collect())
}

/// What people call it, or its id.
pub(super) fn name_of(schedule: &Schedule) -> String {
    if schedule.name.is_empty() { schedule.id.to_string() } else { schedule.name.clone() }
}

fn status(schedule: &Schedule) -> &'static str {
    schedule.state.status.as_str()
}

fn every(schedule: &Schedule) -> String {
    schedule.timing.run_every_s.map_or("once".to_owned(), |s| rough(Duration::from_secs(s.into())))
}

fn runs(schedule: &Schedule) -> String {
    let done = schedule.state.run_count;
    schedule.timing.run_times.map_or(done.to_string(), |most| format!("{done} of {most}"))
}

#[derive(Template)]
#[template(path = "hud/schedule.html")]
struct SchedulePage {
    shell: Shell,
    id: ScheduleId,
    name: String,
    code: String,
    code_name: String,
    status: &'static str,
    is_over: bool,
    is_paused: bool,
    strip: String,
    msg: String,
    facts: Vec<(&'static str, String)>,
    ahead: Vec<When>,
    payload: Content,
    rows: Vec<Row>,
    fields: Fields,
    same: Vec<Same>,
}

/// The values of the form.
#[derive(Default)]
struct Fields {
    codes: Vec<String>,
    code_name: String,
    name: String,
    payload: String,
    start_at: String,
    run_every: String,
    run_times: String,
    end_at: String,
    priority: String,
    timeout: String,
    cluster: String,
    label: String,
}

/// `GET /p/{project}/schedules/{id}`.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
) -> Shown {
    let schedule = app.schedule_of(project, id).await?;
    let now = app.now();
    let mut names = Names::new(&app);
    let code_name = names.name(schedule.template.code).await?;
    let tasks = TaskQuery { schedule: Some(id), ..TaskQuery::of(project, 10) };
    let template = &schedule.template;
    let facts = [
        ("Every", every(&schedule)),
        ("Runs", runs(&schedule)),
        ("Cluster", template.cluster.clone()),
        ("Label", template.label.clone().unwrap_or_default()),
        ("Until", schedule.timing.end_at.map_or(String::new(), |at| When::new(at, now).full())),
        ("Id", id.to_string()),
    ];
    Ok(show(&SchedulePage {
        id,
        name: name_of(&schedule),
        code: format!("/p/{project}/codes/{}", template.code),
        status: status(&schedule),
        is_over: schedule.state.status.is_over(),
        is_paused: schedule.state.status == ScheduleStatus::Paused,
        strip: firings::strip(std::slice::from_ref(&schedule), now),
        msg: schedule.state.msg.clone(),
        facts: facts.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        ahead: firings::ahead(&schedule, AHEAD).into_iter().map(|at| When::new(at, now)).collect(),
        payload: payload::content(&template.payload, false),
        rows: Row::all(&app, &mut names, &tasks).await?,
        fields: Fields::of(&app, project, &schedule, &code_name).await?,
        same: same(project, &schedule, &code_name),
        shell: here.shell(&app, "Schedules", &name_of(&schedule))?,
        code_name,
    }))
}

fn same(project: ProjectId, schedule: &Schedule, code_name: &str) -> Vec<Same> {
    let id = schedule.id;
    let payload = String::from_utf8_lossy(&schedule.template.payload);
    let task = serde_json::json!({ "code_name": code_name, "payload": payload });
    let body = serde_json::json!({ "tasks": [task] }).to_string();
    let cli = format!("windlass queue {} --payload {}", quoted(code_name), quoted(&payload));
    let mut same = vec![Same::new("Run it now", cli, "POST", project, "/tasks", Some(&body))];
    if let Some(every) = schedule.timing.run_every_s {
        let body =
            serde_json::json!({ "schedules": [{ "code_name": code_name, "run_every": every }] }).to_string();
        let cli = format!("windlass schedule create {} --every {every}s", quoted(code_name));
        same.push(Same::new("Make one like it", cli, "POST", project, "/schedules", Some(&body)));
    }
    let turns = match schedule.state.status {
        ScheduleStatus::Scheduled => [Some(("Pause it", "pause")), Some(("End it", "cancel"))],
        ScheduleStatus::Paused => [Some(("Resume it", "resume")), Some(("End it", "cancel"))],
        ScheduleStatus::Complete | ScheduleStatus::Cancelled => [None, None],
    };
    same.extend(turns.into_iter().flatten().map(|(what, verb)| {
        let path = format!("/schedules/{id}/{verb}");
        Same::new(what, format!("windlass schedule {verb} {id}"), "POST", project, &path, None)
    }));
    same
}

impl Fields {
    async fn empty(app: &App, project: ProjectId) -> Result<Self, ApiError> {
        Ok(Self { codes: code_names(app, project).await?, ..Self::default() })
    }

    async fn of(
        app: &App,
        project: ProjectId,
        schedule: &Schedule,
        code_name: &str,
    ) -> Result<Self, ApiError> {
        let (timing, template) = (&schedule.timing, &schedule.template);
        let number = |n: Option<u32>| n.map_or(String::new(), |n| n.to_string());
        Ok(Self {
            code_name: code_name.to_owned(),
            name: schedule.name.clone(),
            payload: String::from_utf8_lossy(&template.payload).into_owned(),
            start_at: timing.start_at.to_string(),
            run_every: number(timing.run_every_s),
            run_times: number(timing.run_times),
            end_at: timing.end_at.map_or(String::new(), |at| at.to_string()),
            priority: template.priority.map_or(String::new(), |p| p.get().to_string()),
            timeout: template.timeout_s.to_string(),
            cluster: template.cluster.clone(),
            label: template.label.clone().unwrap_or_default(),
            ..Self::empty(app, project).await?
        })
    }
}

#[derive(Template)]
#[template(path = "hud/schedule_new.html")]
struct NewPage {
    shell: Shell,
    fields: Fields,
}

/// `GET /p/{project}/schedules/new?code_name=…`.
pub(super) async fn form(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    query: Query,
) -> Shown {
    let code_name = query.get("code_name").unwrap_or_default().to_owned();
    Ok(show(&NewPage {
        fields: Fields { code_name, ..Fields::empty(&app, project).await? },
        shell: Shell { live: String::new(), ..here.shell(&app, "Schedules", "A new schedule")? },
    }))
}

fn request(form: &Form) -> Result<ScheduleRequest, BadField> {
    Ok(ScheduleRequest {
        code_name: form.text("code_name"),
        payload: Some(form.payload()),
        name: form.text("name"),
        start_at: form.text("start_at"),
        run_every: form.number("run_every")?,
        run_times: form.number("run_times")?,
        end_at: form.text("end_at"),
        priority: form.number("priority")?,
        timeout: form.number("timeout")?,
        cluster: form.text("cluster"),
        label: form.text("label"),
        ..ScheduleRequest::default()
    })
}

/// `POST /p/{project}/schedules/new`.
pub(super) async fn create(State(app): State<Arc<App>>, InProject(project): InProject, form: Form) -> Shown {
    let refs = api::make(&app, project, CreateRequest { schedules: Some(vec![request(&form)?]) }).await?;
    let target = refs.first().map_or(String::new(), |s| format!("/{}", s.id));
    Ok(done(&format!("/p/{project}/schedules{target}"), "Scheduled"))
}

/// What a form with every field in it asks to be changed to.
fn changes(form: &Form) -> Result<ScheduleRequest, BadField> {
    Ok(ScheduleRequest {
        name: form.new_text("name"),
        run_every: form.new_number("run_every")?,
        run_times: form.new_number("run_times")?,
        end_at: form.new_text("end_at"),
        cluster: form.new_text("cluster"),
        label: form.new_text("label"),
        ..request(form)?
    })
}

/// `POST /p/{project}/schedules/{id}`: changes what differs.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
    form: Form,
) -> Shown {
    api::change(&app, project, id, &changes(&form)?).await?;
    Ok(done(&format!("/p/{project}/schedules/{id}"), "Changed"))
}

/// `POST /p/{project}/schedules/{id}/pause`.
pub(super) async fn pause(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
) -> Shown {
    api::set_paused(&app, project, id, true).await?;
    Ok(done(&format!("/p/{project}/schedules/{id}"), "It fires no more until it is resumed"))
}

/// `POST /p/{project}/schedules/{id}/resume`.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
) -> Shown {
    api::set_paused(&app, project, id, false).await?;
    Ok(done(&format!("/p/{project}/schedules/{id}"), "It fires again"))
}

/// `POST /p/{project}/schedules/{id}/cancel`.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
) -> Shown {
    api::end(&app, project, id).await?;
    Ok(done(&format!("/p/{project}/schedules/{id}"), "It fires no more"))
}

/// `POST /p/{project}/schedules/{id}/run`: queues now what it queues at its time; its times stay as they are.
pub(super) async fn run_now(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
) -> Shown {
    let template = app.schedule_of(project, id).await?.template;
    let request = TaskRequest {
        code_name: Text::Is(Names::new(&app).name(template.code).await?),
        payload: Payload(template.payload),
        priority: template.priority.map_or(Number::default(), |p| Number::Is(p.get().into())),
        timeout: Number::Is(template.timeout_s.into()),
        cluster: Text::Is(template.cluster),
        label: template.label.map_or(Text::default(), Text::Is),
        ..TaskRequest::default()
    };
    let order = request.validate(&app.config.limits)?;
    let queued = app.queue(project, Origin::default(), vec![order], Key::default()).await?;
    let target = queued.first().map_or(String::new(), |t| format!("/{}", t.id));
    Ok(done(&format!("/p/{project}/tasks{target}"), "Queued"))
}
