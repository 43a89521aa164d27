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
use super::matches::{Meant, has_text};
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
        // The API does not look for a text.
        same: if text.is_empty() { vec![listing(project, &query, &filter)] } else { Vec::new() },
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
    /// What is not known of the number.
    note: String,
    filter: String,
    /// The text that they have; empty: any.
    text: String,
    words: String,
    /// Only those before this one: a part was done; empty: all.
    cursor: String,
}

/// `POST /p/{project}/tasks/cancel`: of those that are ticked, or of everything that the filter means after it was
/// said how much that is. What is too much for one request is done in parts, and asked for again.
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
    let Some(meant) = meant(&app, project, &form, open, |s| !s.is_final()).await? else {
        return Ok(done(&back, "Nothing matches"));
    };
    if !form.flag("sure") {
        return confirm(&app, &here, "cancel", meant, &form, "").await;
    }
    let has = |task: &Task| meant.has(task);
    let (n, rest) = bulk::cancel_all_of(&app, meant.wanted.clone(), has, meant.reach()).await?;
    let said = format!("{} cancelled", counted(n, "task"));
    match rest {
        None => Ok(done(&back, &said)),
        Some(rest) => confirm(&app, &here, "cancel", meant.before(rest), &form, &said).await,
    }
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
    let Some(meant) = meant(&app, project, &form, failed, Status::is_final).await? else {
        return Ok(done(&back, "Nothing matches"));
    };
    if !form.flag("sure") {
        return confirm(&app, &here, "retry", meant, &form, "").await;
    }
    let has = |task: &Task| meant.has(task);
    let (retried, rest) =
        bulk::retry_all_of(&app, meant.wanted.clone(), has, meant.reach(), Origin::default()).await?;
    let said = format!("{} queued again", counted(retried.len() as u64, "task"));
    match rest {
        None => Ok(done(&back, &said)),
        Some(rest) => confirm(&app, &here, "retry", meant.before(rest), &form, &said).await,
    }
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

/// What the filter in a form means, among the statuses that the action can be done to; once a part was done, the rest.
async fn meant(
    app: &App,
    project: ProjectId,
    form: &Query,
    by_default: Statuses,
    may: fn(Status) -> bool,
) -> Result<Option<Meant>, ApiError> {
    let query = Query::parse(form.get("filter").unwrap_or_default());
    let text = query.get("text").unwrap_or_default().to_lowercase();
    let rest = form.id("cursor")?.map(TaskId);
    let wanted = filters::tasks(app, project, &query, by_default).await?;
    Ok(wanted
        .map(|wanted| {
            let statuses =
                Status::ALL.into_iter().filter(|&s| wanted.statuses.contains(s) && may(s)).collect();
            let before = rest.map(TaskId::seq);
            Meant { wanted: TaskQuery { statuses, before, skip: 0, ..wanted }, text, rest }
        })
        .filter(|meant| !meant.wanted.statuses.is_empty()))
}

/// Asks whether it is meant, and says how much it is; with what was `said` of the part that was done.
async fn confirm(
    app: &App,
    here: &Here,
    verb: &'static str,
    meant: Meant,
    form: &Query,
    said: &str,
) -> Shown {
    let wanted = &meant.wanted;
    let statuses: Vec<_> =
        Status::ALL.into_iter().filter(|&s| wanted.statuses.contains(s)).map(Status::as_str).collect();
    let number = meant.number(app).await?;
    let filter = form.get("filter").unwrap_or_default();
    if !said.is_empty() && number.is_none() {
        return Ok(done(&format!("/p/{}/tasks?{filter}", here.project()?), said));
    }
    Ok(show(&BulkPage {
        verb,
        number: number.words(),
        note: number.note(),
        text: Query::parse(filter).get("text").unwrap_or_default().to_owned(),
        filter: filter.to_owned(),
        words: statuses.join(", "),
        cursor: meant.rest.map_or(String::new(), |id| id.to_string()),
        shell: Shell {
            live: String::new(),
            said: said.to_owned(),
            ..here.shell(app, "Tasks", "Are you sure?")?
        },
    }))
}
