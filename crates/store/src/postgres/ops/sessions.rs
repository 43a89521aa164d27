//! Runner sessions and their leases.

use std::collections::HashMap;

use windlass_model::exit::{Again, Outcome, Verdict};
use windlass_model::id::{Id, RunnerId, Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::lifecycle::{GIVEN_BACK_MSG, LOST_MSG, conclude};
use windlass_model::log::{self, LogChunk};
use windlass_model::runner::{Held, RunnerRecord};
use windlass_model::task::Stored;
use windlass_model::time::Timestamp;

use super::ending::{self, Ended, Ending};
use crate::StoreError;
use crate::encoding::json;
use crate::postgres::fault::Stop;
use crate::postgres::group::Grouped;
use crate::postgres::param::params;
use crate::postgres::reads;
use crate::postgres::rows::{self, Run};
use crate::postgres::state::Operation;
use crate::postgres::work::Work;
use crate::types::{Pulse, Rescued};

pub(in crate::postgres) struct Register(
    pub(in crate::postgres) RunnerRecord,
    pub(in crate::postgres) Timestamp,
);

impl Operation for Register {
    type Answer = ();

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        let Self(record, lease_until) = self;
        let now = record.started_at;
        let before = "UPDATE session SET gone_at = $2 WHERE id IN ( \
                        SELECT id FROM session WHERE instance = $1 AND gone_at IS NULL ORDER BY id FOR UPDATE) \
                      RETURNING id";
        let before = work.query(before, params![record.about.instance.clone(), now.as_millis()]).await?;
        let before: Vec<Vec<u8>> = before.iter().map(|row| row.get(0)).collect();
        lose_all_of(work, before, now).await?;
        work.later(
            "INSERT INTO session(id, instance, lease_until, seen_at, gone_at, is_draining, level, data) \
             VALUES ($1, $2, $3, $4, NULL, $5, $6, $7)",
            params![
                rows::id(record.id.0),
                record.about.instance.clone(),
                lease_until.as_millis(),
                record.seen_at.as_millis(),
                record.is_draining,
                record.about.isolation.at_least() as i16,
                json(record),
            ],
        );
        work.signal_deadline();
        Ok(())
    }
}

#[derive(Debug)]
pub(in crate::postgres) struct Heartbeat {
    pub(in crate::postgres) runner: RunnerId,
    pub(in crate::postgres) holds: Vec<Held>,
    pub(in crate::postgres) now: Timestamp,
    pub(in crate::postgres) lease_until: Timestamp,
}

impl Grouped for Heartbeat {
    type Answer = Pulse;
    // A power failure makes a lease shorter, as a lost heartbeat does.
    const IS_RELAXED: bool = true;
    const IS_GATED: bool = false;

    fn rows(&self) -> usize {
        1 + self.holds.len()
    }

    async fn run(group: &[Self], work: &mut Work<'_>) -> Result<Vec<Result<Pulse, StoreError>>, Stop> {
        let mut beats: HashMap<RunnerId, (i64, i64)> = HashMap::new();
        for beat in group {
            beats.insert(beat.runner, (beat.now.as_millis(), beat.lease_until.as_millis()));
        }
        let mut beats: Vec<_> = beats.into_iter().collect();
        beats.sort_unstable();
        let ids: Vec<Vec<u8>> = beats.iter().map(|(id, _)| rows::id(id.0)).collect();
        let (seen, until): (Vec<i64>, Vec<i64>) = beats.iter().map(|(_, times)| *times).unzip();
        let mut live: HashMap<RunnerId, bool> = HashMap::new();
        for row in work.query(include_str!("../sql/heartbeat.sql"), params![ids, seen, until]).await? {
            if let Some(id) = rows::id_at(&row, 0)? {
                live.insert(RunnerId(id), row.try_get(1)?);
            }
        }
        let held = held(work, group).await?;
        let pulse = |beat: &Self| {
            let Some(&is_draining) = live.get(&beat.runner) else { return Err(StoreError::SessionOver) };
            let mut pulse = Pulse { is_draining, ..Pulse::default() };
            for attempt in &beat.holds {
                match held.get(attempt).filter(|(runner, _)| *runner == beat.runner) {
                    None => pulse.lost.push(*attempt),
                    Some((_, true)) => pulse.cancel.push(*attempt),
                    Some((_, false)) => {}
                }
            }
            Ok(pulse)
        };
        Ok(group.iter().map(pulse).collect())
    }
}

