//! The scheduled task: finds out which zones there are, and queues a task for each.

use std::{fmt, process::ExitCode};

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    http,
    layout::{Layout, ZoneId},
    queue::{Api, NewTask},
    task::{Task, conclude},
    zone,
};

/// A page that takes longer will be fetched again in ten minutes anyway.
const ZONE_TIMEOUT_S: u32 = 60;

/// The coordinator's payload.
#[derive(Debug, Deserialize)]
pub struct Order {
    /// The site to read.
    pub site: Layout,
    /// The address of its list of zones, for a site that has none of its own.
    pub index: Option<String>,
    /// The zones themselves, instead of a list.
    pub zones: Option<Vec<ZoneId>>,
    /// The code package that reads one zone.
    #[serde(default = "default_code_name")]
    pub code_name: String,
}

/// What the coordinator did: its result.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many tasks it queued.
    pub queued: usize,
    /// For which code package.
    pub code_name: String,
    /// For the pages of which site.
    pub site: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queued {} tasks of {} for {}", self.queued, self.code_name, self.site)
    }
}

/// Runs the coordinator as this process's task.
pub fn main() -> ExitCode {
    let task = Task::from_env();
    let run = || {
        // The task's id as the key: the second attempt of this task queues nothing that the first one has.
        let report = run(&task.payload()?, &task.api()?, task.id())?;
        task.save_result(&report)?;
        Ok(report)
    };
    conclude("outcast-coordinator", run())
}

/// Queues one task per zone, all in one request.
///
/// # Errors
///
/// When the list of zones cannot be had or the platform does not take the tasks. Except after
/// [`Error::Unreachable`], nothing is queued.
pub fn run(order: &Order, api: &Api, key: Option<&str>) -> Result<Report, Error> {
    let tasks: Vec<NewTask> = zones(order)?.iter().map(|zone| new_task(order, zone)).collect();
    let ids = api.queue(&tasks, key)?;
    Ok(Report { queued: ids.len(), code_name: order.code_name.clone(), site: order.site.to_string() })
}

fn zones(order: &Order) -> Result<Vec<ZoneId>, Error> {
    let zones = match (&order.zones, order.index.as_deref().or_else(|| order.site.index())) {
        (Some(zones), _) => zones.clone(),
        (None, Some(url)) => read_index(url, &http::fetch(url)?)?,
        (None, None) => return Err(Error::NoZones),
    };
    if zones.is_empty() { Err(Error::NoZones) } else { Ok(zones) }
}

/// Takes the first word of each line.
fn read_index(url: &str, index: &[u8]) -> Result<Vec<ZoneId>, Error> {
    let index = String::from_utf8_lossy(index);
    let words =
        index.lines().enumerate().filter_map(|(nth, line)| Some((nth + 1, line.split_whitespace().next()?)));
    words
        .map(|(line, word)| word.parse().map_err(|source| Error::Index { url: url.to_owned(), line, source }))
        .collect()
}

fn new_task(order: &Order, zone: &ZoneId) -> NewTask {
    let payload = zone::Order { zone: zone.clone(), site: order.site.clone() };
    NewTask {
        code_name: order.code_name.clone(),
        payload: serde_json::to_string(&payload).expect("two strings are always JSON"),
        label: zone.to_string(),
        timeout: ZONE_TIMEOUT_S,
    }
}

fn default_code_name() -> String {
    "outcast-zone".to_owned()
}
