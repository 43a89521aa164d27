//! Taking in what another store kept.

use std::collections::{BTreeMap, HashMap};

use windlass_model::code::{Code, Revision};
use windlass_model::id::CodeId;
use windlass_model::project::{Project, TokenRecord};
use windlass_model::schedule::Schedule;
use windlass_model::task::TaskState;
use windlass_model::time::Timestamp;

use super::ending::{Ended, Final, Past};
use super::enqueue::Placed;
use super::{codes, ending, enqueue, schedules};
use crate::encoding::{json, prank};
use crate::moving::{Attempted, Mark, Record, Standing, UsedKey};
use crate::postgres::fault::{Stop, damaged};
use crate::postgres::param::params;
use crate::postgres::rows::{self, Lane};
use crate::postgres::state::Operation;
use crate::postgres::work::Work;
use crate::types::Partition;

/// See [`Import`](crate::moving::Import).
pub(in crate::postgres) struct Import {
    pub(in crate::postgres) records: Vec<Record>,
    pub(in crate::postgres) from: Option<Mark>,
    pub(in crate::postgres) to: Option<Mark>,
    pub(in crate::postgres) now: Timestamp,
}

/// How far a move has come.
pub(in crate::postgres) struct Stands;

impl Operation for Stands {
    type Answer = Standing;

    async fn run(&self, work: &mut Work<'_>) -> Result<Standing, Stop> {
        standing(work).await
    }
}

async fn standing(work: &mut Work<'_>) -> Result<Standing, Stop> {
    if let Some(row) = work.query_opt("SELECT part, after FROM moved", params![]).await? {
        let part = u32::try_from(row.try_get::<_, i64>(0)?).map_err(|_| damaged("a move stands nowhere"))?;
        return Ok(Standing::Partial(Mark { part, after: row.try_get(1)? }));
    }
    let any = work.query("SELECT 1 FROM project LIMIT 1", params![]).await?;
    Ok(if any.is_empty() { Standing::Empty } else { Standing::InUse })
}

impl Operation for Import {
    type Answer = bool;

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, Stop> {
        // Two at a time would each find what the other has not written yet.
        work.query("SELECT pg_advisory_xact_lock(hashtext('windlass moved'))", params![]).await?;
        if standing(work).await? != self.from.map_or(Standing::Empty, Standing::Partial) {
            return Ok(false);
        }
        accounts(work, &self.records).await?;
        let numbers = packages(work, &self.records).await?;
        schedules::put(work, self.records.iter().filter_map(as_schedule));
        keys(work, self.records.iter().filter_map(as_key));
        sums(work, &self.records, &numbers)?;
        tasks(work, self.records.iter().filter_map(as_task), &numbers, self.now).await?;
        work.later("DELETE FROM moved", params![]);
        if let Some(Mark { part, after }) = self.to {
            work.later("INSERT INTO moved(part, after) VALUES ($1, $2)", params![i64::from(part), after]);
        }
        Ok(true)
    }
}

fn as_schedule(record: &Record) -> Option<&Schedule> {
    match record {
        Record::Schedule(schedule) => Some(schedule),
        _ => None,
    }
}

fn as_key(record: &Record) -> Option<&UsedKey> {
    match record {
        Record::Key(key) => Some(key),
        _ => None,
    }
}

fn as_task(record: &Record) -> Option<&Attempted> {
    match record {
        Record::Task(task) => Some(task),
        _ => None,
    }
}

