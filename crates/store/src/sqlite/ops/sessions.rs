//! Runner sessions and their leases.
//!
//! Leases live in memory. The row of a session that holds something is never more than a third of a lease behind, so
//! after a crash its lease ends at most that much too early; one that holds nothing is written when it next holds
//! something. Closing the store writes all of them.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::params;
use windlass_model::exit::{Again, Outcome, Verdict};
use windlass_model::id::RunnerId;
use windlass_model::lifecycle::{GIVEN_BACK_MSG, LOST_MSG, conclude};
use windlass_model::log;
use windlass_model::runner::{Held, RunnerRecord};
use windlass_model::task::Stored;
use windlass_model::time::Timestamp;

use super::ending::{self, Ended};
use crate::StoreError;
use crate::sqlite::reads;
use crate::sqlite::rows::{Run, json};
use crate::sqlite::state::Session;
use crate::sqlite::work::{Durability, Stop, Work};
use crate::sqlite::writer::Operation;
use crate::types::{Pulse, Rescued};

pub(in crate::sqlite) struct Register(pub(in crate::sqlite) RunnerRecord, pub(in crate::sqlite) Timestamp);

impl Operation for Register {
    type Answer = ();

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Stop> {
        let Self(record, lease_until) = self;
        let before = work.state.sessions.values().filter(|s| s.is_live());
        let before = before.filter(|s| s.record.about.instance == record.about.instance).map(|s| s.record.id);
        for id in before.collect::<Vec<_>>() {
            lose_session(work, id, record.started_at)?;
        }
        let session =
            Session { record: record.clone(), lease_until: *lease_until, lease_written: *lease_until };
        work.state.sessions.insert(record.id, session);
        write(work, record.id)?;
        work.note_seq(record.id.seq());
        work.signal_deadline();
        Ok(())
    }
}

pub(in crate::sqlite) struct Heartbeat {
    pub(in crate::sqlite) runner: RunnerId,
    pub(in crate::sqlite) holds: Vec<Held>,
    pub(in crate::sqlite) now: Timestamp,
    pub(in crate::sqlite) lease_until: Timestamp,
}

impl Operation for Heartbeat {
    type Answer = Pulse;
    const DURABILITY: Durability = Durability::Process;

    fn run(&mut self, work: &mut Work<'_>) -> Result<Pulse, Stop> {
        let session = work.state.sessions.get_mut(&self.runner).filter(|s| s.is_live());
        let session = session.ok_or(StoreError::SessionOver)?;
        session.record.seen_at = self.now;
        session.lease_until = self.lease_until;
        let is_behind = session.is_behind(self.now);
        let mut pulse = Pulse { is_draining: session.record.is_draining, ..Pulse::default() };
        for held in &self.holds {
            match work.current(*held).filter(|run| run.state.runner == Some(self.runner)) {
                None => pulse.lost.push(*held),
                Some(run) if run.state.cancel_requested => pulse.cancel.push(*held),
                Some(_) => {}
            }
        }
        if is_behind && !held_by(work, self.runner).is_empty() {
            write(work, self.runner)?;
        }
        Ok(pulse)
    }
}

pub(in crate::sqlite) struct Release {
    pub(in crate::sqlite) runner: RunnerId,
    pub(in crate::sqlite) holds: Vec<Held>,
    pub(in crate::sqlite) leave: bool,
    pub(in crate::sqlite) now: Timestamp,
}

impl Operation for Release {
    type Answer = ();

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Stop> {
        for run in held_by(work, self.runner) {
            let held = Held { task: run.task, fence: run.fence };
            if self.leave || self.holds.contains(&held) {
                let again =
                    Verdict::Again { run_at: self.now, why: Again::Lost, msg: GIVEN_BACK_MSG.to_owned() };
                let verdict = again.unless_cancelled(run.state.cancel_requested);
                lose(work, &run, GIVEN_BACK_MSG, &verdict, 0, self.now)?;
            }
        }
        if self.leave
            && let Some(session) = work.state.sessions.get_mut(&self.runner).filter(|s| s.is_live())
        {
            session.record.gone_at = Some(self.now);
            write(work, self.runner)?;
        }
        Ok(())
    }
}

pub(in crate::sqlite) struct Rescue(pub(in crate::sqlite) Timestamp);

impl Operation for Rescue {
    type Answer = Rescued;