/// Those attempts that are current, with who holds them, and whether they are to be cancelled.
async fn held(work: &mut Work<'_>, group: &[Heartbeat]) -> Result<HashMap<Held, (RunnerId, bool)>, Stop> {
    let all: Vec<&Held> = group.iter().flat_map(|beat| &beat.holds).collect();
    let mut held = HashMap::with_capacity(all.len());
    if all.is_empty() {
        return Ok(held);
    }
    let seqs: Vec<i64> = all.iter().map(|held| held.task.seq().0).collect();
    let fences: Vec<i64> = all.iter().map(|held| held.fence.0).collect();
    let sql = "SELECT r.seq, r.tag, r.fence, r.runner, r.cancel_requested \
               FROM unnest($1::int8[], $2::int8[]) AS i(seq, fence) JOIN running r ON r.seq = i.seq AND r.fence = i.fence";
    for row in work.query(sql, params![seqs, fences]).await? {
        let task = TaskId::new(Seq(row.try_get(0)?), rows::narrow(&row, 1)?);
        let runner = rows::id_at(&row, 3)?.unwrap_or(Id { seq: Seq(0), tag: 0 });
        held.insert(Held { task, fence: Fence(row.try_get(2)?) }, (RunnerId(runner), row.try_get(4)?));
    }
    Ok(held)
}

pub(in crate::postgres) struct Release {
    pub(in crate::postgres) runner: RunnerId,
    pub(in crate::postgres) holds: Vec<Held>,
    pub(in crate::postgres) leave: bool,
    pub(in crate::postgres) now: Timestamp,
}

impl Operation for Release {
    type Answer = ();

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        let id = rows::id(self.runner.0);
        if self.leave {
            let leave = "UPDATE session SET gone_at = $2 WHERE id = $1 AND gone_at IS NULL";
            work.query(leave, params![id.clone(), self.now.as_millis()]).await?;
        }
        let fences: Vec<i64> = self.holds.iter().map(|held| held.fence.0).collect();
        let taken = take(work, vec![id], (!self.leave).then_some(fences)).await?;
        let again = Verdict::Again { run_at: self.now, why: Again::Lost, msg: GIVEN_BACK_MSG.to_owned() };
        let verdict = |run: &Run| again.clone().unless_cancelled(run.state.cancel_requested);
        lose(work, taken, GIVEN_BACK_MSG, verdict, 0, self.now).await
    }
}

pub(in crate::postgres) struct Rescue(pub(in crate::postgres) Timestamp);

impl Operation for Rescue {
    type Answer = Rescued;
    const IS_DUTY: bool = true;

    async fn run(&self, work: &mut Work<'_>) -> Result<Rescued, Stop> {
        let now = self.0;
        let silent = "UPDATE session SET gone_at = $1 WHERE id IN ( \
                        SELECT id FROM session WHERE gone_at IS NULL AND lease_until <= $1 ORDER BY id FOR UPDATE) \
                        AND gone_at IS NULL AND lease_until <= $1 \
                      RETURNING id";
        let mut runners = Vec::new();
        for row in work.query(silent, params![now.as_millis()]).await? {
            runners.extend(rows::id_at(&row, 0)?.map(RunnerId));
        }
        runners.sort_unstable();
        let tasks = lose_all_of(work, runners.iter().map(|id| rows::id(id.0)).collect(), now).await?;
        let next = "SELECT min(lease_until) FROM session WHERE gone_at IS NULL";
        let next: Option<i64> = work.query_opt(next, params![]).await?.and_then(|row| row.get(0));
        Ok(Rescued { runners, tasks, next_at: next.map(Timestamp::from_millis) })
    }
}

