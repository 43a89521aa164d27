//! What workers say while they run: progress and output.

use rusqlite::params;
use windlass_model::id::TaskId;
use windlass_model::log::{LogChunk, Stream};
use windlass_model::runner::{AttemptLog, Held};
use windlass_model::task::TaskState;
use windlass_model::time::Timestamp;

use crate::sqlite::reads;
use crate::sqlite::work::{Durability, Stop, Work};
use crate::sqlite::writer::Operation;
use crate::types::Partition;

pub(in crate::sqlite) struct Progress {
    pub(in crate::sqlite) task: TaskId,
    pub(in crate::sqlite) percent: Option<u8>,
    pub(in crate::sqlite) msg: Option<String>,
    pub(in crate::sqlite) now: Timestamp,
}

impl Progress {
    fn apply(&self, state: &mut TaskState) {
        state.percent = self.percent.unwrap_or(state.percent);
        if let Some(msg) = &self.msg {
            state.msg.clone_from(msg);
        }
        state.updated_at = self.now;
    }
}

impl Operation for Progress {
    type Answer = bool;

    fn run(&mut self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let seq = self.task.seq();
        if let Some(run) = work.state.running.get(&seq.0) {
            if run.task != self.task {
                return Ok(false);
            }
            let mut run = (**run).clone();
            self.apply(&mut run.state);
            work.write("UPDATE running SET percent = ?2, msg = ?3, updated = ?4 WHERE seq = ?1")?.execute(
                params![seq.0, run.state.percent, run.state.msg, run.state.updated_at.as_millis()],
            )?;
            work.keep_running(run);
        } else {
            let Some(tables) = work.tables(Partition::of(self.task)) else { return Ok(false) };
            let found = reads::task::row(work.conn(), &work.state.view.catalog, &tables, seq)?;
            let Some((task, ..)) = found.filter(|(task, ..)| task.new.id == self.task) else {
                return Ok(false);
            };
            let mut state = task.state;
            if state.status.is_final() {
                return Ok(false);
            }
            self.apply(&mut state);
            work.put_waiting(seq, &state)?;
        }
        work.signal_task(self.task);
        Ok(true)
    }
}

pub(in crate::sqlite) struct AppendLogs(pub(in crate::sqlite) Vec<AttemptLog>);

impl Operation for AppendLogs {
    type Answer = Vec<Held>;
    const DURABILITY: Durability = Durability::Process;

    fn rows(&self) -> usize {
        self.0.iter().map(|log| log.chunks.len()).sum()
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<Vec<Held>, Stop> {
        let mut lost = Vec::new();
        for AttemptLog { held, chunks } in &self.0 {
            let Some(run) = work.current(*held) else {
                lost.push(*held);
                continue;
            };
            for chunk in chunks {
                insert(work, held.task, chunk)?;
            }
            if !run.has_chunks {
                let mut run = (*run).clone();
                run.has_chunks = true;
                work.keep_running(run);
            }
            work.signal_task(held.task);
        }
        Ok(lost)
    }
}

fn insert(work: &mut Work<'_>, task: TaskId, chunk: &LogChunk) -> rusqlite::Result<()> {
    let stream = match chunk.stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
        Stream::System => 3,
    };
    work.write("INSERT OR IGNORE INTO chunk(seq, n, stream, at_ms, data) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![task.seq().0, chunk.n, stream, chunk.at_ms, chunk.data.0])?;
    Ok(())
}
