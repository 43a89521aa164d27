//! Schedules: make, list, read, change, pause, cancel.

use std::sync::Arc;

use axum::extract::State;
use windlass_model::id::{ProjectId, ScheduleId};
use windlass_model::schedule::{Schedule, ScheduleState, ScheduleStatus};
use windlass_model::time::Timestamp;
use windlass_model::wire::BadField;
use windlass_model::wire::schedules::{
    CreateRequest, Schedule as Shown, ScheduleList, ScheduleRef, ScheduleRequest, Scheduled,
};

use super::params::Id;
use crate::app::App;
use crate::auth::InProject;
use crate::body::{Ignored, Json, TypedJson};
use crate::error::{Answer, ApiError, json, said};
use crate::query::Query;

/// Times that a change is tried again because a firing came in between.
const TRIES: usize = 8;

/// `POST P/schedules`: all or none.
pub async fn create(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    TypedJson(request, _hold): TypedJson<CreateRequest>,
) -> Answer {
    let schedules = make(&app, project, request).await?;
    Ok(json(&Scheduled { msg: "Scheduled".to_owned(), schedules }))
}

/// Makes the schedules, all or none; their ids in the order asked for.
pub(crate) async fn make(
    app: &App,
    project: ProjectId,
    request: CreateRequest,
) -> Result<Vec<ScheduleRef>, ApiError> {
    let limits = &app.config.limits;
    let asked = request.schedules.ok_or_else(|| BadField::missing("schedules"))?;
    if asked.is_empty() || asked.len() > limits.tasks_per_request {
        let problem = format!("must have 1 to {} schedules, has {}", limits.tasks_per_request, asked.len());
        return Err(BadField::invalid("schedules", problem).into());
    }
    let now = app.now();
    let mut schedules = Vec::with_capacity(asked.len());
    for (n, one) in asked.into_iter().enumerate() {
        let within = format!("schedules[{n}]");
        let order = one.validate(limits, now).map_err(|e| e.within(&within))?;
        let code = app.code_named(project, &order.code_name, &format!("{within}.code_name")).await?;
        let (seq, tag) = app.ids.mint(now);
        let mut template = order.parts.of(code.id);
        template.cluster = app.clusters.name_of(template.cluster);
        schedules.push(Schedule {
            id: ScheduleId::new(seq, tag),
            project,
            name: order.name,
            state: ScheduleState::first(&order.timing),
            timing: order.timing,
            template,
            created_at: now,
            updated_at: now,
        });
    }
    let refs = schedules.iter().map(|s| ScheduleRef { id: s.id }).collect();
    app.store.create_schedules(schedules, limits.schedules_per_project).await?;
    Ok(refs)
}

/// `GET P/schedules`.
pub async fn list(State(app): State<Arc<App>>, InProject(project): InProject, query: Query) -> Answer {
    let found = app.store.schedules(project, query.page()).await?;
    let mut schedules = Vec::with_capacity(found.len());
    for schedule in &found {
        schedules.push(present(&app, schedule).await?);
    }
    Ok(json(&ScheduleList { schedules }))
}

/// `GET P/schedules/{id}`.
pub async fn read(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
) -> Answer {
    let schedule = app.schedule_of(project, id).await?;
    Ok(json(&present(&app, &schedule).await?))
}

async fn present(app: &App, schedule: &Schedule) -> Result<Shown, ApiError> {
    // From the store's memory, also for a package that was deleted.
    let code = app.store.code(schedule.template.code).await?;
    Ok(Shown::present(schedule, code.as_ref().map_or("", |c| c.name.as_str())))
}

/// `PUT P/schedules/{id}`: changes the fields that are given. One that was cancelled cannot be changed, which would
/// read as if it ran again; one that has run for the last time runs again if its timing is changed so that it can.
pub async fn update(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
    Json(request, _hold): Json<ScheduleRequest>,
) -> Answer {
    change(&app, project, id, &request).await?;
    Ok(said("Updated"))
}

