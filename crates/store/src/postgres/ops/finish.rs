//! Ends of attempts as they are reported.

use std::collections::HashMap;

use windlass_model::exit::{Again, Verdict};
use windlass_model::runner::Held;
use windlass_model::time::Timestamp;

use super::ending::{self, Ended, Ending};
use crate::StoreError;
use crate::postgres::fault::Stop;
use crate::postgres::group::Grouped;
use crate::postgres::param::params;
use crate::postgres::rows::{self, Run};
use crate::postgres::work::Work;
use crate::types::{Finish, Finished, Partition};

#[derive(Debug)]
pub(in crate::postgres) struct FinishIfLeased(
    pub(in crate::postgres) Vec<Finish>,
    pub(in crate::postgres) Timestamp,
);

impl Grouped for FinishIfLeased {
    type Answer = Vec<Finished>;

    fn rows(&self) -> usize {
        self.0.len()
    }

    async fn run(
        group: &[Self],
        work: &mut Work<'_>,
    ) -> Result<Vec<Result<Vec<Finished>, StoreError>>, Stop> {
        let now = group.iter().map(|Self(_, now)| *now).max().unwrap_or_default();
        let held: Vec<Held> = group.iter().flat_map(|Self(finishes, _)| finishes).map(|f| f.held).collect();
        let mut runs = take(work, held).await?;
        let mut endings = Vec::new();
        // By place in the group: which of the endings, or none where the lease is lost.
        let mut places: Vec<Vec<Option<usize>>> = Vec::with_capacity(group.len());
        for Self(finishes, _) in group {
            let mut of_request = Vec::with_capacity(finishes.len());
            for finish in finishes {
                of_request.push(runs.remove(&finish.held).map(|run| {
                    endings.push(ending(finish, run));
                    endings.len() - 1
                }));
            }
            places.push(of_request);
        }
        results(work, group, &places).await?;
        let statuses = ending::end(work, endings, now).await?;
        let answer =
            |place: Option<usize>| place.map_or(Finished::LeaseLost, |at| Finished::Now(statuses[at]));
        Ok(places.into_iter().map(|places| Ok(places.into_iter().map(answer).collect())).collect())
    }
}

/// Takes those of the attempts that are current out of `running`.
async fn take(work: &mut Work<'_>, mut held: Vec<Held>) -> Result<HashMap<Held, Run>, Stop> {
    // Sorted, as everything that several transactions write.
    held.sort_unstable_by_key(|held| (held.task.seq(), held.fence));
    held.dedup();
    let sql = format!(
        "DELETE FROM running r USING unnest($1::int8[], $2::int8[], $3::int8[]) AS i(seq, tag, fence) \
         WHERE r.seq = i.seq AND r.fence = i.fence AND r.tag = i.tag RETURNING {}",
        rows::RUN
    );
    let seqs = held.iter().map(|held| held.task.seq().0).collect::<Vec<_>>();
    let tags = held.iter().map(|held| i64::from(held.task.0.tag)).collect::<Vec<_>>();
    let fences = held.iter().map(|held| held.fence.0).collect::<Vec<_>>();
    let mut runs = HashMap::with_capacity(held.len());
    for row in work.query(&sql, params![seqs, tags, fences]).await? {
        let run = rows::run(&row)?;
        runs.insert(Held { task: run.task, fence: run.fence }, run);
    }
    Ok(runs)
}

fn ending(finish: &Finish, run: Run) -> Ending<'_> {
    let verdict = finish.verdict.clone().unless_cancelled(run.state.cancel_requested);
    let losses = u32::from(matches!(verdict, Verdict::Again { why: Again::Lost, .. }));
    let ended = Ended {
        outcome: &finish.outcome,
        msg: &finish.msg,
        usage: finish.usage,
        isolation: finish.isolation.as_ref(),
        log: finish.log.as_ref(),
        log_size_bytes: finish.log_size_bytes,
    };
    Ending { run, ended, verdict, losses }
}

/// Keeps what workers left as their results.
async fn results(
    work: &mut Work<'_>,
    group: &[FinishIfLeased],
    places: &[Vec<Option<usize>>],
) -> Result<(), Stop> {
    let mut days: HashMap<Partition, (Vec<i64>, Vec<Vec<u8>>)> = HashMap::new();
    for (FinishIfLeased(finishes, _), places) in group.iter().zip(places) {
        for (finish, place) in finishes.iter().zip(places) {
            if let (Some(result), Some(_)) = (&finish.result, place) {
                let (seqs, data) = days.entry(Partition::of(finish.held.task)).or_default();
                seqs.push(finish.held.task.seq().0);
                data.push(rows::stored(result));
            }
        }
    }
    for (partition, (seqs, data)) in days {
        let tables = work.state.tables_or_create(partition).await?;
        work.later_on(&tables.put_result, params![seqs, data]);
    }
    Ok(())
}
