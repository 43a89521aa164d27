//! Handing out tasks.

use rusqlite::params;
use windlass_model::task::Status;

use super::{codes, sessions};
use crate::StoreError;
use crate::sqlite::reads;
use crate::sqlite::rows::{self, IdBytes, Run, int};
use crate::sqlite::window::{Key, Next, WINDOW};
use crate::sqlite::work::{Durability, Stop, Work};
use crate::sqlite::writer::Operation;
use crate::types::{Claimed, Claiming, Partition};
use windlass_model::id::Seq;
use windlass_model::time::Timestamp;

pub(in crate::sqlite) struct Claim(pub(in crate::sqlite) Claiming, pub(in crate::sqlite) Timestamp);

impl Operation for Claim {
    type Answer = Vec<Claimed>;
    // A claim that a power failure undoes leaves its task queued: nothing is lost, and pickup waits for no sync.
    const DURABILITY: Durability = Durability::Process;
    const IS_LAST: bool = true;

    fn rows(&self) -> usize {
        self.0.want
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<Vec<Claimed>, Stop> {
        let Self(claiming, now) = self;
        let session = work.state.sessions.get(&claiming.runner).filter(|s| s.is_live());
        let session = session.ok_or(StoreError::SessionOver)?;
        let level = session.record.about.isolation.at_least();
        let mut claimed = Vec::new();
        if session.record.is_draining {
            return Ok(claimed);
        }
        while claimed.len() < claiming.want {
            match work.state.windows.next(&claiming.cluster, level) {
                Next::Nothing => break,
                Next::Fill(lane) => {
                    let keys = first_keys(work, lane)?;
                    work.state.windows.fill(lane, keys);
                }
                Next::Take(lane, key) => claimed.push(take(work, lane, key, claiming, *now)?),
            }
        }
        if !claimed.is_empty() && work.state.sessions.get(&claiming.runner).is_some_and(|s| s.is_behind(*now))
        {
            sessions::write(work, claiming.runner)?;
        }
        Ok(claimed)
    }
}

fn first_keys(work: &Work<'_>, lane: usize) -> rusqlite::Result<Vec<Key>> {
    let mut keys = work.read("SELECT prank, seq FROM ready WHERE lane = ?1 ORDER BY prank, seq LIMIT ?2")?;
    let keys =
        keys.query_map(params![lane, WINDOW], |row| Ok(Key { prank: row.get(0)?, seq: row.get(1)? }))?;
    keys.collect()
}

fn take(
    work: &mut Work<'_>,
    lane: usize,
    key: Key,
    claiming: &Claiming,
    now: Timestamp,
) -> Result<Claimed, rusqlite::Error> {
    let seq = Seq(key.seq);
    let tables = work.tables(Partition::at(seq.created_at())).ok_or_else(missing)?;
    let catalog = &work.state.view.catalog;
    let mut found = work.read(&tables.claimed_task)?;
    let (found, has_waited) =
        found.query_row([key.seq], |row| Ok((rows::task(row, catalog)?, row.get::<_, bool>(30)?)))?;
    let (mut task, _, is_large) = found.ok_or_else(missing)?;
    if is_large {
        task.new.payload = reads::task::large_payload(work.conn(), &tables, seq)?;
    }
    let package = catalog.lanes()[lane].package;
    let code_name = catalog.packages()[package].name.clone();
    let revision = codes::revision(work, package, task.new.rev)?.ok_or_else(missing)?;
    let fence = work.mint_fence(now)?;
    work.write("DELETE FROM ready WHERE lane = ?1 AND prank = ?2 AND seq = ?3")?
        .execute(params![lane, key.prank, key.seq])?;
    if has_waited {
        work.write("DELETE FROM waiting WHERE seq = ?1")?.execute([key.seq])?;
    }
    let mut state = task.state;
    state.status = Status::Running;
    state.attempts += 1;
    state.started_at = Some(now);
    state.updated_at = now;
    state.percent = 0;
    state.msg = String::new();
    state.runner = Some(claiming.runner);
    work.write(include_str!("../sql/insert_running.sql"))?.execute(params![
        key.seq,
        state.run_at.as_millis(),
        state.attempts,
        state.retries,
        state.losses,
        now.as_millis(),
        now.as_millis(),
        state.percent,
        state.msg,
        IdBytes(claiming.runner.0),
        int(state.log_size_bytes),
        fence.0,
        task.new.id.0.tag,
        lane,
        key.prank,
        task.new.retry.retries,
        int(task.new.retry.delay_ms),
        task.new.schedule.map(|id| IdBytes(id.0)),
    ])?;
    work.count(lane, Some(Status::Queued), Some(Status::Running), now);
    let attempt = state.attempts;
    work.keep_running(Run {
        task: task.new.id,
        lane,
        prank: key.prank,
        fence,
        policy: task.new.retry,
        schedule: task.new.schedule,
        has_chunks: false,
        state,
    });
    Ok(Claimed { task: task.new, fence, attempt, revision: (*revision).clone(), code_name })
}

/// A ready key without its task, or a task without its revision.
fn missing() -> rusqlite::Error {
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(corrupt, Some("a queued task is not whole".to_owned()))
}
