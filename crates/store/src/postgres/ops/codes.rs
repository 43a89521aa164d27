//! Packages: upload, pause, delete; and how their tasks come to lanes of their own.
//!
//! Whoever puts keys into lanes or takes them out holds [`GATE`] shared; whoever changes what keeps tasks from starting
//! holds it alone, for that change only. So no claim is half way while a limit is set, and the slots that are counted then
//! are all there are; and what is in a lane that it does not belong to afterwards was there before: it is moved at
//! leisure, and claims leave it alone until then.

use windlass_model::code::{Code, Upload, revise};
use windlass_model::id::{CodeId, ProjectId};
use windlass_model::isolation::Level;
use windlass_model::lifecycle::CODE_DELETED_MSG;
use windlass_model::project::Project;
use windlass_model::secret::Sealed;
use windlass_model::time::Timestamp;

use super::{cancel, schedules};
use crate::StoreError;
use crate::encoding::json;
use crate::postgres::connect::GATE;
use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::{Operation, State};
use crate::postgres::work::Work;

pub(in crate::postgres) struct UploadCode(pub(in crate::postgres) Upload);

impl Operation for UploadCode {
    type Answer = Code;
    const IS_GATED: bool = false;

    async fn run(&self, work: &mut Work<'_>) -> Result<Code, Stop> {
        let version = next_version(work).await?;
        let known = named(work, self.0.project, &self.0.order.name).await?;
        let needs = demand(work, self.0.project).await?;
        let previous = known.as_ref().map(|(_, code)| code);
        let code = revise(previous, self.0.clone()).map_err(StoreError::from)?;
        let number = match known {
            Some((number, before)) => {
                put(work, number, &before, &code, version).await?;
                number
            }
            None => insert_as(work, &code, needs, version).await?,
        };
        let (rev, data) = (code.latest.rev as i32, json(&code.latest));
        work.later("INSERT INTO revision(code, rev, data) VALUES ($1, $2, $3)", params![number, rev, data]);
        Ok(code)
    }
}

pub(in crate::postgres) struct SetPaused {
    pub(in crate::postgres) code: CodeId,
    pub(in crate::postgres) paused: bool,
    pub(in crate::postgres) now: Timestamp,
}

impl Operation for SetPaused {
    type Answer = Option<bool>;
    const IS_GATED: bool = false;

    async fn run(&self, work: &mut Work<'_>) -> Result<Option<bool>, Stop> {
        let version = next_version(work).await?;
        let Some((number, before)) = alive(work, self.code).await? else { return Ok(None) };
        if before.is_paused == self.paused {
            return Ok(Some(false));
        }
        let after = Code { is_paused: self.paused, updated_at: self.now, ..before.clone() };
        put(work, number, &before, &after, version).await?;
        Ok(Some(true))
    }
}

/// Deletes a package, or cancels some of its queued tasks on the way there.
pub(in crate::postgres) struct DeleteCode {
    pub(in crate::postgres) code: CodeId,
    pub(in crate::postgres) now: Timestamp,
}

/// What became of one step of a deletion.
pub(in crate::postgres) enum Deletion {
    /// There is no such package.
    Unknown,
    /// More of its tasks are queued than one transaction should cancel.
    GoesOn,
    Done,
}

/// Tasks that one step cancels.
const STEP: i64 = 2_000;

impl Operation for DeleteCode {
    type Answer = Deletion;
    const IS_GATED: bool = false;

    async fn run(&self, work: &mut Work<'_>) -> Result<Deletion, Stop> {
        let Some((number, _)) = alive(work, self.code).await? else { return Ok(Deletion::Unknown) };
        let queued = work.query(include_str!("../sql/queued_of.sql"), params![number, STEP]).await?;
        let queued: Vec<i64> = queued.iter().map(|row| row.get(0)).collect();
        let is_last = (queued.len() as i64) < STEP;
        if !queued.is_empty() {
            cancel::end_queued(work, &queued, CODE_DELETED_MSG, self.now).await?;
        }
        if !is_last {
            return Ok(Deletion::GoesOn);
        }
        let version = next_version(work).await?;
        let Some((number, before)) = alive(work, self.code).await? else { return Ok(Deletion::Unknown) };
        schedules::end_all_of(work, self.code, CODE_DELETED_MSG, self.now).await?;
        let deleted = Code { deleted_at: Some(self.now), updated_at: self.now, ..before.clone() };
        put(work, number, &before, &deleted, version).await?;
        Ok(Deletion::Done)
    }
}

