//! Queueing tasks, and promoting those whose time has come.

use std::collections::BTreeMap;

use windlass_model::id::{ProjectId, TaskId};
use windlass_model::task::{NewTask, Status};
use windlass_model::time::Timestamp;
use windlass_model::trace::TraceParent;

use crate::StoreError;
use crate::encoding::{int, prank};
use crate::postgres::fault::{Stop, damaged};
use crate::postgres::group::Grouped;
use crate::postgres::param::{Param, params};
use crate::postgres::rows::{self, Lane};
use crate::postgres::state::Operation;
use crate::postgres::work::Work;
use crate::types::{Once, OnceKey, Partition};

#[derive(Debug)]
pub(in crate::postgres) struct Enqueue(pub(in crate::postgres) Vec<NewTask>);

impl Grouped for Enqueue {
    type Answer = ();

    fn rows(&self) -> usize {
        rows_of(&self.0)
    }

    async fn run(group: &[Self], work: &mut Work<'_>) -> Result<Vec<Result<(), StoreError>>, Stop> {
        let mut tasks = Vec::new();
        let mut answers = Vec::with_capacity(group.len());
        for Self(asked) in group {
            match check(work, asked).await {
                Ok(()) => {
                    tasks.extend(asked);
                    answers.push(Ok(()));
                }
                Err(Stop::Refused(error)) => answers.push(Err(error)),
                Err(stop) => return Err(stop),
            }
        }
        insert(work, &tasks).await?;
        Ok(answers)
    }
}

pub(in crate::postgres) struct EnqueueOnce {
    pub(in crate::postgres) project: ProjectId,
    pub(in crate::postgres) key: OnceKey,
    pub(in crate::postgres) tasks: Vec<NewTask>,
}

impl Operation for EnqueueOnce {
    type Answer = Once;

    async fn run(&self, work: &mut Work<'_>) -> Result<Once, Stop> {
        check(work, &self.tasks).await?;
        let (project, OnceKey { key, asked }) = (self.project.seq().0, &self.key);
        let ids = rows::ids(self.tasks.iter().map(|task| task.id.0));
        let at = self.tasks.first().map(|task| task.created_at).unwrap_or_default();
        // One of two at the same time waits here for the other.
        let put = "INSERT INTO queue_key(project, key, at, asked, ids) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT DO NOTHING RETURNING true";
        let new = work.query(put, params![project, key.clone(), at.as_millis(), asked.to_vec(), ids]).await?;
        if new.is_empty() {
            let known = "SELECT asked, ids FROM queue_key WHERE project = $1 AND key = $2";
            let known = work.query_opt(known, params![project, key.clone()]).await?;
            let known = known.ok_or_else(|| damaged("a key was there and is not"))?;
            return Ok(match known.try_get::<_, &[u8]>(0)? == asked {
                true => Once::Before(rows::ids_from(known.try_get(1)?)?.into_iter().map(TaskId).collect()),
                false => Once::Other,
            });
        }
        insert(work, &self.tasks.iter().collect::<Vec<_>>()).await?;
        Ok(Once::Queued)
    }
}

/// Rows that the tasks are worth: large payloads count for more, so that a group stays within a few megabytes.
fn rows_of(tasks: &[NewTask]) -> usize {
    tasks.iter().map(|task| 1 + task.payload.len() / 512).sum()
}

/// Refuses tasks whose package or revision is not there.
pub(super) async fn check(work: &Work<'_>, tasks: &[NewTask]) -> Result<(), Stop> {
    let is_there = |task: &NewTask| {
        let code = work.state.known().code(task.code).map(|code| code.latest.rev);
        code.is_some_and(|latest| task.rev > 0 && task.rev <= latest)
    };
    if tasks.iter().all(is_there) {
        return Ok(());
    }
    work.state.refresh().await?;
    match tasks.iter().find(|task| !is_there(task)) {
        None => Ok(()),
        Some(task) => Err(Stop::Refused(StoreError::Unavailable(format!(
            "task {} names revision {} of package {}, which is not there",
            task.id, task.rev, task.code
        )))),
    }
}

/// Writes tasks that were checked, before the commit.
pub(super) async fn insert(work: &mut Work<'_>, tasks: &[&NewTask]) -> Result<(), Stop> {
    let mut days: BTreeMap<Partition, Vec<&NewTask>> = BTreeMap::new();
    for task in tasks {
        days.entry(Partition::of(task.id)).or_default().push(task);
    }
    let catalog = work.state.known();
    for (partition, tasks) in days {
        let tables = work.state.tables_or_create(partition).await?;
        let mut lanes = Vec::with_capacity(tasks.len());
        for task in &tasks {
            let code = catalog.number(task.code).ok_or_else(|| damaged("a package was there and is not"))?;
            let cluster = work.state.cluster_or_create(&task.cluster, task.created_at).await?;
            let lane = Lane { code, cluster };
            lanes.push(lane);
            work.count(lane, Status::Queued, 1, task.created_at);
            if task.run_at > task.created_at {
                work.signal_deadline();
            } else if catalog.package(code).is_none_or(|code| !code.is_paused) {
                // Where the package may start nothing, nobody is woken for it: resuming it is a signal of its own.
                work.signal_ready(&task.cluster, catalog.needs(code));
            }
        }
        work.later_on(&tables.insert_task, columns(&tasks, &lanes));
    }
    Ok(())
}

