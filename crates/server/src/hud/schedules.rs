//! Schedules: the list with what comes next, one with what it did, and the form that makes or changes one.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use windlass_model::id::{ProjectId, ScheduleId};
use windlass_model::schedule::{Schedule, ScheduleStatus, first_grid_point_after};
use windlass_model::time::Timestamp;
use windlass_model::wire::BadField;
use windlass_model::wire::lenient::{Number, Payload, Text};
use windlass_model::wire::schedules::{CreateRequest, ScheduleRequest};
use windlass_model::wire::tasks::TaskRequest;
use windlass_store::types::TaskQuery;

use super::answer::{Shown, done, show};
use super::choices::{MOST, code_names};
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

#[derive(Template)]
#[template(path = "hud/schedules.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<ListRow>,
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
}

/// `GET /p/{project}/schedules`.
pub(super) async fn list(State(app): State<Arc<App>>, here: Here, InProject(project): InProject) -> Shown {
    let now = app.now();
    let mut schedules = app.store.schedules(project, MOST).await?;
    // Those that fire, the next one first; then the others as they are.
    schedules.sort_by_key(|s| s.state.next_at.map_or(i64::MAX, Timestamp::as_millis));
    let mut names = Names::new(&app);
    let mut rows = Vec::with_capacity(schedules.len());
    for schedule in &schedules {
        rows.push(ListRow {
            id: schedule.id,
            name: name_of(schedule),
            code_name: names.name(schedule.template.code).await?,
            status: status(schedule),
            every: every(schedule),
            next: schedule.state.next_at.map(|at| When::new(at, now)),
            last: schedule.state.last_run_at.map(|at| When::new(at, now)),
            runs: runs(schedule),
        });
    }
    Ok(show(&ListPage { rows, shell: here.shell(&app, "Schedules", "Schedules")? }))
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
        is_over: schedule.state.status != ScheduleStatus::Scheduled,
        msg: schedule.state.msg.clone(),
        facts: facts.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        ahead: ahead(&schedule).into_iter().map(|at| When::new(at, now)).collect(),
        payload: payload::content(&template.payload, false),
        rows: Row::all(&app, &mut names, &tasks).await?,
        fields: Fields::of(&app, project, &schedule, &code_name).await?,
        same: same(project, &schedule, &code_name),
        shell: here.shell(&app, "Schedules", &name_of(&schedule))?,
        code_name,
    }))
}

/// The next firings.
fn ahead(schedule: &Schedule) -> Vec<Timestamp> {
    let timing = &schedule.timing;
    let left =
        timing.run_times.map_or(AHEAD, |most| (most.saturating_sub(schedule.state.run_count)) as usize);
    std::iter::successors(schedule.state.next_at, |&at| first_grid_point_after(timing, at))
        .take_while(|&at| timing.end_at.is_none_or(|end| at <= end))
        .take(left.min(AHEAD))
        .collect()
}

fn same(project: ProjectId, schedule: &Schedule, code_name: &str) -> Vec<Same> {
    let id = schedule.id;
    let mut same = Vec::new();
    if let Some(every) = schedule.timing.run_every_s {
        let body =
            serde_json::json!({ "schedules": [{ "code_name": code_name, "run_every": every }] }).to_string();
        let cli = format!("windlass schedule create {} --every {every}s", quoted(code_name));
        same.push(Same::new("Make one like it", cli, "POST", project, "/schedules", Some(&body)));
    }
    if schedule.state.status == ScheduleStatus::Scheduled {
        let path = format!("/schedules/{id}/cancel");
        same.push(Same::new(
            "End it",
            format!("windlass schedule cancel {id}"),
            "POST",
            project,
            &path,
            None,
        ));
    }
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

/// `POST /p/{project}/schedules/{id}`: changes what differs.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
    form: Form,
) -> Shown {
    api::change(&app, project, id, &request(&form)?).await?;
    Ok(done(&format!("/p/{project}/schedules/{id}"), "Changed"))
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
