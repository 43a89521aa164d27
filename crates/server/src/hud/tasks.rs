//! The list of tasks: filters, pages, and what can be done to many at once.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use windlass_model::id::{CodeId, ProjectId, TaskId};
use windlass_model::project::Scope;
use windlass_model::task::{Status, Task};
use windlass_model::time::Timestamp;
use windlass_model::wire::BadField;
use windlass_store::types::{Cancelled, Counts, Statuses, TaskQuery};

use super::answer::{Shown, done, show};
use super::choices::code_names;
use super::form::Form;
use super::guard::Here;
use super::matches;
use super::payload;
use super::same::{Same, quoted};
use super::shell::Shell;
use super::show::{When, count, counted, line, span};
use crate::api::present::Names;
use crate::api::queueing::Origin;
use crate::api::{bulk, filters};
use crate::app::App;
use crate::auth::InProject;
use crate::error::ApiError;
use crate::query::Query;

/// Rows on a page.
const PER_PAGE: usize = 50;

/// Tasks that one page looks through for a text.
const LOOKED_THROUGH: usize = 2_000;

/// Tasks that are ticked by a page or, in a form of one's own, by hand.
const MOST_TICKED: usize = 1_000;

/// The filters that a page hands on, beside the statuses.
const FIELDS: [&str; 7] =
    ["code_name", "label", "cluster", "schedule_id", "parent_id", "from_time", "to_time"];

#[derive(Template)]
#[template(path = "hud/tasks.html")]
struct TasksPage {
    shell: Shell,
    statuses: Vec<StatusBox>,
    codes: Vec<Choice>,
    filter: Filter,
    rows: Vec<Row>,
    /// Where the next page begins; empty on the last one.
    older: String,
    /// What a search did not look through, in words.
    note: String,
    is_filtered: bool,
    same: Vec<Same>,
}

struct StatusBox {
    status: &'static str,
    is_on: bool,
    count: String,
}

struct Choice {
    name: String,
    is_chosen: bool,
}

/// The filters as they were asked for.
#[derive(Default)]
struct Filter {
    label: String,
    cluster: String,
    schedule: String,
    /// As a browser's field for a time has it, in UTC.
    from: String,
    to: String,
    text: String,
    /// All of it as a query string, without the page.
    query: String,
}

/// A task in a list.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: TaskId,
    pub(super) status: &'static str,
    pub(super) code: CodeId,
    pub(super) code_name: String,
    pub(super) created: When,
    pub(super) took: String,
    /// What is worth a line: the message, else the payload.
    pub(super) text: String,
    pub(super) is_payload: bool,
    pub(super) label: String,
    pub(super) percent: u8,
    pub(super) attempts: u32,
}

impl Row {
    async fn new(app: &App, names: &mut Names<'_>, task: &Task) -> Result<Self, ApiError> {
        let now = app.now();
        let (new, state) = (&task.new, &task.state);
        let took = state.started_at.map(|from| state.ended_at.unwrap_or(now).since(from));
        let is_payload = state.msg.is_empty();
        let text = if is_payload { payload::in_list(&new.payload) } else { state.msg.clone() };
        Ok(Self {
            id: new.id,
            status: state.status.as_str(),
            code: new.code,
            code_name: names.name(new.code).await?,
            created: When::new(new.created_at, now),
            took: took.map_or(String::new(), span),
            text: line(&text, 120),
            is_payload,
            label: new.label.clone().unwrap_or_default(),
            percent: if state.status == Status::Running { state.percent } else { 0 },
            attempts: state.attempts,
        })
    }

    /// The rows of a query.
    pub(super) async fn all(
        app: &App,
        names: &mut Names<'_>,
        query: &TaskQuery,
    ) -> Result<Vec<Row>, ApiError> {
        let mut rows = Vec::new();
        for task in &app.store.tasks(query).await? {
            rows.push(Row::new(app, names, task).await?);
        }
        Ok(rows)
    }
}