/// What tasks ask for, as `insert_task.sql` takes it.
pub(super) fn columns(tasks: &[&NewTask], lanes: &[Lane]) -> Vec<Param> {
    macro_rules! column {
        (|$task:ident| $value:expr) => {
            tasks.iter().map(|$task| $value).collect::<Vec<_>>()
        };
    }
    params![
        column!(|t| t.id.seq().0),
        column!(|t| i64::from(t.id.0.tag)),
        lanes.iter().map(|lane| lane.code).collect::<Vec<_>>(),
        lanes.iter().map(|lane| lane.cluster).collect::<Vec<_>>(),
        column!(|t| t.rev as i32),
        column!(|t| i16::from(prank(t.priority))),
        column!(|t| t.created_at.as_millis()),
        column!(|t| t.run_at.as_millis()),
        column!(|t| i64::from(t.timeout_s)),
        column!(|t| i64::from(t.retry.retries)),
        column!(|t| int(t.retry.delay_ms)),
        column!(|t| t.label.clone()),
        column!(|t| t.schedule.map(|id| rows::id(id.0))),
        column!(|t| t.parent.map(|id| rows::id(id.0))),
        column!(|t| t.retry_of.map(|id| rows::id(id.0))),
        column!(|t| t.payload.clone()),
        column!(|t| t.trace.map(|trace| TraceParent::to_bytes(trace).to_vec())),
    ]
}

/// A queued task that is put where it waits.
pub(super) struct Placed {
    pub(super) seq: i64,
    pub(super) lane: Lane,
    pub(super) prank: u8,
    pub(super) run_at: Timestamp,
}

/// Puts the keys of queued tasks where they wait, before the commit. Whoever waits for them is woken.
pub(super) async fn place(work: &mut Work<'_>, placed: &[Placed], now: Timestamp) -> Result<(), Stop> {
    let (later, ready): (Vec<&Placed>, Vec<&Placed>) = placed.iter().partition(|p| p.run_at > now);
    let columns = |of: &[&Placed]| {
        (
            of.iter().map(|p| p.seq).collect::<Vec<_>>(),
            of.iter().map(|p| p.lane.code).collect::<Vec<_>>(),
            of.iter().map(|p| p.lane.cluster).collect::<Vec<_>>(),
            of.iter().map(|p| i16::from(p.prank)).collect::<Vec<_>>(),
        )
    };
    if !later.is_empty() {
        let (seqs, codes, clusters, pranks) = columns(&later);
        let run_at = later.iter().map(|p| p.run_at.as_millis()).collect::<Vec<_>>();
        work.later(
            "INSERT INTO delayed(seq, code, cluster, prank, run_at) \
             SELECT * FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::int2[], $5::int8[])",
            params![seqs, codes, clusters, pranks, run_at],
        );
        work.signal_deadline();
    }
    if !ready.is_empty() {
        let (seqs, codes, clusters, pranks) = columns(&ready);
        let names = "SELECT DISTINCT c.name, k.needs FROM unnest($1::int4[], $2::int4[]) AS i(code, cluster) \
                     JOIN cluster c ON c.num = i.cluster JOIN code k ON k.num = i.code";
        for row in work.query(names, params![codes.clone(), clusters.clone()]).await? {
            work.signal_ready(row.try_get(0)?, rows::level_at(&row, 1)?);
        }
        work.later(include_str!("../sql/place.sql"), params![seqs, codes, clusters, pranks]);
    }
    Ok(())
}

/// Makes some of the delayed tasks that are due claimable. Returns whether that was all, and when the next is due.
pub(in crate::postgres) struct Promote(pub(in crate::postgres) Timestamp);

/// Tasks that one step promotes.
const STEP: i64 = 5_000;

impl Operation for Promote {
    type Answer = (bool, Option<Timestamp>);
    // What a power failure undoes is as due as it was, and promoted again.
    const IS_RELAXED: bool = true;

    async fn run(&self, work: &mut Work<'_>) -> Result<Self::Answer, Stop> {
        let promote = include_str!("../sql/promote.sql");
        let mut promoted = 0;
        for row in work.query(promote, params![self.0.as_millis(), STEP]).await? {
            work.signal_ready(row.try_get(0)?, rows::level_at(&row, 1)?);
            promoted += row.try_get::<_, i64>(2)?;
        }
        let next = work.query_opt("SELECT min(run_at) FROM delayed", params![]).await?;
        let next: Option<i64> = next.and_then(|row| row.get(0));
        Ok((promoted < STEP, next.map(Timestamp::from_millis)))
    }
}
