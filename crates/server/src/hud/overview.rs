//! The overview: how things stand, and what needs a look first.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use windlass_model::code::Code;
use windlass_model::id::{CodeId, ProjectId};
use windlass_model::project::Scope;
use windlass_model::schedule::ScheduleStatus;
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::usage::{Grain, Histogram, UsageBy};
use windlass_store::types::{Counts, TaskQuery};
use windlass_store::usage::{Rollup, UsageOf};

use super::answer::{Shown, show};
use super::chart::{self, Range};
use super::choices::MOST;
use super::guard::Here;
use super::shell::Shell;
use super::show::{When, bytes, count, counted, is_failure, span, span_ms};
use super::tasks::Row;
use crate::api::present::Names;
use crate::app::App;
use crate::auth::InProject;
use crate::error::ApiError;
use crate::query::Query;

/// What "lately" means on this page.
const LATELY: Duration = Duration::from_secs(3600);

/// A schedule that should have fired this long ago is late.
const LATE: Duration = Duration::from_secs(60);

/// Tasks in the lists of the newest.
const NEWEST: usize = 8;

#[derive(Template)]
#[template(path = "hud/overview.html")]
struct OverviewPage {
    shell: Shell,
    figures: Vec<Figure>,
    needs: Vec<Need>,
    codes: Vec<CodeRow>,
    ranges: [(&'static str, bool); 3],
    chart: String,
    sums: Vec<(&'static str, String)>,
    failed: Vec<Row>,
    newest: Vec<Row>,
    is_new: bool,
    upload: String,
}

/// One number that says how things stand.
struct Figure {
    name: &'static str,
    value: String,
    note: String,
    /// Class of its colour.
    tone: &'static str,
    link: String,
}

/// Something that needs a look.
struct Need {
    tone: &'static str,
    text: String,
    link: String,
}

/// A package and what its tasks do.
struct CodeRow {
    id: CodeId,
    name: String,
    is_paused: bool,
    queued: String,
    running: String,
    complete: String,
    failed: String,
    has_failed: bool,
    compute: String,
}

/// `GET /p/{project}`.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    here: Here,
    InProject(project): InProject,
    query: Query,
) -> Shown {
    let now = app.now();
    let range = Range::named(query.get("range"));
    let rollups = app.store.rollups(project, None, range.begin(now), now, range.grain()).await?;
    let steps: Vec<(Timestamp, Rollup)> = rollups.iter().map(|(_, at, rollup)| (*at, *rollup)).collect();
    let last_hour = app.store.rollups(project, None, now - LATELY, now, Grain::Minute).await?;
    let today = app.store.usage(project, now, now, UsageBy::Code).await?;
    let codes = app.store.codes(project, MOST).await?;
    let lanes = app.store.counts(Some(project)).await?;
    let mut rows = Vec::with_capacity(codes.len());
    let all: Counts = lanes.iter().map(|l| &l.counts).sum();
    let mut lately = Counts::default();
    let mut needs = Vec::new();
    for code in &codes {
        let stand = lanes.iter().filter(|l| l.code == code.id).map(|l| &l.counts).sum();
        let ended =
            last_hour.iter().filter(|(of, ..)| *of == code.id).map(|(.., rollup)| &rollup.ended).sum();
        lately += &ended;
        needs.extend(need_of(project, code, &stand, &ended));
        let used = today.iter().find(|(of, _)| *of == UsageOf::Code(code.id)).map(|(_, used)| used.wall_ms);
        rows.push(row(code, &stand, &ended, used.unwrap_or(0)));
    }
    let queued = all.get(Status::Queued);
    let mut figures = vec![
        figure(project, "Queued", queued, "", "queued", "queued"),
        figure(
            project,
            "Running",
            all.get(Status::Running) + all.get(Status::Preparing),
            "",
            "running",
            "running",
        ),
        figure(project, "Complete", lately.get(Status::Complete), "in the last hour", "complete", "complete"),
        Figure {
            link: format!("/p/{project}/tasks?error=1&timeout=1&killed=1"),
            tone: if failures(&lately) > 0 { "error" } else { "plain" },
            ..figure(project, "Failed", failures(&lately), "in the last hour", "error", "error")
        },
    ];
    if here.may_everywhere(Scope::Read) {
        let (slots, busy, live) = slots(&app).await?;
        figures.push(Figure {
            name: "Free slots",
            value: format!("{} / {slots}", slots.saturating_sub(busy)),
            note: counted(live, "runner"),
            tone: "plain",
            link: format!("/p/{project}/runners"),
        });
        if live == 0 && queued > 0 {
            let text = format!("No runner is there, and {} waiting", counted(queued, "task"));
            needs.insert(0, Need { tone: "error", text, link: format!("/p/{project}/runners") });
        }
    }
    needs.extend(late_schedules(&app, project, now).await?);

    let failed = [Status::Error, Status::Timeout, Status::Killed].into_iter().collect();
    let failed = TaskQuery { statuses: failed, ..TaskQuery::of(project, NEWEST) };
    let mut names = Names::new(&app);
    Ok(show(&OverviewPage {
        figures,
        needs,
        codes: rows,
        ranges: Range::ALL.map(|r| (r.name(), r == range)),
        chart: chart::ended(range, &steps, now),
        sums: sums(&steps),
        failed: Row::all(&app, &mut names, &failed).await?,
        newest: Row::all(&app, &mut names, &TaskQuery::of(project, NEWEST)).await?,
        is_new: codes.is_empty(),
        upload: "printf '#!/bin/sh\\necho hello from Windlass\\n' > hello.sh\nwindlass upload hello --file hello.sh --runtime sh\nwindlass queue hello --wait".to_owned(),
        shell: here.shell(&app, "Overview", "Overview")?,
    }))
}

fn failures(counts: &Counts) -> u64 {
    Status::ALL.into_iter().filter(|&s| is_failure(s)).map(|s| counts.get(s)).sum()
}

fn figure(
    project: ProjectId,
    name: &'static str,
    value: u64,
    note: &str,
    tone: &'static str,
    status: &str,
) -> Figure {
    let tone = if value == 0 { "plain" } else { tone };
    Figure {
        name,
        value: count(value),
        note: note.to_owned(),
        tone,
        link: format!("/p/{project}/tasks?{status}=1"),
    }
}

/// What the range comes to, beside what ended.
fn sums(steps: &[(Timestamp, Rollup)]) -> Vec<(&'static str, String)> {
    let mut all = Rollup::default();
    steps.iter().for_each(|(_, step)| all.add(step));
    let times = |histogram: &Histogram| {
        let at =
            |share| histogram.quantile(share).map_or("–".to_owned(), |bound| format!("< {}", span(bound)));
        format!("{} / {}", at(0.5), at(0.95))
    };
    vec![
        ("Ran, p50 / p95", times(&all.ran)),
        ("Waited, p50 / p95", times(&all.waited)),
        ("Compute time", span_ms(all.compute.wall_ms)),
        ("Processor time", span(Duration::from_micros(all.compute.cpu_us))),
        ("Most memory", bytes(all.compute.peak_memory_bytes)),
    ]
}

fn row(code: &Code, stand: &Counts, ended: &Counts, used_ms: u64) -> CodeRow {
    CodeRow {
        id: code.id,
        name: code.name.clone(),
        is_paused: code.is_paused,
        queued: count(stand.get(Status::Queued)),
        running: count(stand.get(Status::Running) + stand.get(Status::Preparing)),
        complete: count(ended.get(Status::Complete)),
        failed: count(failures(ended)),
        has_failed: failures(ended) > 0,
        compute: span_ms(used_ms),
    }
}

fn need_of(project: ProjectId, code: &Code, stand: &Counts, ended: &Counts) -> Vec<Need> {
    let mut needs = Vec::new();
    let (queued, failed) = (stand.get(Status::Queued), failures(ended));
    if failed > 0 {
        let of = failed + ended.get(Status::Complete);
        let text =
            format!("{}: {} of {} failed in the last hour", code.name, count(failed), counted(of, "task"));
        let link = format!(
            "/p/{project}/tasks?code_name={}&error=1&timeout=1&killed=1",
            super::tasks::encoded(&code.name)
        );
        needs.push(Need { tone: "error", text, link });
    }
    if code.is_paused && queued > 0 {
        let text = format!("{} is paused, and {} waiting", code.name, counted(queued, "task"));
        needs.push(Need { tone: "timeout", text, link: format!("/p/{project}/codes/{}", code.id) });
    }
    needs
}

async fn late_schedules(app: &App, project: ProjectId, now: Timestamp) -> Result<Vec<Need>, ApiError> {
    let schedules = app.store.schedules(project, MOST).await?;
    let late = schedules.iter().filter(|s| s.state.status == ScheduleStatus::Scheduled);
    let late = late.filter_map(|s| Some((s, s.state.next_at.filter(|&at| at + LATE < now)?)));
    Ok(late
        .map(|(schedule, at)| Need {
            tone: "error",
            text: format!(
                "Schedule {} should have fired {}",
                super::schedules::name_of(schedule),
                When::new(at, now)
            ),
            link: format!("/p/{project}/schedules/{}", schedule.id),
        })
        .collect())
}

/// Slots, those that are busy, and runners that are there and take tasks.
async fn slots(app: &App) -> Result<(u64, u64, u64), ApiError> {
    let runners = app.store.runners().await?;
    let live = runners.iter().filter(|(r, _)| r.gone_at.is_none() && !r.is_draining);
    Ok(live.fold((0, 0, 0), |(slots, busy, live), (runner, running)| {
        (slots + u64::from(runner.about.slots), busy + u64::from(*running), live + 1)
    }))
}
