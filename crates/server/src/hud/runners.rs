//! Runners: where tasks run, how busy and how isolated.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use windlass_model::id::RunnerId;
use windlass_model::isolation::Level;
use windlass_model::project::Scope;
use windlass_model::runner::HostLoad;
use windlass_model::wire::more::Runner;

use super::answer::{Shown, done, show};
use super::form::Form;
use super::guard::Here;
use super::shell::Shell;
use super::show::{When, bytes};
use crate::api::params::Id;
use crate::api::runners as api;
use crate::app::App;

/// Runners that are gone, on the page.
const GONE: usize = 20;

#[derive(Template)]
#[template(path = "hud/runners.html")]
struct RunnersPage {
    shell: Shell,
    rows: Vec<RunnerRow>,
    /// What isolation the project demands; empty: any will do.
    demand: &'static str,
    may_drain: bool,
}

struct RunnerRow {
    id: String,
    name: String,
    cluster: String,
    status: String,
    is_draining: bool,
    is_gone: bool,
    running: u32,
    slots: u32,
    load: Option<Load>,
    level: String,
    is_too_weak: bool,
    missing: Vec<String>,
    labels: String,
    version: String,
    started: When,
    seen: When,
}

/// How busy its host is: numbers for a meter, and as people read them.
struct Load {
    millis: u32,
    of_millis: u64,
    shown: String,
    memory: u64,
    of_memory: u64,
    memory_shown: String,
}

impl Load {
    fn new(load: HostLoad) -> Self {
        Self {
            millis: load.load_millis,
            of_millis: u64::from(load.processors) * 1000,
            shown: format!("{:.2} / {}", f64::from(load.load_millis) / 1000.0, load.processors),
            memory: load.memory_used_bytes,
            of_memory: load.memory_bytes,
            memory_shown: format!("{} / {}", bytes(load.memory_used_bytes), bytes(load.memory_bytes)),
        }
    }
}

/// `GET /p/{project}/runners`: those of every project.
pub(super) async fn list(State(app): State<Arc<App>>, here: Here) -> Shown {
    let now = app.now();
    let demand = app.project(here.project()?).map(|project| project.min_isolation).unwrap_or_default();
    let mut gone = 0;
    let mut rows = Vec::new();
    for (record, running) in api::in_order(&app).await? {
        gone += usize::from(record.gone_at.is_some());
        if gone > GONE {
            break;
        }
        let shown = Runner::present(&record, running, api::load(&app, &record));
        rows.push(RunnerRow {
            id: shown.id,
            name: shown.name,
            cluster: shown.cluster,
            is_draining: record.is_draining && record.gone_at.is_none(),
            is_gone: record.gone_at.is_some(),
            status: shown.status,
            running,
            slots: shown.slots,
            load: shown.load.map(Load::new),
            is_too_weak: record.about.isolation.at_least() < demand,
            level: shown.isolation.level,
            missing: shown.isolation.missing,
            labels: shown.labels.join(", "),
            version: shown.version,
            started: When::new(record.started_at, now),
            seen: When::new(record.seen_at, now),
        });
    }
    Ok(show(&RunnersPage {
        rows,
        demand: if demand > Level::default() { demand.as_str() } else { "" },
        may_drain: here.may_everywhere(Scope::Manage),
        shell: here.shell(&app, "Runners", "Runners")?,
    }))
}

/// `POST /p/{project}/runners/{id}/drain`: with `resume`, the other way round.
pub(super) async fn drain(
    State(app): State<Arc<App>>,
    here: Here,
    Id(runner): Id<RunnerId>,
    Form(form): Form,
) -> Shown {
    let drain = !form.flag("resume");
    api::set_draining(&app, runner, drain).await?;
    let said = if drain { "It takes no more tasks" } else { "It takes tasks again" };
    Ok(done(&format!("/p/{}/runners", here.project()?), said))
}
