//! Lists of tasks, newest first, a day at a time.
//!
//! A list is a merge of sources that each have their keys in order: the done tasks of one package with one status, the
//! queued ones of one package, the running ones. Only sources that have any (counters tell) are looked at. Lists by label,
//! schedule or parent walk the index of those instead. All of it is read from one snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_model::id::Seq;
use windlass_model::task::{Status, Task};

use crate::postgres::catalog::Catalog;
use crate::postgres::fault::Stop;
use crate::postgres::param::{Param, params};
use crate::postgres::partition::Tables;
use crate::postgres::rows;
use crate::postgres::state::State;
use crate::postgres::tx::Tx;
use crate::types::{Partition, TaskQuery};

/// The tasks that the query asks for.
pub(in crate::postgres) async fn tasks(state: &State, q: &TaskQuery) -> Result<Vec<Task>, Stop> {
    /// Looks where a day is dropped or a connection ends in between.
    const LOOKS: usize = 8;
    let mut looks = 0;
    loop {
        looks += 1;
        match tasks_once(state, q).await {
            Err(stop) if looks < LOOKS && (stop.is_passing() || stop.is_of_partitions()) => {}
            done => return done,
        }
    }
}

async fn tasks_once(state: &State, q: &TaskQuery) -> Result<Vec<Task>, Stop> {
    if q.limit == 0 || q.statuses.is_empty() {
        return Ok(Vec::new());
    }
    let cluster = match &q.cluster {
        None => None,
        Some(name) => match state.cluster(name).await? {
            Some(number) => Some(number),
            None => return Ok(Vec::new()),
        },
    };
    state.refresh().await?;
    let partitions = state.reload_partitions().await?;
    let catalog = state.known();
    let mut tx = state.connections.snapshot().await?;
    let found = List { q, cluster, catalog: &catalog }.read(&mut tx, &partitions).await;
    tx.roll_back().await;
    found
}

struct List<'a> {
    q: &'a TaskQuery,
    cluster: Option<i32>,
    catalog: &'a Catalog,
}

/// Keys that have any chance, by where they are.
#[derive(Default)]
struct Sources {
    done: BTreeSet<(i32, i16)>,
    queued: BTreeSet<i32>,
    running: BTreeSet<i32>,
}

impl List<'_> {
    async fn read(
        &self,
        tx: &mut Tx,
        partitions: &std::collections::BTreeMap<Partition, Arc<Tables>>,
    ) -> Result<Vec<Task>, Stop> {
        let after = |to| Seq::at(to + std::time::Duration::from_millis(1));
        let before = self.q.before.into_iter().chain(self.q.to.map(after)).min().unwrap_or(Seq(i64::MAX)).0;
        let from = self.q.from.map_or(0, |from| Seq::at(from).0);
        let sources = self.sources(tx).await?;
        let mut skip = self.q.skip;
        let mut found = Vec::new();
        let touched = partitions
            .iter()
            .rev()
            .filter(|(partition, _)| partition.first().0 < before && partition.next().first().0 > from);
        for (partition, tables) in touched {
            // Queued and running keys are of all days.
            let (from, before) = (from.max(partition.first().0), before.min(partition.next().first().0));
            let wanted = skip.saturating_add(self.q.limit - found.len());
            let (sql, params) = self.keys(tables, &sources, from, before, wanted);
            let keys: Vec<i64> = tx.query(sql, params).await?.iter().map(|row| row.get(0)).collect();
            let skipped = keys.len().min(skip);
            skip -= skipped;
            let keys = &keys[skipped..];
            if !keys.is_empty() {
                for row in tx.query(&tables.task, params![keys.to_vec()]).await? {
                    found.extend(rows::task(&row, self.catalog)?);
                }
            }
            if found.len() >= self.q.limit {
                break;
            }
        }
        Ok(found)
    }

    /// Whether it walks an index of those that it asks for.
    fn walks(&self) -> bool {
        self.q.label.is_some() || self.q.schedule.is_some() || self.q.parent.is_some()
    }

    /// Packages that the query is of.
    fn packages(&self) -> Vec<i32> {
        let of_project = self.catalog.packages_of(self.q.project);
        let wanted = of_project.filter(|(_, code)| self.q.code.is_none_or(|id| code.id == id));
        wanted.map(|(number, _)| number).collect()
    }

    /// Every source that has keys, by the counters of the same snapshot.
    async fn sources(&self, tx: &mut Tx) -> Result<Sources, Stop> {
        let mut sources = Sources::default();
        if self.walks() {
            return Ok(sources);
        }
        let sql = include_str!("../sql/counts.sql");
        for row in tx.query(sql, params![self.packages()]).await? {
            let (code, cluster, number): (i32, i32, i16) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let status = rows::status_at(&row, 2)?;
            if !self.q.statuses.contains(status) || self.cluster.is_some_and(|only| only != cluster) {
                continue;
            }
            match status {
                Status::Queued => drop(sources.queued.insert(code)),
                Status::Preparing | Status::Running => drop(sources.running.insert(code)),
                _ => drop(sources.done.insert((code, number))),
            }
        }
        Ok(sources)
    }

    fn keys<'t>(
        &self,
        tables: &'t Tables,
        sources: &Sources,
        from: i64,
        before: i64,
        wanted: usize,
    ) -> (&'t str, Vec<Param>) {
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        if self.walks() {
            let statuses = Status::ALL.into_iter().filter(|status| self.q.statuses.contains(*status));
            let statuses: Vec<i16> = statuses.map(|status| status as i16).collect();
            let (label, schedule) = (self.q.label.clone(), self.q.schedule.map(|id| rows::id(id.0)));
            let parent = self.q.parent.map(|id| rows::id(id.0));
            let params = params![
                from,
                before,
                wanted,
                label,
                schedule,
                self.packages(),
                statuses,
                self.cluster,
                parent
            ];
            return (&tables.list_walk, params);
        }
        let (codes, statuses): (Vec<i32>, Vec<i16>) = sources.done.iter().copied().unzip();
        let queued: Vec<i32> = sources.queued.iter().copied().collect();
        let running: Vec<i32> = sources.running.iter().copied().collect();
        let params = params![from, before, wanted, codes, statuses, queued, running, self.cluster];
        (&tables.list_merge, params)
    }
}
