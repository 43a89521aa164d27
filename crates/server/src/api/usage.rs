//! Compute time of a project.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use windlass_model::id::CodeId;
use windlass_model::time::Timestamp;
use windlass_model::usage::{ComputeTime, UsageBy, day};
use windlass_model::wire::BadField;
use windlass_model::wire::usage::{UsageReport, UsageRow};
use windlass_store::usage::UsageOf;

use crate::app::App;
use crate::auth::InProject;
use crate::error::{Answer, ApiError, json};
use crate::query::Query;

/// Query parameters, for the API document.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("by", "`code`, `schedule` or `day`; `code` if absent"),
    ("from", "a time in the first day, in seconds since the epoch; a week before `to` if absent"),
    ("to", "a time in the last day; now if absent"),
];

/// Most rows of an answer.
const MOST: usize = 1000;

/// `GET P/usage`.
pub async fn read(State(app): State<Arc<App>>, InProject(project): InProject, query: Query) -> Answer {
    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    let by = match query.get("by") {
        None => UsageBy::Code,
        Some(by) => by.parse().map_err(|_| BadField::invalid("by", "must be code, schedule or day"))?,
    };
    let to = query.seconds("to")?.unwrap_or_else(|| app.now());
    let from = query.seconds("from")?.unwrap_or(to - WEEK);
    let mut sums = app.store.usage(project, from, to, by).await?;
    let total = match by {
        UsageBy::Code | UsageBy::Day => sum(&sums),
        UsageBy::Schedule => sum(&app.store.usage(project, from, to, UsageBy::Day).await?),
    };
    if by != UsageBy::Day {
        sums.sort_by_key(|(_, used)| Reverse(used.wall_ms));
        sums.truncate(MOST);
    }
    let mut usage = Vec::with_capacity(sums.len());
    for (of, used) in sums {
        usage.push(row(&app, of, used).await?);
    }
    let (first, after) = (start_of(day(from)), start_of(day(to).saturating_add(1)));
    Ok(json(&UsageReport {
        by: by.as_str().to_owned(),
        from: first.into(),
        to: after.into(),
        usage,
        total: total.into(),
    }))
}

fn sum(sums: &[(UsageOf, ComputeTime)]) -> ComputeTime {
    sums.iter().fold(ComputeTime::default(), |mut sum, (_, used)| {
        sum.add(used);
        sum
    })
}

fn start_of(day: i64) -> Timestamp {
    Timestamp::from_millis(day.saturating_mul(86_400_000))
}

async fn row(app: &App, of: UsageOf, used: ComputeTime) -> Result<UsageRow, ApiError> {
    let mut row = UsageRow {
        code_id: None,
        code_name: None,
        schedule_id: None,
        schedule_name: None,
        day: None,
        used: used.into(),
    };
    match of {
        UsageOf::Day(day) => row.day = Some(start_of(day).to_string()[..10].to_owned()),
        UsageOf::Code(code) => (row.code_id, row.code_name) = (Some(code), name(app, code).await?),
        UsageOf::Schedule(code, schedule) => {
            (row.code_id, row.code_name) = (Some(code), name(app, code).await?);
            row.schedule_id = Some(schedule);
            row.schedule_name = app.store.schedule(schedule).await?.map(|schedule| schedule.name);
        }
    }
    Ok(row)
}

async fn name(app: &App, code: CodeId) -> Result<Option<String>, ApiError> {
    Ok(app.store.code(code).await?.map(|code| code.name))
}
