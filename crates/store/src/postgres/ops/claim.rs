//! Handing out tasks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use tokio_postgres::Row;
use windlass_model::code::{Code, Revision};
use windlass_model::id::{RunnerId, Seq};
use windlass_model::isolation::Level;
use windlass_model::lease::Fence;
use windlass_model::task::{Status, Task};
use windlass_model::time::Timestamp;

use super::codes::{self, Stray};
use crate::StoreError;
use crate::encoding::{int, prank};
use crate::postgres::fault::{Stop, damaged};
use crate::postgres::group::Grouped;
use crate::postgres::param::params;
use crate::postgres::rows::{self, Lane, Run};
use crate::postgres::work::Work;
use crate::types::{Claimed, Claiming, Partition};

#[derive(Debug)]
pub(in crate::postgres) struct Claim(pub(in crate::postgres) Claiming, pub(in crate::postgres) Timestamp);

/// What a claim came to, so far.
#[derive(Debug)]
pub(in crate::postgres) struct Taken {
    pub(in crate::postgres) claimed: Vec<Claimed>,
    /// What was in the way: it is to be moved, then there may be more.
    pub(in crate::postgres) strays: Vec<Stray>,
}

impl Grouped for Claim {
    type Answer = Taken;
    // A claim that a power failure undoes leaves its task queued: nothing is lost, and pickup waits for no sync.
    const IS_RELAXED: bool = true;

    fn rows(&self) -> usize {
        self.0.want
    }

    async fn run(group: &[Self], work: &mut Work<'_>) -> Result<Vec<Result<Taken, StoreError>>, Stop> {
        let sessions = sessions(work, group).await?;
        let mut answers: Vec<Result<Taken, StoreError>> = group
            .iter()
            .map(|Self(claiming, _)| match sessions.contains_key(&claiming.runner) {
                true => Ok(Taken { claimed: Vec::new(), strays: Vec::new() }),
                false => Err(StoreError::SessionOver),
            })
            .collect();
        let mut alike: BTreeMap<(&str, Level), Vec<usize>> = BTreeMap::new();
        for (at, Self(claiming, _)) in group.iter().enumerate() {
            if let Some((false, level)) = sessions.get(&claiming.runner)
                && claiming.want > 0
            {
                alike.entry((&claiming.cluster, *level)).or_default().push(at);
            }
        }
        for ((cluster, level), asking) in alike {
            let Some(cluster) = work.state.cluster(cluster).await? else { continue };
            let wants: Vec<(usize, &Claiming)> = asking.iter().map(|&at| (at, &group[at].0)).collect();
            let now = asking.iter().map(|&at| group[at].1).max().unwrap_or_default();
            let (taken, strays) = take(work, cluster, level, &wants, now).await?;
            for (at, claimed) in taken {
                if let Ok(answer) = &mut answers[at] {
                    answer.claimed.push(claimed);
                }
            }
            for at in asking {
                if let Ok(answer) = &mut answers[at] {
                    answer.strays.clone_from(&strays);
                }
            }
        }
        Ok(answers)
    }
}

/// The sessions that are live: whether they drain, and how they isolate. None of them ends before this transaction does.
async fn sessions(work: &mut Work<'_>, group: &[Claim]) -> Result<HashMap<RunnerId, (bool, Level)>, Stop> {
    let runners: HashSet<RunnerId> = group.iter().map(|Claim(claiming, _)| claiming.runner).collect();
    let runners: Vec<Vec<u8>> = runners.into_iter().map(|id| rows::id(id.0)).collect();
    let sql = "SELECT id, is_draining, level FROM session WHERE id = ANY($1) AND gone_at IS NULL ORDER BY id FOR SHARE";
    let mut live = HashMap::new();
    for row in work.query(sql, params![runners]).await? {
        if let Some(id) = rows::id_at(&row, 0)? {
            live.insert(RunnerId(id), (row.try_get(1)?, rows::level_at(&row, 2)?));
        }
    }
    Ok(live)
}

