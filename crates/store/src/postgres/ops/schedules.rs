//! Schedules and their firings.

use std::collections::{BTreeMap, HashMap};

use windlass_model::id::{CodeId, ProjectId, ScheduleId};
use windlass_model::schedule::Schedule;
use windlass_model::time::Timestamp;

use super::enqueue;
use crate::StoreError;
use crate::encoding::json;
use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::Operation;
use crate::postgres::work::Work;
use crate::types::Firing;

pub(in crate::postgres) struct CreateSchedules(
    pub(in crate::postgres) Vec<Schedule>,
    pub(in crate::postgres) usize,
);

impl Operation for CreateSchedules {
    type Answer = ();

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        let Self(schedules, limit) = self;
        let mut projects: BTreeMap<ProjectId, usize> = BTreeMap::new();
        for schedule in schedules {
            *projects.entry(schedule.project).or_default() += usize::from(is_alive(schedule));
        }
        for (project, fresh) in projects {
            // Two that count at the same time would both find room.
            let lock = "SELECT seq FROM project WHERE seq = $1 FOR NO KEY UPDATE";
            work.query(lock, params![project.seq().0]).await?;
            let count = "SELECT count(*) FROM schedule WHERE project = $1 AND is_alive";
            let there: i64 =
                work.query_opt(count, params![project.seq().0]).await?.map_or(0, |row| row.get(0));
            if usize::try_from(there).unwrap_or(0) + fresh > *limit {
                return Err(Stop::Refused(StoreError::LimitReached(format!(
                    "a project may have {limit} schedules that have not ended"
                ))));
            }
        }
        put(work, schedules.iter());
        work.signal_deadline();
        Ok(())
    }
}

pub(in crate::postgres) struct ReplaceIfUnchanged {
    pub(in crate::postgres) before: Schedule,
    pub(in crate::postgres) after: Schedule,
}

impl Operation for ReplaceIfUnchanged {
    type Answer = bool;

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let kept = lock(work, vec![self.before.id.seq().0]).await?;
        if kept.get(&self.before.id) != Some(&self.before) {
            return Ok(false);
        }
        put(work, std::iter::once(&self.after));
        work.signal_deadline();
        Ok(true)
    }
}

pub(in crate::postgres) struct FireIfDue(
    pub(in crate::postgres) Vec<Firing>,
    pub(in crate::postgres) Timestamp,
);

impl Operation for FireIfDue {
    type Answer = Vec<bool>;
    const IS_DUTY: bool = true;

    async fn run(&self, work: &mut Work<'_>) -> Result<Vec<bool>, Stop> {
        let Self(firings, now) = self;
        for firing in firings {
            enqueue::check(work, firing.task.as_slice()).await?;
        }
        let mut kept = lock(work, firings.iter().map(|firing| firing.schedule.seq().0).collect()).await?;
        let mut tasks = Vec::new();
        let mut changed = BTreeMap::new();
        let mut fired = Vec::with_capacity(firings.len());
        for firing in firings {
            let schedule = kept.get_mut(&firing.schedule);
            let due = schedule.filter(|schedule| schedule.state.next_at == Some(firing.due_at));
            fired.push(due.is_some());
            if let Some(schedule) = due {
                schedule.state = firing.state.clone();
                schedule.updated_at = *now;
                changed.insert(firing.schedule, schedule.clone());
                tasks.extend(&firing.task);
            }
        }
        put(work, changed.values());
        enqueue::insert(work, &tasks).await?;
        Ok(fired)
    }
}

/// The schedules, which nobody else changes until the transaction ends.
async fn lock(work: &mut Work<'_>, seqs: Vec<i64>) -> Result<HashMap<ScheduleId, Schedule>, Stop> {
    let sql = "SELECT data, payload FROM schedule WHERE seq = ANY($1) ORDER BY seq FOR NO KEY UPDATE";
    let mut kept = HashMap::with_capacity(seqs.len());
    for row in work.query(sql, params![seqs]).await? {
        let schedule = rows::schedule(&row)?;
        kept.insert(schedule.id, schedule);
    }
    Ok(kept)
}

/// Ends every schedule of the package.
pub(super) async fn end_all_of(
    work: &mut Work<'_>,
    code: CodeId,
    reason: &str,
    now: Timestamp,
) -> Result<(), Stop> {
    let alive =
        "SELECT data, payload FROM schedule WHERE code = $1 AND is_alive ORDER BY seq FOR NO KEY UPDATE";
    let mut ended = Vec::new();
    for row in work.query(alive, params![rows::id(code.0)]).await? {
        let before = rows::schedule(&row)?;
        ended.push(Schedule { state: before.state.cancelled(reason), updated_at: now, ..before });
    }
    put(work, ended.iter());
    Ok(())
}

fn is_alive(schedule: &Schedule) -> bool {
    !schedule.state.status.is_over()
}

/// Writes schedules as they are now, before the commit.
pub(super) fn put<'a>(work: &mut Work<'_>, schedules: impl Iterator<Item = &'a Schedule>) {
    let schedules: Vec<&Schedule> = schedules.collect();
    if schedules.is_empty() {
        return;
    }
    let data = |schedule: &Schedule| {
        // The payload has a column of its own: as JSON it would be four times as large.
        let mut lean = schedule.clone();
        lean.template.payload.clear();
        json(&lean)
    };
    macro_rules! column {
        (|$schedule:ident| $value:expr) => {
            schedules.iter().map(|$schedule| $value).collect::<Vec<_>>()
        };
    }
    work.later(
        include_str!("../sql/put_schedule.sql"),
        params![
            column!(|s| s.id.seq().0),
            column!(|s| s.project.seq().0),
            column!(|s| rows::id(s.template.code.0)),
            column!(|s| s.state.next_at.map(Timestamp::as_millis)),
            column!(|s| is_alive(s)),
            column!(|s| s.template.payload.clone()),
            column!(|s| data(s)),
        ],
    );
}
