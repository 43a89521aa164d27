//! Copying all records, and comparing what both stores say afterwards.

use std::fmt::Debug;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use windlass_model::time::Timestamp;
use windlass_model::usage::{Grain, UsageBy};
use windlass_model::wire::Page;

use super::{Import, Mark, Record, Standing};
use crate::error::StoreError;
use crate::sqlite::Sqlite;
use crate::store::{Result, Store};
use crate::types::LaneCounts;

/// Records that are read and written at once.
const BATCH: usize = 1_000;

/// Tasks that are compared at once: each is a few questions to the other store.
const AT_ONCE: usize = 32;

/// Nothing that ended did so later than this from now.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Projects.
    pub projects: u64,
    /// Tokens.
    pub tokens: u64,
    /// Packages, also deleted ones.
    pub codes: u64,
    /// Schedules, also ended ones.
    pub schedules: u64,
    /// Tasks, waiting or ended.
    pub tasks: u64,
    /// Secrets, clusters, keys and sums.
    pub others: u64,
}

impl Counted {
    fn add(&mut self, record: &Record) {
        let kind = match record {
            Record::Project(_) => &mut self.projects,
            Record::Token(_) => &mut self.tokens,
            Record::Code(..) => &mut self.codes,
            Record::Schedule(_) => &mut self.schedules,
            Record::Task(_) => &mut self.tasks,
            Record::Secret(..)
            | Record::Cluster(_)
            | Record::Fences(_)
            | Record::Key(_)
            | Record::Rollup(..)
            | Record::Day(..) => &mut self.others,
        };
        *kind += 1;
    }
}

/// Moves everything in `from` that `to` does not have yet. After `Ok`, `to` may be used. What was running is queued
/// again in `from` before. `tell` is told what was moved so far, by this call.
///
/// # Errors
/// [`StoreError::LimitReached`] if `to` is in use. After any other the call may be repeated, and goes on.
pub async fn copy(
    from: &Sqlite,
    to: &dyn Import,
    now: Timestamp,
    mut tell: impl FnMut(Counted),
) -> Result<Counted> {
    let mut mark = match to.standing().await? {
        Standing::Empty => None,
        Standing::Partial(mark) => Some(mark),
        Standing::InUse => {
            return Err(StoreError::LimitReached(
                "the other store is in use: choose an empty one".to_owned(),
            ));
        }
    };
    for (runner, _) in from.runners().await?.iter().filter(|(runner, _)| runner.gone_at.is_none()) {
        from.release(runner.id, &[], true, now).await?;
    }
    let mut counted = Counted::default();
    loop {
        let (records, next) = from.export(mark, BATCH).await?;
        records.iter().for_each(|record| counted.add(record));
        if !to.import(records, mark, next, now).await? {
            let reason = "somebody else moved something into the other store meanwhile";
            return Err(StoreError::Unavailable(reason.to_owned()));
        }
        tell(counted);
        match next {
            Some(next) => mark = Some(next),
            None => return Ok(counted),
        }
    }
}

/// Reads everything in `from` and asks `to` for the same. `tell` is told what was compared so far.
///
/// # Errors
/// [`StoreError::Damaged`] with the first thing that differs.
pub async fn verify(
    from: &Sqlite,
    to: &dyn Store,
    now: Timestamp,
    mut tell: impl FnMut(Counted),
) -> Result<Counted> {
    let mut counted = Counted::default();
    let mut mark: Option<Mark> = None;
    same("the projects", &from.projects().await?, &to.projects().await?)?;
    same("the tokens", &from.tokens().await?, &to.tokens().await?)?;
    same("the clusters", &from.clusters().await?, &to.clusters().await?)?;
    same("the numbers of tasks", &sorted(from.counts(None).await?), &sorted(to.counts(None).await?))?;
    for project in from.projects().await? {
        let all = (Timestamp::default(), now + A_YEAR);
        let what = format!("what happened in project {}", project.id);
        for grain in Grain::ALL {
            let ended = from.rollups(project.id, None, all.0, all.1, grain).await?;
            same(&what, &ended, &to.rollups(project.id, None, all.0, all.1, grain).await?)?;
        }
        for by in [UsageBy::Code, UsageBy::Schedule, UsageBy::Day] {
            let what = format!("what project {} used", project.id);
            let used = from.usage(project.id, all.0, all.1, by).await?;
            same(&what, &used, &to.usage(project.id, all.0, all.1, by).await?)?;
        }
    }
    loop {
        let (records, next) = from.export(mark, BATCH).await?;
        records.iter().for_each(|record| counted.add(record));
        let checks = futures::stream::iter(records).map(|record| check(record, to));
        checks.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        tell(counted);
        match next {
            Some(next) => mark = Some(next),
            None => return Ok(counted),
        }
    }
}

fn sorted(mut lanes: Vec<LaneCounts>) -> Vec<LaneCounts> {
    lanes.retain(|lane| lane.counts.total() > 0);
    lanes.sort_by(|a, b| (a.code, &a.cluster).cmp(&(b.code, &b.cluster)));
    lanes
}

/// What `to` says of one record. Of sums and accounts it was asked as a whole.
async fn check(record: Record, to: &dyn Store) -> Result<()> {
    match record {
        Record::Code(code, revisions) => {
            let what = format!("package {}", code.id);
            same(&what, &Some((*code).clone()), &to.code(code.id).await?)?;
            let all = Page { skip: 0, limit: usize::from(u16::MAX) };
            same(&what, &revisions, &to.revisions(code.id, all).await?)
        }
        Record::Schedule(schedule) => {
            let there = to.schedule(schedule.id).await?;
            same(&format!("schedule {}", schedule.id), &Some(*schedule), &there)
        }
        Record::Task(here) => {
            let id = here.task.new.id;
            let what = format!("task {id}");
            same(&what, &Some(here.task), &to.task(id).await?)?;
            same(&what, &here.attempts, &to.attempts(id).await?)?;
            same(&what, &here.result, &to.result(id).await?)
        }
        Record::Secret(name, value) => {
            same(&format!("the secret {name}"), &value, &to.secret(&name, [0; 32]).await?)
        }
        Record::Fences(_)
        | Record::Project(_)
        | Record::Token(_)
        | Record::Cluster(_)
        | Record::Key(_)
        | Record::Rollup(..)
        | Record::Day(..) => Ok(()),
    }
}

fn same<T: PartialEq + Debug>(what: &str, here: &T, there: &T) -> Result<()> {
    if here == there {
        return Ok(());
    }
    tracing::debug!(?here, ?there, "{what}");
    Err(StoreError::Damaged(format!("{what} is not the same in the other store")))
}