pub(in crate::postgres) struct SetDraining(pub(in crate::postgres) RunnerId, pub(in crate::postgres) bool);

impl Operation for SetDraining {
    type Answer = bool;

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let set = "UPDATE session SET is_draining = $2 WHERE id = $1 AND gone_at IS NULL RETURNING id";
        Ok(!work.query(set, params![rows::id(self.0.0), self.1]).await?.is_empty())
    }
}

/// Ends what the runners hold, whose sessions are over. Returns how many tasks that were.
async fn lose_all_of(work: &mut Work<'_>, runners: Vec<Vec<u8>>, now: Timestamp) -> Result<u64, Stop> {
    if runners.is_empty() {
        return Ok(0);
    }
    let taken = take(work, runners, None).await?;
    let tasks = taken.len() as u64;
    let verdict = |run: &Run| conclude(run.trial(), &Outcome::Lost, "", run.policy, 0.0, now);
    lose(work, taken, LOST_MSG, verdict, 1, now).await?;
    Ok(tasks)
}

/// Takes what the runners hold out of `running`, oldest first: all of it, or what is under these fences.
async fn take(
    work: &mut Work<'_>,
    runners: Vec<Vec<u8>>,
    fences: Option<Vec<i64>>,
) -> Result<Vec<Run>, Stop> {
    let sql = format!(
        "WITH held AS MATERIALIZED (SELECT seq FROM running \
           WHERE runner = ANY($1) AND ($2::int8[] IS NULL OR fence = ANY($2)) ORDER BY seq FOR UPDATE) \
         DELETE FROM running r USING held WHERE r.seq = held.seq RETURNING {}",
        rows::RUN
    );
    let taken = work.query(&sql, params![runners, fences]).await?;
    let mut runs = taken.iter().map(rows::run).collect::<Result<Vec<_>, _>>()?;
    runs.sort_by_key(|run| run.task);
    Ok(runs)
}

/// The attempts come to nothing; they keep the logs they have.
async fn lose(
    work: &mut Work<'_>,
    runs: Vec<Run>,
    msg: &str,
    verdict: impl Fn(&Run) -> Verdict,
    losses: u32,
    now: Timestamp,
) -> Result<(), Stop> {
    let seqs: Vec<i64> = runs.iter().map(|run| run.task.seq().0).collect();
    let mut chunks: HashMap<i64, Vec<LogChunk>> = HashMap::new();
    if !seqs.is_empty() {
        let sql = "SELECT n, stream, at_ms, data, seq FROM chunk WHERE seq = ANY($1) ORDER BY seq, n";
        for row in work.query(sql, params![seqs]).await? {
            chunks.entry(row.try_get(4)?).or_default().push(reads::log::chunk(&row)?);
        }
    }
    let logs: Vec<(Option<Stored>, u64)> = runs
        .iter()
        .map(|run| match chunks.get(&run.task.seq().0) {
            Some(chunks) => (Some(Stored::Inline(log::encode(chunks))), log::size_bytes(chunks)),
            None => (None, 0),
        })
        .collect();
    let mut endings = Vec::with_capacity(runs.len());
    for (run, (log, log_size_bytes)) in runs.into_iter().zip(&logs) {
        let ended = Ended {
            outcome: &Outcome::Lost,
            msg,
            usage: None,
            isolation: None,
            log: log.as_ref(),
            log_size_bytes: *log_size_bytes,
        };
        endings.push(Ending { verdict: verdict(&run), ended, run, losses });
    }
    ending::end(work, endings, now).await?;
    Ok(())
}