/// Changes the fields that the request has, whatever fires in between.
pub(crate) async fn change(
    app: &App,
    project: ProjectId,
    id: ScheduleId,
    request: &ScheduleRequest,
) -> Result<(), ApiError> {
    for _ in 0..TRIES {
        let before = app.schedule_of(project, id).await?;
        if before.state.status == ScheduleStatus::Cancelled {
            let why = before.state.msg.trim_end_matches('.');
            let msg = format!("the schedule was cancelled and stays so ({why}): make a new one instead");
            return Err(ApiError::conflict(msg));
        }
        let code = match request.code_name.non_empty("code_name")? {
            Some(name) => Some(app.code_named(project, name, "code_name").await?.id),
            None => None,
        };
        let (now, mut after) = (app.now(), before.clone());
        let is_retimed = request.apply(&mut after, code, &app.config.limits, now)?;
        after.template.cluster = app.clusters.name_of(after.template.cluster);
        if is_retimed {
            after.state = before.state.retimed(&after.timing, now);
        }
        after.updated_at = now;
        if app.store.replace_schedule_if_unchanged(&before, after).await? {
            return Ok(());
        }
    }
    Err(ApiError::busy("the schedule keeps changing; try again"))
}

/// `POST P/schedules/{id}/cancel`. One that has ended stays as it is, which is no error.
pub async fn cancel(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
    _: Ignored,
) -> Answer {
    end(&app, project, id).await?;
    Ok(said("Cancelled"))
}

/// `POST P/schedules/{id}/pause`: it fires no more until it is resumed.
pub async fn pause(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
    _: Ignored,
) -> Answer {
    let has_changed = set_paused(&app, project, id, true).await?;
    Ok(said(if has_changed { "Paused" } else { "Already paused" }))
}

/// `POST P/schedules/{id}/resume`: it fires again; what passed meanwhile is left out.
pub async fn resume(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<ScheduleId>,
    _: Ignored,
) -> Answer {
    let has_changed = set_paused(&app, project, id, false).await?;
    Ok(said(if has_changed { "Resumed" } else { "Already running" }))
}

/// Pauses or resumes the schedule. `false`: it was so already.
pub(crate) async fn set_paused(
    app: &App,
    project: ProjectId,
    id: ScheduleId,
    paused: bool,
) -> Result<bool, ApiError> {
    let found = app.schedule_of(project, id).await?;
    if found.state.status.is_over() {
        return Err(ApiError::conflict("the schedule has ended: make a new one instead"));
    }
    turn(app, project, id, |schedule, now| match paused {
        true => schedule.state.paused(),
        false => schedule.state.resumed(&schedule.timing, now),
    })
    .await
}

/// Ends the schedule, whatever fires in between.
pub(crate) async fn end(app: &App, project: ProjectId, id: ScheduleId) -> Result<(), ApiError> {
    turn(app, project, id, |schedule, _| match schedule.state.status.is_over() {
        true => schedule.state.clone(),
        false => schedule.state.cancelled(windlass_model::lifecycle::CANCELLED_MSG),
    })
    .await
    .map(drop)
}

/// Gives the schedule the state that `next` makes of it, whatever fires in between. `false`: it has that state.
async fn turn(
    app: &App,
    project: ProjectId,
    id: ScheduleId,
    next: impl Fn(&Schedule, Timestamp) -> ScheduleState,
) -> Result<bool, ApiError> {
    for _ in 0..TRIES {
        let before = app.schedule_of(project, id).await?;
        let now = app.now();
        let state = next(&before, now);
        if state == before.state {
            return Ok(false);
        }
        let after = Schedule { state, updated_at: now, ..before.clone() };
        if app.store.replace_schedule_if_unchanged(&before, after).await? {
            return Ok(true);
        }
    }
    Err(ApiError::busy("the schedule keeps changing; try again"))
}
