//! What workers say while they run: progress and output.

use std::collections::HashSet;

use windlass_model::id::{Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::log::Stream;
use windlass_model::runner::{AttemptLog, Held};
use windlass_model::time::Timestamp;

use super::ending::{put_waiting, text};
use crate::StoreError;
use crate::postgres::fault::Stop;
use crate::postgres::group::Grouped;
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::Operation;
use crate::postgres::work::Work;
use crate::types::Partition;

pub(in crate::postgres) struct Progress {
    pub(in crate::postgres) task: TaskId,
    pub(in crate::postgres) percent: Option<u8>,
    pub(in crate::postgres) msg: Option<String>,
    pub(in crate::postgres) now: Timestamp,
}

impl Operation for Progress {
    type Answer = bool;

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let (seq, tag, now) = (self.task.seq().0, i64::from(self.task.0.tag), self.now.as_millis());
        let (percent, msg) = (self.percent.map(i16::from), self.msg.as_deref().map(text));
        let running = "UPDATE running SET percent = coalesce($3, percent), msg = coalesce($4, msg), updated = $5 \
                       WHERE seq = $1 AND tag = $2 RETURNING seq";
        let running = work.query(running, params![seq, tag, percent, msg.clone(), now]).await?;
        if running.is_empty() {
            let Some(tables) = work.state.tables(Partition::of(self.task)).await? else { return Ok(false) };
            let Some(row) = work.query_opt(&tables.task, params![vec![seq]]).await? else { return Ok(false) };
            work.state.package(rows::lane(&row)?.code).await?;
            let task = rows::task(&row, &work.state.known())?.filter(|task| task.new.id == self.task);
            let Some(task) = task.filter(|task| !task.state.status.is_final()) else { return Ok(false) };
            // It stays queued until this is written: whoever claims it waits.
            let queued = work
                .query(include_str!("../sql/lock_queued.sql"), params![seq, rows::lane(&row)?.code])
                .await?;
            if queued.is_empty() {
                return Err(Stop::Refused(StoreError::Unavailable(
                    "the task moved while its progress was noted".to_owned(),
                )));
            }
            let mut state = task.state;
            state.percent = self.percent.unwrap_or(state.percent);
            if let Some(msg) = &self.msg {
                state.msg.clone_from(msg);
            }
            state.updated_at = self.now;
            put_waiting(work, &[(seq, state)]);
        }
        work.signal_task(self.task);
        Ok(true)
    }
}

#[derive(Debug)]
pub(in crate::postgres) struct AppendLogs(pub(in crate::postgres) Vec<AttemptLog>);

impl Grouped for AppendLogs {
    type Answer = Vec<Held>;
    const IS_RELAXED: bool = true;
    const IS_GATED: bool = false;

    fn rows(&self) -> usize {
        self.0.iter().map(|log| log.chunks.len()).sum()
    }

    async fn run(group: &[Self], work: &mut Work<'_>) -> Result<Vec<Result<Vec<Held>, StoreError>>, Stop> {
        let mut held: Vec<Held> = group.iter().flat_map(|Self(logs)| logs).map(|log| log.held).collect();
        held.sort_unstable_by_key(|held| (held.task.seq(), held.fence));
        let current = current(work, &held).await?;
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut answers = Vec::with_capacity(group.len());
        for Self(logs) in group {
            let mut lost = Vec::new();
            for AttemptLog { held, chunks } in logs {
                if !current.contains(held) {
                    lost.push(*held);
                    continue;
                }
                for chunk in chunks {
                    columns.0.push(held.task.seq().0);
                    columns.1.push(i64::from(chunk.n));
                    columns.2.push(stream(chunk.stream));
                    columns.3.push(i64::from(chunk.at_ms));
                    columns.4.push(chunk.data.0.clone());
                }
                work.signal_task(held.task);
            }
            answers.push(Ok(lost));
        }
        if !columns.0.is_empty() {
            let (seqs, ns, streams, ats, data) = columns;
            work.later(
                "INSERT INTO chunk(seq, n, stream, at_ms, data) \
                 SELECT * FROM unnest($1::int8[], $2::int8[], $3::int2[], $4::int8[], $5::bytea[]) \
                 ON CONFLICT DO NOTHING",
                params![seqs, ns, streams, ats, data],
            );
        }
        Ok(answers)
    }
}

/// Those of the attempts that are current; none of them ends before this transaction does.
async fn current(work: &mut Work<'_>, held: &[Held]) -> Result<HashSet<Held>, Stop> {
    let seqs: Vec<i64> = held.iter().map(|held| held.task.seq().0).collect();
    let fences: Vec<i64> = held.iter().map(|held| held.fence.0).collect();
    let sql = "SELECT r.seq, r.tag, r.fence FROM unnest($1::int8[], $2::int8[]) AS i(seq, fence) \
               JOIN running r ON r.seq = i.seq AND r.fence = i.fence ORDER BY r.seq FOR KEY SHARE OF r";
    let mut current = HashSet::new();
    for row in work.query(sql, params![seqs, fences]).await? {
        let task = TaskId::new(Seq(row.try_get(0)?), rows::narrow(&row, 1)?);
        current.insert(Held { task, fence: Fence(row.try_get(2)?) });
    }
    Ok(current)
}

fn stream(stream: Stream) -> i16 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
        Stream::System => 3,
    }
}
