//! The filters of task lists: the same for listing, bulk cancel and bulk retry.

use windlass_model::id::{ProjectId, ScheduleId, TaskId};
use windlass_model::task::Status;
use windlass_model::wire::BadField;
use windlass_store::types::{Statuses, TaskQuery};

use crate::app::App;
use crate::error::ApiError;
use crate::query::Query;

/// Query parameters of a task list, for the API document.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("page", "from 0, at most 100"),
    ("per_page", "30 by default, at most 100"),
    ("cursor", "the `cursor` of the page before; works at any depth"),
    ("code_name", "of this package"),
    ("label", "with this label"),
    ("cluster", "for this cluster"),
    ("schedule_id", "made by this schedule"),
    ("parent_id", "queued by the worker of this task"),
    ("from_time", "created at or after, in seconds since the epoch"),
    ("to_time", "created in or before this second since the epoch"),
    ("queued", "1: with this status; several flags add up"),
    ("preparing", "1: with this status"),
    ("running", "1: with this status"),
    ("complete", "1: with this status"),
    ("error", "1: with this status"),
    ("timeout", "1: with this status"),
    ("cancelled", "1: with this status"),
    ("killed", "1: with this status"),
];

/// The filters among them.
pub const FILTERS: &[&str] =
    &["code_name", "label", "cluster", "schedule_id", "parent_id", "from_time", "to_time"];

/// The tasks that the query means, the newest `limit` of them after its page or cursor; `None`: certainly none.
pub async fn tasks(
    app: &App,
    project: ProjectId,
    query: &Query,
    by_default: Statuses,
) -> Result<Option<TaskQuery>, ApiError> {
    let page = query.page();
    let code = match query.get("code_name") {
        None => None,
        Some(name) => match app.store.code_named(project, name).await? {
            Some(code) => Some(code.id),
            None => return Ok(None),
        },
    };
    let cursor = query.get("cursor").map(str::parse::<TaskId>).transpose();
    let cursor = cursor.map_err(|_| BadField::invalid("cursor", "must be the cursor of an earlier page"))?;
    let statuses: Statuses = Status::ALL.into_iter().filter(|s| query.flag(s.as_str())).collect();
    let last_ms = std::time::Duration::from_millis(999);
    Ok(Some(TaskQuery {
        project,
        code,
        statuses: if statuses.is_empty() { by_default } else { statuses },
        label: query.get("label").map(str::to_owned),
        cluster: query.get("cluster").map(|cluster| app.clusters.name_of(cluster.to_owned())),
        schedule: query.id("schedule_id")?.map(ScheduleId),
        parent: query.id("parent_id")?.map(TaskId),
        from: query.seconds("from_time")?,
        to: query.seconds("to_time")?.map(|t| t + last_ms),
        before: cursor.map(TaskId::seq),
        skip: if cursor.is_some() { 0 } else { page.skip },
        limit: page.limit,
    }))
}
