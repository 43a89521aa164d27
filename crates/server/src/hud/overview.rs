//! The overview: how things stand, how they went, and what needs a look first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use windlass_model::code::Code;
use windlass_model::id::{CodeId, ProjectId};
use windlass_model::project::Scope;
use windlass_model::runner::RunnerRecord;
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::usage::{Grain, Histogram};
use windlass_store::types::{Counts, TaskQuery, counts_of};
use windlass_store::usage::Rollup;

use super::answer::{Shown, show};
use super::chart::{self, Bars, Part};
use super::choices::MOST;
use super::guard::Here;
use super::needs::{self, Need};
use super::range::Range;
use super::shell::Shell;
use super::show::{bytes, count, counted, failures, rough, span, span_ms};
use super::tasks::Row;
use crate::api::present::Names;
use crate::app::App;
use crate::auth::InProject;
use crate::query::Query;

/// What "lately" means on this page.
const LATELY: Duration = Duration::from_secs(3600);

/// Tasks in the lists of the newest.
const NEWEST: usize = 8;

#[derive(Template)]
#[template(path = "hud/overview.html")]
struct OverviewPage {
    shell: Shell,
    figures: Vec<Figure>,
    needs: Vec<Need>,
    codes: Vec<CodeRow>,
    range: &'static str,
    ranges: [(&'static str, bool); 3],
    ended: String,
    depth: String,
    sums: Vec<(&'static str, String)>,
    failed: Vec<Row>,
    newest: Vec<Row>,
    is_new: bool,
    upload: &'static str,
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

/// A package, how it stands and what it did in the range.
struct CodeRow {
    id: CodeId,
    name: String,
    is_paused: bool,
    queued: String,
    running: String,
    complete: String,
    failed: String,
    has_failed: bool,
    ran: String,
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
    let steps = app.store.rollups(project, None, range.begin(now), now, range.grain()).await?;
    let last_hour = app.store.rollups(project, None, now - LATELY, now, Grain::Minute).await?;
    let (past, lately) = (by_code(&steps), by_code(&last_hour));
    let codes = app.store.codes(project, MOST).await?;
    let lanes = app.store.counts(Some(project)).await?;
    let oldest = app.store.oldest_ready(Some(project)).await?;
    let runners = match here.may_everywhere(Scope::Read) {
        true => Some(app.store.runners().await?),
        false => None,
    };

    let stand: Counts = lanes.iter().map(|l| &l.counts).sum();
    let queued = stand.get(Status::Queued);
    let mut needs = Vec::new();
    if let Some(runners) = &runners {
        needs.extend(needs::of_runners(project, runners, queued, (app.config.lease_ttl, LATELY), now));
    }
    needs.extend(needs::of_schedules(project, &app.store.schedules(project, MOST).await?, now));
    let mut rows = Vec::with_capacity(codes.len());
    for code in &codes {
        let stand = counts_of(&lanes, code.id);
        let of = |sums: &HashMap<CodeId, Rollup>| sums.get(&code.id).copied().unwrap_or_default();
        needs.extend(needs::of_code(project, code, &stand, &of(&lately).ended));
        rows.push(row(code, &stand, &of(&past)));
    }

    let waiting = oldest.map(|at| format!("the oldest for {}", rough(now.since(at))));
    let lately = lately.values().map(|rollup| &rollup.ended).sum();
    let failed = [Status::Error, Status::Timeout, Status::Killed].into_iter().collect();
    let failed = TaskQuery { statuses: failed, ..TaskQuery::of(project, NEWEST) };
    let mut names = Names::new(&app);
    Ok(show(&OverviewPage {
        figures: figures(
            project,
            &stand,
            &lately,
            waiting.as_deref().unwrap_or_default(),
            runners.as_deref(),
        ),
        needs,
        codes: rows,
        range: range.name(),
        ranges: Range::ALL.map(|r| (r.name(), r == range)),
        ended: ended(range, &steps, now),
        depth: depth(range, &steps, queued, now),
        sums: sums(&steps),
        failed: Row::all(&app, &mut names, &failed).await?,
        newest: Row::all(&app, &mut names, &TaskQuery::of(project, NEWEST)).await?,
        is_new: codes.is_empty(),
        upload: "printf '#!/bin/sh\\necho hello from Windlass\\n' > hello.sh\nwindlass upload hello --file hello.sh --runtime sh\nwindlass queue hello --wait",
        shell: here.shell(&app, "Overview", "Overview")?,
    }))
}

type Steps = [(CodeId, Timestamp, Rollup)];

fn by_code(steps: &Steps) -> HashMap<CodeId, Rollup> {
    let mut sums: HashMap<CodeId, Rollup> = HashMap::new();
    steps.iter().for_each(|(code, _, rollup)| sums.entry(*code).or_default().add(rollup));
    sums
}

fn running(counts: &Counts) -> u64 {
    counts.get(Status::Running) + counts.get(Status::Preparing)
}

fn figures(
    project: ProjectId,
    stand: &Counts,
    lately: &Counts,
    waiting: &str,
    runners: Option<&[(RunnerRecord, u32)]>,
) -> Vec<Figure> {
    let of = |name, value: u64, note: &str, tone, filter: &str| Figure {
        name,
        value: count(value),
        note: note.to_owned(),
        tone: if value == 0 { "plain" } else { tone },
        link: format!("/p/{project}/tasks?{filter}"),
    };
    let hour = "in the last hour";
    let mut figures = vec![
        of("Queued", stand.get(Status::Queued), waiting, "queued", "queued=1"),
        of("Running", running(stand), "", "running", "running=1&preparing=1"),
        of("Complete", lately.get(Status::Complete), hour, "complete", "complete=1"),
        of("Failed", failures(lately), hour, "error", "error=1&timeout=1&killed=1"),
    ];
    figures.extend(runners.map(|runners| {
        let live = || runners.iter().filter(|(r, _)| r.gone_at.is_none() && !r.is_draining);
        let slots: u32 = live().map(|(runner, _)| runner.about.slots).sum();
        let busy: u32 = live().map(|(_, running)| running).sum();
        Figure {
            name: "Free slots",
            value: format!("{} / {slots}", slots.saturating_sub(busy)),
            note: counted(live().count() as u64, "runner"),
            tone: "plain",
            link: format!("/p/{project}/runners"),
        }
    }));
    figures
}

fn row(code: &Code, stand: &Counts, past: &Rollup) -> CodeRow {
    CodeRow {
        id: code.id,
        name: code.name.clone(),
        is_paused: code.is_paused,
        queued: count(stand.get(Status::Queued)),
        running: count(running(stand)),
        complete: count(past.ended.get(Status::Complete)),
        failed: count(failures(&past.ended)),
        has_failed: failures(&past.ended) > 0,
        ran: times(&past.ran),
        compute: span_ms(past.compute.wall_ms),
    }
}

/// What ended over the range.
fn ended(range: Range, steps: &Steps, now: Timestamp) -> String {
    let begins = range.begins(now);
    let mut bars = vec![[0; 3]; begins.len()];
    for (_, at, rollup) in steps {
        let Some(bar) = range.bar(*at, now).and_then(|at| bars.get_mut(at)) else { continue };
        bar[0] += failures(&rollup.ended);
        bar[1] += rollup.ended.get(Status::Cancelled);
        bar[2] += rollup.ended.get(Status::Complete);
    }
    chart::draw(&Bars {
        what: &format!("Tasks that ended in the last {}", range.name()),
        parts: [
            Part { name: "failed", class: "failed" },
            Part { name: "cancelled", class: "other" },
            Part { name: "complete", class: "good" },
        ],
        begins: &begins,
        bars: &bars,
        notes: &[],
        height: 96,
        most_when: "",
        end: "now",
    })
}

/// How many tasks were queued at the end of each bar: as many as now, less what they rose by since.
fn depth(range: Range, steps: &Steps, queued: u64, now: Timestamp) -> String {
    let begins = range.begins(now);
    let mut rises = vec![0; begins.len()];
    for (_, at, rollup) in steps {
        if let Some(rise) = range.bar(*at, now).and_then(|at| rises.get_mut(at)) {
            *rise += rollup.queued;
        }
    }
    let mut depth = queued as i64;
    let mut bars = vec![[0]; begins.len()];
    for (bar, rise) in bars.iter_mut().zip(rises).rev() {
        *bar = [u64::try_from(depth).unwrap_or(0)];
        depth -= rise;
    }
    chart::draw(&Bars {
        // What came and went within a bar is in none: only the difference is kept.
        what: &format!("Tasks that were queued at the end of each bar, in the last {}", range.name()),
        parts: [Part { name: "queued", class: "waits" }],
        begins: &begins,
        bars: &bars,
        notes: &[],
        height: 48,
        most_when: " at the end of a bar",
        end: "now",
    })
}

fn times(histogram: &Histogram) -> String {
    let at = |share| histogram.quantile(share).map_or("–".to_owned(), |bound| format!("< {}", span(bound)));
    format!("{} / {}", at(0.5), at(0.95))
}

/// What the range comes to, beside what ended.
fn sums(steps: &Steps) -> Vec<(&'static str, String)> {
    let mut all = Rollup::default();
    steps.iter().for_each(|(.., step)| all.add(step));
    vec![
        ("Ran, p50 / p95", times(&all.ran)),
        ("Waited, p50 / p95", times(&all.waited)),
        ("Compute time", span_ms(all.compute.wall_ms)),
        ("Processor time", span(Duration::from_micros(all.compute.cpu_us))),
        ("Most memory", bytes(all.compute.peak_memory_bytes)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::id::Seq;

    #[test]
    fn the_queue_was_what_it_is_less_what_it_rose_by() {
        let now = Timestamp::from_secs(86_400 * 100 + 30);
        let step = |minutes_ago: u64, queued| {
            let at = now - Duration::from_secs(30 + 60 * minutes_ago);
            (CodeId::new(Seq(1), 0), at, Rollup { queued, ..Rollup::default() })
        };
        let svg = depth(Range::Hour, &[step(2, 5), step(1, -2), step(0, 3)], 10, now);
        for said in [
            "04-10 23:57 UTC: 4 queued",
            "23:58 UTC: 9 queued",
            "23:59 UTC: 7 queued",
            "00:00 UTC: 10 queued",
        ] {
            assert!(svg.contains(said), "{said} in {svg}");
        }
    }
}
