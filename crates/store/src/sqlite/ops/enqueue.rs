//! Queueing tasks, and promoting those whose time has come.

use std::sync::Arc;

use rusqlite::{CachedStatement, OptionalExtension as _, params};
use windlass_model::id::{ProjectId, TaskId};
use windlass_model::task::{NewTask, Status};
use windlass_model::time::Timestamp;
use windlass_model::trace::TraceParent;

use crate::StoreError;
use crate::sqlite::partition::Tables;
use crate::sqlite::rows::{IdBytes, IdList, int, prank};
use crate::sqlite::window::Key;
use crate::sqlite::work::{Durability, Stop, Work};
use crate::sqlite::writer::Operation;
use crate::types::{Once, OnceKey, Partition};

/// Payloads above go to a table of their own, so that nothing that walks tasks walks overflow pages.
const LARGE_PAYLOAD_BYTES: usize = 2048;

pub(in crate::sqlite) struct Enqueue(pub(in crate::sqlite) Vec<NewTask>);

impl Operation for Enqueue {
    type Answer = ();

    fn rows(&self) -> usize {
        rows(&self.0)
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Stop> {
        check(work, &self.0)?;
        insert(work, &self.0)?;
        Ok(())
    }
}

pub(in crate::sqlite) struct EnqueueOnce {
    pub(in crate::sqlite) project: ProjectId,
    pub(in crate::sqlite) key: OnceKey,
    pub(in crate::sqlite) tasks: Vec<NewTask>,
}

impl Operation for EnqueueOnce {
    type Answer = Once;

    fn rows(&self) -> usize {
        rows(&self.tasks)
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<Once, Stop> {
        let (project, OnceKey { key, asked }) = (self.project.seq().0, &self.key);
        let mut known = work.read("SELECT asked, ids FROM queue_key WHERE project = ?1 AND key = ?2")?;
        let known = known.query_row(params![project, key], |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, IdList>(1)?))
        });
        match known.optional()? {
            Some((before, IdList(ids))) if before == *asked => {
                return Ok(Once::Before(ids.into_iter().map(TaskId).collect()));
            }
            Some(_) => return Ok(Once::Other),
            None => {}
        }
        check(work, &self.tasks)?;
        let ids = IdList(self.tasks.iter().map(|task| task.id.0).collect());
        let at = self.tasks.first().map(|task| task.created_at).unwrap_or_default();
        work.write("INSERT INTO queue_key(project, key, at, asked, ids) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![project, key, at.as_millis(), asked, ids])?;
        insert(work, &self.tasks)?;
        Ok(Once::Queued)
    }
}

/// Rows that the tasks are worth: large payloads count for more, so that a group stays within a few megabytes.
fn rows(tasks: &[NewTask]) -> usize {
    tasks.iter().map(|task| 1 + task.payload.len() / 512).sum()
}

/// Refuses tasks whose package or revision is not there.
pub(super) fn check(work: &Work<'_>, tasks: &[NewTask]) -> Result<(), StoreError> {
    for task in tasks {
        let code = work.state.view.catalog.code(task.code);
        if code.is_none_or(|code| task.rev == 0 || task.rev > code.latest.rev) {
            return Err(StoreError::Unavailable(format!(
                "task {} names revision {} of package {}, which is not there",
                task.id, task.rev, task.code
            )));
        }
    }
    Ok(())
}

