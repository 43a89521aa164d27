//! Schedules and their firings.

use std::collections::BTreeSet;

use rusqlite::params;
use windlass_model::id::{CodeId, ProjectId};
use windlass_model::schedule::Schedule;
use windlass_model::time::Timestamp;

use super::enqueue;
use crate::StoreError;
use crate::sqlite::reads;
use crate::sqlite::rows::{self, json};
use crate::sqlite::work::{Stop, Work};
use crate::sqlite::writer::Operation;
use crate::types::Firing;

pub(in crate::sqlite) struct CreateSchedules(
    pub(in crate::sqlite) Vec<Schedule>,
    pub(in crate::sqlite) usize,
);

impl Operation for CreateSchedules {
    type Answer = ();

    fn rows(&self) -> usize {
        self.0.len()
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Stop> {
        let Self(schedules, limit) = self;
        for project in schedules.iter().map(|s| s.project).collect::<BTreeSet<_>>() {
            let fresh = schedules.iter().filter(|s| s.project == project && is_alive(s)).count();
            if alive_in(work, project)? + fresh > *limit {
                return Err(Stop::Refused(StoreError::LimitReached(format!(
                    "a project may have {limit} schedules that have not ended"
                ))));
            }
        }
        for schedule in schedules.iter() {
            put(work, schedule)?;
            if is_alive(schedule) {
                *work.state.schedules_alive.entry(schedule.project).or_default() += 1;
            }
            work.note_seq(schedule.id.seq());
        }
        work.signal_deadline();
        Ok(())
    }
}

pub(in crate::sqlite) struct ReplaceIfUnchanged {
    pub(in crate::sqlite) before: Schedule,
    pub(in crate::sqlite) after: Schedule,
}

impl Operation for ReplaceIfUnchanged {
    type Answer = bool;

    fn run(&mut self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let kept = reads::schedules::schedule(work.conn(), self.before.id)?;
        if kept.as_ref() != Some(&self.before) {
            return Ok(false);
        }
        replace(work, &self.before, &self.after)?;
        work.signal_deadline();
        Ok(true)
    }
}

pub(in crate::sqlite) struct FireIfDue(pub(in crate::sqlite) Vec<Firing>, pub(in crate::sqlite) Timestamp);

impl Operation for FireIfDue {
    type Answer = Vec<bool>;

    fn rows(&self) -> usize {
        2 * self.0.len()
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<Vec<bool>, Stop> {
        let Self(firings, now) = self;
        for firing in firings.iter() {
            enqueue::check(work, firing.task.as_slice())?;
        }
        let mut fired = Vec::with_capacity(firings.len());
        for firing in firings.iter() {
            fired.push(fire(work, firing, *now)?);
        }
        Ok(fired)
    }
}

fn fire(work: &mut Work<'_>, firing: &Firing, now: Timestamp) -> rusqlite::Result<bool> {
    let kept = reads::schedules::schedule(work.conn(), firing.schedule)?;
    let Some(before) = kept.filter(|s| s.state.next_at == Some(firing.due_at)) else { return Ok(false) };
    let after = Schedule { state: firing.state.clone(), updated_at: now, ..before.clone() };
    replace(work, &before, &after)?;
    enqueue::insert(work, firing.task.as_slice())?;
    Ok(true)
}

/// Ends every schedule of the package.
pub(super) fn end_all_of(
    work: &mut Work<'_>,
    code: CodeId,
    reason: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut alive = work.read("SELECT data, payload FROM schedule WHERE code = ?1 AND is_alive")?;
    let alive = alive.query_map([code.seq().0], rows::schedule)?.collect::<rusqlite::Result<Vec<_>>>()?;
    for before in alive.into_iter().filter(|s| s.template.code == code) {
        let after = Schedule { state: before.state.cancelled(reason), updated_at: now, ..before.clone() };
        replace(work, &before, &after)?;
    }
    Ok(())
}

fn is_alive(schedule: &Schedule) -> bool {
    !schedule.state.status.is_over()
}

fn alive_in(work: &mut Work<'_>, project: ProjectId) -> rusqlite::Result<usize> {
    if let Some(n) = work.state.schedules_alive.get(&project) {
        return Ok(*n);
    }
    let mut count = work.read("SELECT count(*) FROM schedule WHERE project = ?1 AND is_alive")?;
    let n = count.query_row([project.seq().0], |row| row.get(0))?;
    work.state.schedules_alive.insert(project, n);
    Ok(n)
}

fn replace(work: &mut Work<'_>, before: &Schedule, after: &Schedule) -> rusqlite::Result<()> {
    if is_alive(before) != is_alive(after) {
        work.state.schedules_alive.remove(&before.project);
    }
    put(work, after)
}

fn put(work: &mut Work<'_>, schedule: &Schedule) -> rusqlite::Result<()> {
    // The payload has a column of its own: as JSON it would be four times as large.
    let mut lean = schedule.clone();
    let payload = std::mem::take(&mut lean.template.payload);
    work.write(include_str!("../sql/put_schedule.sql"))?.execute(params![
        schedule.id.seq().0,
        schedule.project.seq().0,
        schedule.template.code.seq().0,
        schedule.state.next_at.map(Timestamp::as_millis),
        is_alive(schedule),
        payload,
        json(&lean),
    ])?;
    Ok(())
}