    fn run(&mut self, work: &mut Work<'_>) -> Result<Rescued, Stop> {
        let live = work.state.sessions.values().filter(|s| s.is_live());
        let silent: Vec<RunnerId> = live.filter(|s| s.lease_until <= self.0).map(|s| s.record.id).collect();
        let mut tasks = 0;
        for runner in &silent {
            tasks += lose_session(work, *runner, self.0)?;
        }
        let live = work.state.sessions.values().filter(|s| s.is_live());
        Ok(Rescued { runners: silent, tasks, next_at: live.map(|s| s.lease_until).min() })
    }
}

pub(in crate::sqlite) struct SetDraining(pub(in crate::sqlite) RunnerId, pub(in crate::sqlite) bool);

impl Operation for SetDraining {
    type Answer = bool;

    fn run(&mut self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let session = work.state.sessions.get_mut(&self.0).filter(|s| s.is_live());
        let Some(session) = session else { return Ok(false) };
        session.record.is_draining = self.1;
        write(work, self.0)?;
        Ok(true)
    }
}

/// Every session with the number of tasks it holds; through the writer, as leases are in its memory.
pub(in crate::sqlite) struct ListSessions;

impl Operation for ListSessions {
    type Answer = Vec<(RunnerRecord, u32)>;
    const DURABILITY: Durability = Durability::Process;

    fn run(&mut self, work: &mut Work<'_>) -> Result<Self::Answer, Stop> {
        let mut held: HashMap<RunnerId, u32> = HashMap::new();
        for runner in work.state.running.values().filter_map(|run| run.state.runner) {
            *held.entry(runner).or_default() += 1;
        }
        let sessions = work.state.sessions.values().rev().map(|session| &session.record);
        Ok(sessions.map(|record| (record.clone(), held.get(&record.id).copied().unwrap_or(0))).collect())
    }
}

/// Writes every session as memory has it.
pub(in crate::sqlite) fn flush(work: &mut Work<'_>) -> rusqlite::Result<()> {
    let live = work.state.sessions.values().filter(|s| s.is_live()).map(|s| s.record.id);
    for id in live.collect::<Vec<_>>() {
        write(work, id)?;
    }
    Ok(())
}

/// Writes a session as memory has it.
pub(super) fn write(work: &mut Work<'_>, id: RunnerId) -> rusqlite::Result<()> {
    let mut put = work.write("INSERT OR REPLACE INTO session(seq, lease_until, data) VALUES (?1, ?2, ?3)")?;
    if let Some(session) = work.state.sessions.get_mut(&id) {
        put.execute(params![id.seq().0, session.lease_until.as_millis(), json(&session.record)])?;
        session.lease_written = session.lease_until;
    }
    Ok(())
}

fn lose_session(work: &mut Work<'_>, runner: RunnerId, now: Timestamp) -> rusqlite::Result<u64> {
    if let Some(session) = work.state.sessions.get_mut(&runner) {
        session.record.gone_at = Some(now);
    }
    write(work, runner)?;
    let held = held_by(work, runner);
    for run in &held {
        let verdict = conclude(run.trial(), &Outcome::Lost, "", run.policy, 0.0, now);
        lose(work, run, LOST_MSG, &verdict, 1, now)?;
    }
    Ok(held.len() as u64)
}

/// What the runner holds, oldest first.
fn held_by(work: &Work<'_>, runner: RunnerId) -> Vec<Arc<Run>> {
    let held = work.state.running.values().filter(|run| run.state.runner == Some(runner));
    let mut held: Vec<Arc<Run>> = held.cloned().collect();
    held.sort_by_key(|run| run.task);
    held
}

/// An attempt comes to nothing; it keeps the log it has.
fn lose(
    work: &mut Work<'_>,
    run: &Run,
    msg: &str,
    verdict: &Verdict,
    losses: u32,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let chunks =
        if run.has_chunks { reads::log::chunks(work.conn(), run.task.seq(), 0)? } else { Vec::new() };
    let log = (!chunks.is_empty()).then(|| Stored::Inline(log::encode(&chunks)));
    let ended = Ended {
        outcome: &Outcome::Lost,
        msg,
        usage: None,
        isolation: None,
        log: log.as_ref(),
        log_size_bytes: log::size_bytes(&chunks),
    };
    ending::end_attempt(work, run, &ended, verdict, losses, now)?;
    Ok(())
}