/// The version of the change that is about to be made: changes are made one after the other.
async fn next_version(work: &mut Work<'_>) -> Result<i64, Stop> {
    let row = work.query_opt("UPDATE catalog SET version = version + 1 RETURNING version", params![]).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// What the project demands; it does not change before this transaction ends.
async fn demand(work: &mut Work<'_>, project: ProjectId) -> Result<Level, Stop> {
    let sql = "SELECT data FROM project WHERE seq = $1 FOR NO KEY UPDATE";
    let row = work.query_opt(sql, params![project.seq().0]).await?;
    let project = row.map(|row| rows::from_json::<Project>(&row, 0)).transpose()?;
    Ok(project.map(|project| project.min_isolation).unwrap_or_default())
}

/// Sets what a project demands. Returns its packages; `None`: there is no such project.
pub(in crate::postgres) struct SetMinIsolation(
    pub(in crate::postgres) ProjectId,
    pub(in crate::postgres) Level,
);

impl Operation for SetMinIsolation {
    type Answer = Option<Vec<CodeId>>;
    const IS_GATED: bool = false;

    async fn run(&self, work: &mut Work<'_>) -> Result<Self::Answer, Stop> {
        let Self(id, level) = *self;
        let version = next_version(work).await?;
        let sql = "SELECT data FROM project WHERE seq = $1 FOR NO KEY UPDATE";
        let row = work.query_opt(sql, params![id.seq().0]).await?;
        let project = row.map(|row| rows::from_json::<Project>(&row, 0)).transpose()?;
        let Some(project) = project.filter(|project| project.id == id) else { return Ok(None) };
        let project = Project { min_isolation: level, ..project };
        work.query("SELECT pg_advisory_xact_lock($1)", params![GATE]).await?;
        work.later("UPDATE project SET data = $2 WHERE seq = $1", params![id.seq().0, json(&project)]);
        let needs = "UPDATE code SET needs = $2, version = $3 WHERE project = $1 RETURNING id, num";
        let mut codes = Vec::new();
        let mut numbers = Vec::new();
        for row in work.query(needs, params![id.seq().0, level as i16, version]).await? {
            codes.extend(rows::id_at(&row, 0)?.map(CodeId));
            numbers.push(row.try_get(1)?);
        }
        signal_room(work, numbers).await?;
        Ok(Some(codes))
    }
}

/// Sets or takes away a project's login to a registry. `false`: there is no such project.
pub(in crate::postgres) struct SetRegistry(
    pub(in crate::postgres) ProjectId,
    pub(in crate::postgres) String,
    pub(in crate::postgres) Option<Sealed>,
);

impl Operation for SetRegistry {
    type Answer = bool;
    const IS_GATED: bool = false;

    async fn run(&self, work: &mut Work<'_>) -> Result<Self::Answer, Stop> {
        let Self(id, registry, login) = self;
        let sql = "SELECT data FROM project WHERE seq = $1 FOR NO KEY UPDATE";
        let row = work.query_opt(sql, params![id.seq().0]).await?;
        let project = row.map(|row| rows::from_json::<Project>(&row, 0)).transpose()?;
        let Some(mut project) = project.filter(|project| project.id == *id) else { return Ok(false) };
        project.set_registry(registry, login.clone());
        work.later("UPDATE project SET data = $2 WHERE seq = $1", params![id.seq().0, json(&project)]);
        Ok(true)
    }
}

async fn named(work: &mut Work<'_>, project: ProjectId, name: &str) -> Result<Option<(i32, Code)>, Stop> {
    let sql = "SELECT num, data FROM code WHERE project = $1 AND name = $2 AND is_alive FOR UPDATE";
    let row = work.query_opt(sql, params![project.seq().0, name.to_owned()]).await?;
    row.map(|row| Ok((row.try_get(0)?, rows::from_json(&row, 1)?))).transpose()
}

async fn alive(work: &mut Work<'_>, id: CodeId) -> Result<Option<(i32, Code)>, Stop> {
    let sql = "SELECT num, data FROM code WHERE id = $1 AND is_alive FOR UPDATE";
    let row = work.query_opt(sql, params![rows::id(id.0)]).await?;
    row.map(|row| Ok((row.try_get(0)?, rows::from_json(&row, 1)?))).transpose()
}

/// Writes a package that is not there yet, maybe a deleted one, and returns its number. Its project is there.
pub(super) async fn insert(work: &mut Work<'_>, code: &Code) -> Result<i32, Stop> {
    let version = next_version(work).await?;
    let needs = demand(work, code.project).await?;
    insert_as(work, code, needs, version).await
}

async fn insert_as(work: &mut Work<'_>, code: &Code, needs: Level, version: i64) -> Result<i32, Stop> {
    let row = work
        .query_opt(
            include_str!("../sql/insert_code.sql"),
            params![
                rows::id(code.id.0),
                code.project.seq().0,
                code.name.clone(),
                code.deleted_at.is_none(),
                code.is_paused,
                has_own_lane(code),
                needs as i16,
                version,
                json(code),
            ],
        )
        .await?;
    let number = row.map_or(0, |row| row.get(0));
    if let Some(cap) = code.max_concurrency {
        limit(work, number, cap);
    }
    Ok(number)
}

/// Writes a package as it is from now on, with what follows for its lanes and slots.
async fn put(
    work: &mut Work<'_>,
    number: i32,
    before: &Code,
    after: &Code,
    version: i64,
) -> Result<(), Stop> {
    let may_start = |code: &Code| (code.is_paused, code.max_concurrency);
    let is_gated = may_start(before) != may_start(after);
    if is_gated {
        work.query("SELECT pg_advisory_xact_lock($1)", params![GATE]).await?;
    }
    work.query(
        include_str!("../sql/put_code.sql"),
        params![
            number,
            after.deleted_at.is_none(),
            after.is_paused,
            has_own_lane(after),
            version,
            json(after),
        ],
    )
    .await?;
    if before.max_concurrency != after.max_concurrency {
        match after.max_concurrency {
            Some(cap) => limit(work, number, cap),
            None => work.later("DELETE FROM slot WHERE code = $1", params![number]),
        }
    }
    if is_gated {
        signal(work, number, after).await?;
    }
    Ok(())
}

/// Whether the package's tasks are kept from walking in the way of others.
fn has_own_lane(code: &Code) -> bool {
    code.is_paused || code.max_concurrency.is_some()
}

/// Counts what runs and sets the limit. Every row of what runs is written, so that none is counted which is just ending:
/// its end either is over by then, or waits and finds the slot.
fn limit(work: &mut Work<'_>, number: i32, cap: u32) {
    let cap = i32::try_from(cap).unwrap_or(i32::MAX);
    work.later(include_str!("../sql/put_slot.sql"), params![number, cap]);
}

/// Wakes the claimers that may find a task of the package now.
async fn signal(work: &mut Work<'_>, number: i32, code: &Code) -> Result<(), Stop> {
    if code.is_paused {
        return Ok(());
    }
    signal_room(work, vec![number]).await
}

/// Wakes the claimers that may find a task of these packages now, as there is room for it.
pub(super) async fn signal_room(work: &mut Work<'_>, numbers: Vec<i32>) -> Result<(), Stop> {
    for number in numbers {
        for row in work.query(include_str!("../sql/claimable_in.sql"), params![number]).await? {
            work.signal_ready(row.try_get(0)?, rows::level_at(&row, 1)?);
        }
    }
    Ok(())
}

/// Keys of a package, from this one on, that are in lanes of a cluster that they do not belong to.
#[derive(Clone, Copy, Debug)]
pub(in crate::postgres) struct Stray {
    pub(in crate::postgres) cluster: i32,
    pub(in crate::postgres) code: i32,
    pub(in crate::postgres) from: i64,
}

/// Keys that one step moves.
const MOVED: i64 = 5_000;

impl Operation for Stray {
    /// Where the rest begins; none: that was all.
    type Answer = Option<i64>;
    const IS_RELAXED: bool = true;

    async fn run(&self, work: &mut Work<'_>) -> Result<Option<i64>, Stop> {
        let Self { cluster, code, from } = *self;
        work.query(include_str!("../sql/own_lane.sql"), params![cluster, code]).await?;
        let moved = include_str!("../sql/move_strays.sql");
        let moved = work.query_opt(moved, params![cluster, code, MOVED, from]).await?;
        let Some(row) = moved.filter(|row| row.get::<_, i64>(0) == MOVED) else { return Ok(None) };
        Ok(row.try_get::<_, Option<i64>>(1)?.map(|last| last + 1))
    }
}

/// Moves some of the keys to where they belong. Returns where the rest begins; none: that was all.
pub(super) async fn move_strays(state: &State, stray: Stray, writer: i16) -> Result<Option<i64>, Stop> {
    state.write(&stray, writer).await
}

/// Moves the keys of the package to where they belong, wherever they do not.
pub(in crate::postgres) async fn settle(state: &State, id: CodeId, writer: i16) -> Result<(), Stop> {
    let sql = include_str!("../sql/stray_clusters.sql");
    for row in state.read(sql, params![rows::id(id.0)]).await? {
        let (code, cluster) = (row.try_get(0)?, row.try_get(1)?);
        let mut from = Some(i64::MIN);
        while let Some(first) = from {
            from = move_strays(state, Stray { cluster, code, from: first }, writer).await?;
        }
    }
    Ok(())
}