/// Secrets, projects and tokens, at once, as packages look at what their project demands. Fences need not go on where they
/// were: a process counts from a number of its own, and an attempt is known by its task, too.
async fn accounts(work: &mut Work<'_>, records: &[Record]) -> Result<(), Stop> {
    for record in records {
        match record {
            Record::Secret(name, value) => {
                let put = "INSERT INTO secret(name, value) VALUES ($1, $2) \
                           ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                work.query(put, params![name.clone(), value.to_vec()]).await?;
            }
            Record::Project(project) => put_project(work, project).await?,
            Record::Token(token) => put_token(work, token).await?,
            Record::Cluster(cluster) => {
                let put = "INSERT INTO runner_cluster(seq, name, data) VALUES ($1, $2, $3)";
                let params = params![cluster.id.seq().0, cluster.name.clone(), json(cluster)];
                work.query(put, params).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn put_project(work: &mut Work<'_>, project: &Project) -> Result<(), Stop> {
    let put = "INSERT INTO project(seq, data) VALUES ($1, $2)";
    work.query(put, params![project.id.seq().0, json(project)]).await?;
    Ok(())
}

async fn put_token(work: &mut Work<'_>, token: &TokenRecord) -> Result<(), Stop> {
    let put = "INSERT INTO token(seq, last_used_at, data) VALUES ($1, $2, $3)";
    let last_used_at = token.last_used_at.map(Timestamp::as_millis);
    work.query(put, params![token.id.seq().0, last_used_at, json(token)]).await?;
    Ok(())
}

/// Packages with their revisions. Returns the numbers of all that there are.
async fn packages(work: &mut Work<'_>, records: &[Record]) -> Result<HashMap<CodeId, i32>, Stop> {
    for record in records {
        let Record::Code(code, revisions) = record else { continue };
        put_package(work, code, revisions).await?;
    }
    let mut numbers = HashMap::new();
    for row in work.query("SELECT id, num FROM code", params![]).await? {
        let id = rows::id_at(&row, 0)?.ok_or_else(|| damaged("a package has no id"))?;
        numbers.insert(CodeId(id), row.try_get(1)?);
    }
    Ok(numbers)
}

async fn put_package(work: &mut Work<'_>, code: &Code, revisions: &[Revision]) -> Result<(), Stop> {
    let number = codes::insert(work, code).await?;
    let revs = revisions.iter().map(|revision| revision.rev as i32).collect::<Vec<_>>();
    let data = revisions.iter().map(json).collect::<Vec<_>>();
    work.later(
        "INSERT INTO revision(code, rev, data) SELECT $1, * FROM unnest($2::int4[], $3::text[])",
        params![number, revs, data],
    );
    Ok(())
}

fn keys<'a>(work: &mut Work<'_>, keys: impl Iterator<Item = &'a UsedKey>) {
    for UsedKey { project, key, used_at, asked, ids } in keys {
        let ids = rows::ids(ids.iter().map(|id| id.0));
        work.later(
            "INSERT INTO queue_key(project, key, at, asked, ids) VALUES ($1, $2, $3, $4, $5)",
            params![project.seq().0, key.clone(), used_at.as_millis(), asked.to_vec(), ids],
        );
    }
}

fn sums(work: &mut Work<'_>, records: &[Record], numbers: &HashMap<CodeId, i32>) -> Result<(), Stop> {
    for record in records {
        match record {
            Record::Rollup(grain, code, step, sum) => {
                work.add_step(*grain, number(numbers, *code)?, *step, sum);
            }
            Record::Day(code, day, schedule, used) => {
                work.add_day(number(numbers, *code)?, *day, *schedule, used);
            }
            _ => {}
        }
    }
    Ok(())
}

fn number(numbers: &HashMap<CodeId, i32>, code: CodeId) -> Result<i32, Stop> {
    numbers.get(&code).copied().ok_or_else(|| damaged(&format!("the package {code} is named and not there")))
}

/// Tasks where they stand, with what their attempts left. The last attempt of a task is beside its others: what is read is
/// the same.
async fn tasks<'a>(
    work: &mut Work<'_>,
    tasks: impl Iterator<Item = &'a Attempted>,
    numbers: &HashMap<CodeId, i32>,
    now: Timestamp,
) -> Result<(), Stop> {
    let mut days: BTreeMap<Partition, Vec<(&Attempted, Lane)>> = BTreeMap::new();
    for moved in tasks {
        let new = &moved.task.new;
        let cluster = work.state.cluster_or_create(&new.cluster, now).await?;
        let lane = Lane { code: number(numbers, new.code)?, cluster };
        days.entry(Partition::of(new.id)).or_default().push((moved, lane));
    }
    let (mut finals, mut past, mut waiting, mut placed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (partition, tasks) in days {
        let tables = work.state.tables_or_create(partition).await?;
        let (new, lanes): (Vec<_>, Vec<_>) =
            tasks.iter().map(|(moved, lane)| (&moved.task.new, *lane)).unzip();
        work.later_on(&tables.move_task, enqueue::columns(&new, &lanes));
        let results = tasks.iter().filter_map(|(m, _)| m.result.as_ref().map(|r| (m.task.new.id.seq().0, r)));
        let (seqs, results): (Vec<i64>, Vec<Vec<u8>>) =
            results.map(|(seq, r)| (seq, rows::stored(r))).unzip();
        if !seqs.is_empty() {
            work.later_on(&tables.put_result, params![seqs, results]);
        }
        for (moved, lane) in tasks {
            let (new, state) = (&moved.task.new, &moved.task.state);
            work.count_kept(lane, state.status, 1);
            past.extend(moved.attempts.iter().map(|attempt| Past {
                task: new.id,
                n: attempt.n,
                fence: attempt.fence,
                runner: Some(attempt.runner),
                started_at: Some(attempt.started_at),
                ended_at: attempt.ended_at,
                ended: Ended {
                    outcome: &attempt.outcome,
                    msg: &attempt.msg,
                    usage: attempt.usage,
                    isolation: attempt.isolation.as_ref(),
                    log: attempt.log.as_ref(),
                    log_size_bytes: attempt.log_size_bytes,
                },
            }));
            if state.status.is_final() {
                let ended_at = state.ended_at.unwrap_or(state.updated_at);
                let (task, state, status) = (new.id, state.clone(), state.status);
                finals.push(Final { task, lane, state, status, ended_at, last: None });
                continue;
            }
            if *state != TaskState::queued(new) {
                waiting.push((new.id.seq().0, state.clone()));
            }
            let (seq, prank) = (new.id.seq().0, prank(new.priority));
            placed.push(Placed { seq, lane, prank, run_at: state.run_at });
        }
    }
    ending::insert_done(work, finals).await?;
    ending::insert_attempts(work, past).await?;
    ending::put_waiting(work, &waiting);
    enqueue::place(work, &placed, now).await
}