/// `GET /p/{project}/tasks`.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    query: Query,
) -> Shown {
    let query = with_times(query)?;
    let wanted = filters::tasks(&app, project, &query, Statuses::ALL).await?;
    let text = query.get("text").unwrap_or_default().to_lowercase();
    let found = match wanted {
        Some(wanted) => {
            let may_reveal = here.may(Scope::Manage);
            find(&app, TaskQuery { limit: PER_PAGE, ..wanted }, &text, may_reveal).await?
        }
        None => Found::default(),
    };
    let mut names = Names::new(&app);
    let mut rows = Vec::with_capacity(found.tasks.len());
    for task in &found.tasks {
        rows.push(Row::new(&app, &mut names, task).await?);
    }
    let filter = Filter::of(&query);
    let chosen = query.get("code_name");
    let codes = code_names(&app, project).await?;
    let lanes = app.store.counts(Some(project)).await?;
    let all: Counts = lanes.iter().map(|l| &l.counts).sum();
    let statuses = Status::ALL.map(|status| StatusBox {
        status: status.as_str(),
        is_on: query.flag(status.as_str()),
        count: count(all.get(status)),
    });
    let note = match found.cursor {
        Some(_) if !text.is_empty() && rows.len() < PER_PAGE => {
            format!("Looked through {}; older ones may match, too.", counted(found.seen as u64, "task"))
        }
        _ => String::new(),
    };
    let older = found.cursor.map_or(String::new(), |cursor| {
        let join = if filter.query.is_empty() { "" } else { "&" };
        format!("/p/{project}/tasks?{}{join}cursor={cursor}", filter.query)
    });
    Ok(show(&TasksPage {
        statuses: statuses.into(),
        codes: codes
            .into_iter()
            .map(|name| Choice { is_chosen: Some(name.as_str()) == chosen, name })
            .collect(),
        same: vec![listing(project, &query, &filter)],
        is_filtered: !filter.query.is_empty(),
        filter,
        rows,
        older,
        note,
        shell: here.shell(&app, "Tasks", "Tasks")?,
    }))
}

/// The query with the times of the form, which are minutes in UTC, as the API has them.
fn with_times(mut query: Query) -> Result<Query, BadField> {
    for (field, key, seconds) in [("from", "from_time", 0), ("to", "to_time", 59)] {
        let Some(text) = query.get(field) else { continue };
        let minute = format!("{text}:00Z").parse::<Timestamp>();
        let minute =
            minute.map_err(|_| BadField::invalid(field, "must be a time such as 2026-01-31T12:00"))?;
        query.set_default(key, (minute.as_millis() / 1000 + seconds).to_string());
    }
    Ok(query)
}

/// Seconds since the epoch as such a time.
fn minute_of(seconds: Option<&str>) -> String {
    let at = seconds.and_then(|text| text.parse().ok()).map(|s| Timestamp::from_secs(s).to_string());
    at.as_deref().and_then(|text| text.get(..16)).unwrap_or_default().to_owned()
}

#[derive(Default)]
struct Found {
    tasks: Vec<Task>,
    /// Where to go on.
    cursor: Option<TaskId>,
    /// Tasks that were looked at.
    seen: usize,
}

/// The tasks of a page; with a text, those that have it in payload, message or label.
async fn find(app: &App, mut wanted: TaskQuery, text: &str, may_reveal: bool) -> Result<Found, ApiError> {
    let limit = wanted.limit;
    let mut found = Found::default();
    wanted.limit = if text.is_empty() { limit + 1 } else { 1_000 };
    loop {
        let tasks = app.store.tasks(&wanted).await?;
        let is_last = tasks.len() < wanted.limit;
        for task in tasks {
            if found.tasks.len() == limit {
                return Ok(found);
            }
            found.seen += 1;
            found.cursor = Some(task.new.id);
            if text.is_empty() || has_text(&task, text, may_reveal) {
                found.tasks.push(task);
            }
        }
        if is_last {
            found.cursor = None;
            return Ok(found);
        }
        if found.seen >= LOOKED_THROUGH {
            return Ok(found);
        }
        wanted.before = found.cursor.map(TaskId::seq);
        wanted.skip = 0;
    }
}

fn has_text(task: &Task, text: &str, may_reveal: bool) -> bool {
    let has = |within: &str| within.to_lowercase().contains(text);
    has(&task.state.msg)
        || task.new.label.as_deref().is_some_and(has)
        || task.new.id.to_string() == text
        || payload::has_text(&task.new.payload, text, may_reveal)
}

impl Filter {
    fn of(query: &Query) -> Self {
        let text = |key: &str| query.get(key).unwrap_or_default().to_owned();
        let statuses =
            Status::ALL.into_iter().map(Status::as_str).filter(|s| query.flag(s)).map(|s| format!("{s}=1"));
        let fields = FIELDS.into_iter().chain(["text"]);
        let fields = fields.filter_map(|key| Some(format!("{key}={}", encoded(query.get(key)?))));
        Self {
            label: text("label"),
            cluster: text("cluster"),
            schedule: text("schedule_id"),
            from: minute_of(query.get("from_time")),
            to: minute_of(query.get("to_time")),
            text: text("text"),
            query: statuses.chain(fields).collect::<Vec<_>>().join("&"),
        }
    }
}

fn listing(project: ProjectId, query: &Query, filter: &Filter) -> Same {
    let mut cli = "windlass tasks".to_owned();
    for status in Status::ALL.into_iter().filter(|s| query.flag(s.as_str())) {
        cli.push_str(&format!(" --status {status}"));
    }
    for (key, flag) in [("code_name", "--code"), ("label", "--label"), ("cluster", "--cluster")] {
        if let Some(value) = query.get(key) {
            cli.push_str(&format!(" {flag} {}", quoted(value)));
        }
    }
    let path = if filter.query.is_empty() { "/tasks".to_owned() } else { format!("/tasks?{}", filter.query) };
    Same::new("List these", cli, "GET", project, &path, None)
}

