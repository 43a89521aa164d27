//! Cancelling tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use windlass_model::id::{Seq, TaskId};
use windlass_model::lifecycle::CANCELLED_MSG;
use windlass_model::task::Status;
use windlass_model::time::Timestamp;

use super::ending::{self, Final};
use crate::StoreError;
use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::Operation;
use crate::postgres::work::Work;
use crate::types::{Cancelled, Partition};

pub(in crate::postgres) struct CancelUnlessFinal(
    pub(in crate::postgres) Vec<TaskId>,
    pub(in crate::postgres) Timestamp,
);

/// Looks at a task that another transaction moves from table to table.
const LOOKS: usize = 10;

impl Operation for CancelUnlessFinal {
    type Answer = Vec<Cancelled>;

    async fn run(&self, work: &mut Work<'_>) -> Result<Vec<Cancelled>, Stop> {
        let Self(tasks, now) = self;
        let mut found: HashMap<TaskId, Cancelled> = HashMap::new();
        let mut open: BTreeSet<TaskId> = tasks.iter().copied().collect();
        for _ in 0..LOOKS {
            if open.is_empty() {
                break;
            }
            for task in ask_running(work, &open, *now).await? {
                open.remove(&task);
                found.insert(task, Cancelled::Requested);
            }
            let standing = standing(work, &open).await?;
            for task in std::mem::take(&mut open) {
                match standing.get(&task) {
                    None => drop(found.insert(task, Cancelled::Unknown)),
                    Some(Some(_)) => drop(found.insert(task, Cancelled::WasFinal)),
                    Some(None) => drop(open.insert(task)),
                }
            }
            let queued: Vec<i64> = open.iter().map(|task| task.seq().0).collect();
            let ended = end_queued(work, &queued, CANCELLED_MSG, *now).await?;
            // What is left was taken in the meantime: look again where it is now.
            for task in std::mem::take(&mut open) {
                match ended.contains(&task.seq().0) {
                    true => drop(found.insert(task, Cancelled::AtOnce)),
                    false => drop(open.insert(task)),
                }
            }
        }
        if !open.is_empty() {
            return Err(Stop::Refused(StoreError::Unavailable(
                "tasks moved faster than they were found".to_owned(),
            )));
        }
        let mut answers = Vec::with_capacity(tasks.len());
        for task in tasks {
            answers.push(found[task]);
            // Named once more, it is as the first time left it.
            if found[task] == Cancelled::AtOnce {
                found.insert(*task, Cancelled::WasFinal);
            }
        }
        Ok(answers)
    }
}

/// Notes for those that run that they are to be cancelled.
async fn ask_running(
    work: &mut Work<'_>,
    tasks: &BTreeSet<TaskId>,
    now: Timestamp,
) -> Result<Vec<TaskId>, Stop> {
    let seqs: Vec<i64> = tasks.iter().map(|task| task.seq().0).collect();
    let tags: Vec<i64> = tasks.iter().map(|task| i64::from(task.0.tag)).collect();
    let rows =
        work.query(include_str!("../sql/ask_to_cancel.sql"), params![seqs, tags, now.as_millis()]).await?;
    let mut asked = Vec::with_capacity(rows.len());
    for row in &rows {
        let task = TaskId::new(Seq(row.try_get(0)?), rows::narrow(row, 1)?);
        work.signal_task(task);
        asked.push(task);
    }
    if !asked.is_empty() {
        work.signal_cancel();
    }
    Ok(asked)
}

/// The tasks that are there, with their final status if they have ended.
async fn standing(
    work: &mut Work<'_>,
    tasks: &BTreeSet<TaskId>,
) -> Result<HashMap<TaskId, Option<Status>>, Stop> {
    let mut days: BTreeMap<Partition, Vec<i64>> = BTreeMap::new();
    for task in tasks {
        days.entry(Partition::of(*task)).or_default().push(task.seq().0);
    }
    let mut standing = HashMap::new();
    for (partition, seqs) in days {
        let Some(tables) = work.state.tables(partition).await? else { continue };
        for row in work.query(&tables.standing, params![seqs]).await? {
            let task = TaskId::new(Seq(row.try_get(0)?), rows::narrow(&row, 1)?);
            let status = row.try_get::<_, Option<i16>>(2)?.map(|_| rows::status_at(&row, 2)).transpose()?;
            standing.insert(task, status);
        }
    }
    Ok(standing)
}

/// Cancels those of the tasks that are queued; says which. Each of them is there.
pub(super) async fn end_queued(
    work: &mut Work<'_>,
    seqs: &[i64],
    msg: &str,
    now: Timestamp,
) -> Result<BTreeSet<i64>, Stop> {
    let mut days: BTreeMap<Partition, Vec<i64>> = BTreeMap::new();
    for &seq in seqs {
        days.entry(Partition::at(Seq(seq).created_at())).or_default().push(seq);
    }
    let mut ended = BTreeSet::new();
    let mut finals = Vec::new();
    for (partition, mut seqs) in days {
        let Some(tables) = work.state.tables(partition).await? else { continue };
        seqs.sort_unstable();
        // How they stand, before their rows are gone; what does not go with them is not used.
        let mut tasks = HashMap::new();
        for row in work.query(&tables.task, params![seqs]).await? {
            let lane = rows::lane(&row)?;
            work.state.package(lane.code).await?;
            if let Some(task) = rows::task(&row, &work.state.known())? {
                tasks.insert(task.new.id.seq().0, (task, lane));
            }
        }
        let keys: Vec<i64> = tasks.keys().copied().collect();
        let codes: Vec<i32> = keys.iter().map(|key| tasks[key].1.code).collect();
        for row in work.query(include_str!("../sql/take_queued.sql"), params![keys, codes]).await? {
            let seq: i64 = row.try_get(0)?;
            let Some((task, lane)) = tasks.remove(&seq) else { continue };
            ended.insert(seq);
            let mut state = task.state;
            msg.clone_into(&mut state.msg);
            state.error_class = None;
            work.count(lane, Status::Queued, -1, now);
            work.count(lane, Status::Cancelled, 1, now);
            work.signal_task(task.new.id);
            let (task, status, ended_at) = (task.new.id, Status::Cancelled, now);
            finals.push(Final { task, lane, state, status, ended_at, last: None });
        }
    }
    if !ended.is_empty() {
        work.later(
            "DELETE FROM waiting WHERE seq = ANY($1)",
            params![ended.iter().copied().collect::<Vec<i64>>()],
        );
    }
    ending::finish_tasks(work, finals).await?;
    Ok(ended)
}
