//! Cancelling tasks.

use rusqlite::params;
use windlass_model::id::{Seq, TaskId};
use windlass_model::lifecycle::CANCELLED_MSG;
use windlass_model::task::Status;
use windlass_model::time::Timestamp;

use super::ending;
use crate::sqlite::reads;
use crate::sqlite::rows::prank;
use crate::sqlite::window::Key;
use crate::sqlite::work::{Stop, Work};
use crate::sqlite::writer::Operation;
use crate::types::{Cancelled, Partition};

pub(in crate::sqlite) struct CancelUnlessFinal(
    pub(in crate::sqlite) Vec<TaskId>,
    pub(in crate::sqlite) Timestamp,
);

impl Operation for CancelUnlessFinal {
    type Answer = Vec<Cancelled>;

    fn rows(&self) -> usize {
        self.0.len()
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<Vec<Cancelled>, Stop> {
        let now = self.1;
        let mut answers = Vec::with_capacity(self.0.len());
        for task in &self.0 {
            answers.push(cancel(work, *task, now)?);
        }
        Ok(answers)
    }
}

fn cancel(work: &mut Work<'_>, task: TaskId, now: Timestamp) -> rusqlite::Result<Cancelled> {
    let Some(tables) = work.tables(Partition::of(task)) else { return Ok(Cancelled::Unknown) };
    if let Some(run) = work.state.running.get(&task.seq().0).filter(|run| run.task == task) {
        if !run.state.cancel_requested {
            let mut run = (**run).clone();
            run.state.cancel_requested = true;
            run.state.updated_at = now;
            work.write("UPDATE running SET cancel_requested = 1, updated = ?2 WHERE seq = ?1")?
                .execute(params![task.seq().0, now.as_millis()])?;
            work.keep_running(run);
        }
        work.signal_cancel();
        work.signal_task(task);
        return Ok(Cancelled::Requested);
    }
    if !reads::task::has_tag(work.conn(), &tables, task)? {
        return Ok(Cancelled::Unknown);
    }
    if reads::task::final_status(work.conn(), &tables, task.seq())?.is_some() {
        return Ok(Cancelled::WasFinal);
    }
    end_queued(work, task.seq(), CANCELLED_MSG, now)?;
    Ok(Cancelled::AtOnce)
}

/// Cancels a task that is queued.
pub(super) fn end_queued(work: &mut Work<'_>, seq: Seq, msg: &str, now: Timestamp) -> rusqlite::Result<()> {
    let Some(tables) = work.tables(Partition::at(seq.created_at())) else { return Ok(()) };
    let found = reads::task::row(work.conn(), &work.state.view.catalog, &tables, seq)?;
    let Some((task, lane, _)) = found else { return Ok(()) };
    let key = Key { prank: prank(task.new.priority), seq: seq.0 };
    let ready = work
        .write("DELETE FROM ready WHERE lane = ?1 AND prank = ?2 AND seq = ?3")?
        .execute(params![lane, key.prank, key.seq])?;
    if ready == 0 {
        work.write("DELETE FROM delayed WHERE run_at = ?1 AND seq = ?2")?
            .execute(params![task.state.run_at.as_millis(), key.seq])?;
    } else {
        work.state.windows.remove(lane, key);
    }
    work.write("DELETE FROM waiting WHERE seq = ?1")?.execute([key.seq])?;
    let mut state = task.state;
    msg.clone_into(&mut state.msg);
    ending::finish_task(work, task.new.id, lane, &state, Status::Cancelled, None, now)?;
    work.count(lane, Some(Status::Queued), Some(Status::Cancelled), now);
    work.signal_task(task.new.id);
    Ok(())
}