/// A value in a query string.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[derive(Template)]
#[template(path = "hud/bulk.html")]
struct BulkPage {
    shell: Shell,
    /// `cancel` or `retry`.
    verb: &'static str,
    number: String,
    filter: String,
    words: String,
}

/// `POST /p/{project}/tasks/cancel`: of those that are ticked, or of everything that the filter means after it was
/// said how much that is.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Form(form): Form,
) -> Shown {
    let back = format!("/p/{project}/tasks?{}", form.get("filter").unwrap_or_default());
    if !form.flag("all") {
        let ids = ticked(&app, project, &form).await?;
        let outcomes = app.store.cancel_unless_final(&ids, app.now()).await?;
        let n = outcomes.iter().filter(|c| matches!(c, Cancelled::AtOnce | Cancelled::Requested)).count();
        return Ok(done(&back, &format!("{} cancelled", counted(n as u64, "task"))));
    }
    let open: Statuses = [Status::Queued, Status::Preparing, Status::Running].into_iter().collect();
    let Some(wanted) = meant(&app, project, &form, open, |s| !s.is_final()).await? else {
        return Ok(done(&back, "Nothing matches"));
    };
    if !form.flag("sure") {
        return confirm(&app, &here, "cancel", &wanted, &form).await;
    }
    let n = bulk::cancel_all_of(&app, wanted).await?;
    Ok(done(&back, &format!("{} cancelled", counted(n, "task"))))
}

/// `POST /p/{project}/tasks/retry`: likewise.
pub(super) async fn retry(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    Form(form): Form,
) -> Shown {
    let back = format!("/p/{project}/tasks?{}", form.get("filter").unwrap_or_default());
    if !form.flag("all") {
        let mut old = Vec::new();
        for id in ticked(&app, project, &form).await? {
            old.extend(app.store.task(id).await?.filter(|t| t.state.status.is_final()));
        }
        let n = bulk::retry_these(&app, project, old, Origin::default()).await?.len();
        return Ok(done(&back, &format!("{} queued again", counted(n as u64, "task"))));
    }
    let failed: Statuses = [Status::Error, Status::Timeout, Status::Killed].into_iter().collect();
    let Some(wanted) = meant(&app, project, &form, failed, Status::is_final).await? else {
        return Ok(done(&back, "Nothing matches"));
    };
    if !form.flag("sure") {
        return confirm(&app, &here, "retry", &wanted, &form).await;
    }
    let (retried, rest) = bulk::retry_all_of(&app, project, wanted, Origin::default()).await?;
    let more = if rest.is_some() { "; there are more: do it again for the next" } else { "" };
    Ok(done(&back, &format!("{} queued again{more}", counted(retried.len() as u64, "task"))))
}

async fn ticked(app: &App, project: ProjectId, form: &Query) -> Result<Vec<TaskId>, ApiError> {
    let mut ids = Vec::new();
    if form.all("id").count() > MOST_TICKED {
        return Err(ApiError::bad_request(format!("id: at most {MOST_TICKED} tasks can be ticked at once")));
    }
    for id in form.all("id").filter_map(|id| id.parse().ok()) {
        app.task_of(project, id).await?;
        ids.push(id);
    }
    Ok(ids)
}

/// What the filter in a form means, among the statuses that the action can be done to.
async fn meant(
    app: &App,
    project: ProjectId,
    form: &Query,
    by_default: Statuses,
    may: fn(Status) -> bool,
) -> Result<Option<TaskQuery>, ApiError> {
    let query = Query::parse(form.get("filter").unwrap_or_default());
    if query.get("text").is_some() {
        let msg = "a text cannot be a filter of what is changed: tick the tasks, or take the text away";
        return Err(ApiError::bad_request(msg));
    }
    let wanted = filters::tasks(app, project, &query, by_default).await?;
    Ok(wanted
        .map(|wanted| {
            let statuses =
                Status::ALL.into_iter().filter(|&s| wanted.statuses.contains(s) && may(s)).collect();
            TaskQuery { statuses, before: None, skip: 0, ..wanted }
        })
        .filter(|wanted| !wanted.statuses.is_empty()))
}

async fn confirm(app: &App, here: &Here, verb: &'static str, wanted: &TaskQuery, form: &Query) -> Shown {
    let statuses: Vec<_> =
        Status::ALL.into_iter().filter(|&s| wanted.statuses.contains(s)).map(Status::as_str).collect();
    let filter = form.get("filter").unwrap_or_default().to_owned();
    Ok(show(&BulkPage {
        verb,
        number: matches::number(app, wanted).await?,
        filter,
        words: statuses.join(", "),
        shell: Shell { live: String::new(), ..here.shell(app, "Tasks", "Are you sure?")? },
    }))
}