/// Writes tasks that were checked.
pub(super) fn insert(work: &mut Work<'_>, tasks: &[NewTask]) -> rusqlite::Result<()> {
    // Almost always all of them go to one partition: its statement is looked up once.
    let mut to: Option<(Partition, Arc<Tables>, CachedStatement<'_>)> = None;
    for task in tasks {
        let partition = Partition::of(task.id);
        if to.as_ref().is_none_or(|(at, ..)| *at != partition) {
            let tables = work.tables_or_create(partition)?;
            let insert = work.write(&tables.insert_task)?;
            to = Some((partition, tables, insert));
        }
        let Some((_, tables, insert)) = &mut to else { continue };
        let Some(package) = work.state.view.catalog.number(task.code) else { continue };
        let lane = work.lane_or_create(package, &task.cluster)?;
        let seq = task.id.seq();
        let key = Key { prank: prank(task.priority), seq: seq.0 };
        let is_large = task.payload.len() > LARGE_PAYLOAD_BYTES;
        insert.execute(params![
            seq.0,
            task.id.0.tag,
            lane,
            task.rev,
            key.prank,
            task.created_at.as_millis(),
            task.run_at.as_millis(),
            task.timeout_s,
            task.retry.retries,
            int(task.retry.delay_ms),
            task.label,
            task.schedule.map(|id| IdBytes(id.0)),
            task.parent.map(|id| IdBytes(id.0)),
            task.retry_of.map(|id| IdBytes(id.0)),
            (!is_large).then_some(task.payload.as_slice()),
            task.trace.map(TraceParent::to_bytes),
        ])?;
        if is_large {
            work.write(&tables.insert_payload)?.execute(params![seq.0, task.payload])?;
        }
        place(work, lane, key, task.run_at, task.created_at)?;
        work.count(lane, None, Some(Status::Queued), task.created_at);
        work.note_seq(seq);
    }
    Ok(())
}

/// Puts the key of a queued task where it waits.
pub(super) fn place(
    work: &mut Work<'_>,
    lane: usize,
    key: Key,
    run_at: Timestamp,
    now: Timestamp,
) -> rusqlite::Result<()> {
    if run_at > now {
        work.write("INSERT INTO delayed(run_at, seq, lane, prank) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![run_at.as_millis(), key.seq, lane, key.prank])?;
        work.signal_deadline();
    } else {
        make_ready(work, lane, key)?;
    }
    Ok(())
}

fn make_ready(work: &mut Work<'_>, lane: usize, key: Key) -> rusqlite::Result<()> {
    work.write("INSERT INTO ready(lane, prank, seq) VALUES (?1, ?2, ?3)")?
        .execute(params![lane, key.prank, key.seq])?;
    work.state.windows.push(lane, key);
    let lane = &work.state.view.catalog.lanes()[lane];
    // Where the package may start nothing, nobody is woken for it: making room is a signal of its own.
    if work.state.windows.has_room(lane.package) {
        let (cluster, needs) = (lane.cluster.clone(), work.state.windows.needs(lane.package));
        work.signal_ready(&cluster, needs);
    }
    Ok(())
}

/// Makes some of the delayed tasks that are due claimable. Returns whether that was all, and when the next is due.
pub(in crate::sqlite) struct Promote(pub(in crate::sqlite) Timestamp);

/// Tasks that one step promotes.
const STEP: usize = 5_000;

impl Operation for Promote {
    type Answer = (bool, Option<Timestamp>);
    // What a power failure undoes is as due as it was, and promoted again.
    const DURABILITY: Durability = Durability::Process;

    fn run(&mut self, work: &mut Work<'_>) -> Result<Self::Answer, Stop> {
        let now = self.0.as_millis();
        let mut due = work.read(
            "SELECT run_at, seq, lane, prank FROM delayed WHERE run_at <= ?1 ORDER BY run_at, seq LIMIT ?2",
        )?;
        let due = due.query_map(params![now, STEP], |row| {
            let key = Key { seq: row.get(1)?, prank: row.get(3)? };
            Ok((row.get::<_, i64>(0)?, row.get::<_, usize>(2)?, key))
        })?;
        let due = due.collect::<rusqlite::Result<Vec<_>>>()?;
        for (run_at, lane, key) in &due {
            work.write("DELETE FROM delayed WHERE run_at = ?1 AND seq = ?2")?
                .execute(params![run_at, key.seq])?;
            make_ready(work, *lane, *key)?;
        }
        let mut next = work.read("SELECT min(run_at) FROM delayed")?;
        let next: Option<i64> = next.query_row([], |row| row.get(0))?;
        Ok((due.len() < STEP, next.map(Timestamp::from_millis)))
    }
}