/// Takes tasks of the cluster for those who ask, the first of them first; and says what was in the way.
async fn take(
    work: &mut Work<'_>,
    cluster: i32,
    level: Level,
    wants: &[(usize, &Claiming)],
    now: Timestamp,
) -> Result<(Vec<(usize, Claimed)>, Vec<Stray>), Stop> {
    let total: usize = wants.iter().map(|(_, claiming)| claiming.want).sum();
    let picked = look(work, cluster, level, total).await?;
    let (mut order, mut strays) = (Vec::new(), Vec::new());
    for row in &picked {
        match row.try_get(3)? {
            true => strays.push(Stray { cluster, code: row.try_get(2)?, from: row.try_get(0)? }),
            false => order.push(row.try_get::<_, i64>(0)?),
        }
    }
    if order.is_empty() {
        return Ok((Vec::new(), strays));
    }
    let mut tasks = read(work, &order).await?;
    let fences = (work.state.fences(order.len()).0..).map(Fence);
    let runners =
        wants.iter().flat_map(|(at, claiming)| std::iter::repeat_n((*at, claiming.runner), claiming.want));
    let mut taken = Vec::with_capacity(order.len());
    let mut runs = Vec::with_capacity(order.len());
    let mut waited = Vec::new();
    for ((seq, (at, runner)), fence) in order.iter().zip(runners).zip(fences) {
        let found = tasks.remove(seq).ok_or_else(|| damaged("a queued task is not there"))?;
        if found.has_waited {
            waited.push(*seq);
        }
        work.count(found.lane, Status::Queued, -1, now);
        work.count(found.lane, Status::Running, 1, now);
        let (new, mut state) = (found.task.new, found.task.state);
        state.attempts += 1;
        state.runner = Some(runner);
        let attempt = state.attempts;
        runs.push(Run {
            task: new.id,
            lane: found.lane,
            prank: prank(new.priority),
            fence,
            policy: new.retry,
            schedule: new.schedule,
            has_chunks: false,
            state,
        });
        let revision = Arc::unwrap_or_clone(found.revision);
        let code_name = found.code.name.clone();
        taken.push((at, Claimed { task: new, fence, attempt, revision, code_name }));
    }
    if !waited.is_empty() {
        work.later("DELETE FROM waiting WHERE seq = ANY($1)", params![waited]);
    }
    macro_rules! column {
        (|$run:ident| $value:expr) => {
            runs.iter().map(|$run| $value).collect::<Vec<_>>()
        };
    }
    work.later(
        include_str!("../sql/insert_running.sql"),
        params![
            now.as_millis(),
            column!(|r| r.task.seq().0),
            column!(|r| r.state.run_at.as_millis()),
            column!(|r| r.state.attempts as i32),
            column!(|r| r.state.retries as i32),
            column!(|r| r.state.losses as i32),
            column!(|r| r.state.runner.map(|id| rows::id(id.0))),
            column!(|r| int(r.state.log_size_bytes)),
            column!(|r| r.fence.0),
            column!(|r| i64::from(r.task.0.tag)),
            column!(|r| r.lane.code),
            column!(|r| r.lane.cluster),
            column!(|r| i16::from(r.prank)),
            column!(|r| i64::from(r.policy.retries)),
            column!(|r| int(r.policy.delay_ms)),
            column!(|r| r.schedule.map(|id| rows::id(id.0))),
        ],
    );
    Ok((taken, strays))
}

static WHOLE: LazyLock<String> = LazyLock::new(|| {
    include_str!("../sql/claim.sql").replace("{look}", include_str!("../sql/claim_whole.sql"))
});
static ABOVE: LazyLock<String> = LazyLock::new(|| {
    include_str!("../sql/claim.sql").replace("{look}", include_str!("../sql/claim_above.sql"))
});

/// Takes up to `total` keys.
async fn look(work: &mut Work<'_>, cluster: i32, level: Level, total: usize) -> Result<Vec<Row>, Stop> {
    let start = Instant::now();
    let mut params = params![cluster, total as i64, level as i16];
    let floors = work.state.floors.lock().at(start);
    let is_whole = floors.is_none();
    let picked = match floors {
        None => work.query(&WHOLE, params).await?,
        Some((lanes, pranks, seqs)) => {
            params.extend(params![lanes, pranks, seqs]);
            work.query(&ABOVE, params).await?
        }
    };
    let taken = picked.iter().filter_map(|row| match row.get(3) {
        true => None,
        false => Some((row.get(4), row.get(1), row.get(0))),
    });
    let taken: Vec<(i32, i16, i64)> = taken.collect();
    let (now, took) = (Instant::now(), start.elapsed());
    work.state.floors.lock().found(taken.into_iter(), is_whole, took, now);
    Ok(picked)
}

struct Found {
    task: Task,
    lane: Lane,
    has_waited: bool,
    code: Arc<Code>,
    revision: Arc<Revision>,
}

/// The tasks whole, by their keys.
async fn read(work: &mut Work<'_>, order: &[i64]) -> Result<HashMap<i64, Found>, Stop> {
    let mut days: BTreeMap<Partition, Vec<i64>> = BTreeMap::new();
    for &seq in order {
        days.entry(Partition::at(Seq(seq).created_at())).or_default().push(seq);
    }
    let mut tasks = HashMap::with_capacity(order.len());
    for (partition, keys) in days {
        let missing = || damaged("a queued task is not there");
        let tables = work.state.tables(partition).await?.ok_or_else(missing)?;
        for row in work.query(&tables.claimed_task, params![keys]).await? {
            let lane = rows::lane(&row)?;
            let code =
                work.state.package(lane.code).await?.ok_or_else(|| damaged("a task without its package"))?;
            let task = rows::task(&row, &work.state.known())?.ok_or_else(missing)?;
            let revision = match code.latest.rev == task.new.rev {
                true => Some(Arc::new(code.latest.clone())),
                false => work.state.revision(lane.code, task.new.rev).await?,
            };
            let revision = revision.ok_or_else(|| damaged("a task without its revision"))?;
            let has_waited = row.try_get(32)?;
            tasks.insert(task.new.id.seq().0, Found { task, lane, has_waited, code, revision });
        }
    }
    Ok(tasks)
}

/// Moves what was in the way of a claim.
pub(in crate::postgres) async fn clear(
    state: &crate::postgres::state::State,
    strays: &[Stray],
    writer: i16,
) -> Result<(), Stop> {
    for stray in strays {
        codes::move_strays(state, *stray, writer).await?;
    }
    Ok(())
}
