//! Packages: upload, pause, delete.

use std::sync::Arc;

use rusqlite::params;
use windlass_model::code::{Code, Revision, Upload, revise};
use windlass_model::id::CodeId;
use windlass_model::lifecycle::CODE_DELETED_MSG;
use windlass_model::time::Timestamp;

use super::{cancel, schedules};
use crate::sqlite::reads;
use crate::sqlite::rows::json;
use crate::sqlite::work::{Stop, Work};
use crate::sqlite::writer::Operation;

pub(in crate::sqlite) struct UploadCode(pub(in crate::sqlite) Upload);

impl Operation for UploadCode {
    type Answer = Code;

    fn run(&mut self, work: &mut Work<'_>) -> Result<Code, Stop> {
        let catalog = &work.state.view.catalog;
        let known = catalog.named(self.0.project, &self.0.order.name);
        let number = known.unwrap_or(catalog.packages().len());
        let previous = known.map(|number| catalog.packages()[number].clone());
        let code = revise(previous.as_deref(), self.0.clone()).map_err(crate::StoreError::from)?;
        work.write("INSERT INTO revision(code, rev, data) VALUES (?1, ?2, ?3)")?.execute(params![
            number,
            code.latest.rev,
            json(&code.latest)
        ])?;
        put(work, number, code.clone())?;
        work.note_seq(code.id.seq());
        work.note_seq(code.latest.id.seq());
        Ok(code)
    }
}

pub(in crate::sqlite) struct SetPaused {
    pub(in crate::sqlite) code: CodeId,
    pub(in crate::sqlite) paused: bool,
    pub(in crate::sqlite) now: Timestamp,
}

impl Operation for SetPaused {
    type Answer = Option<bool>;

    fn run(&mut self, work: &mut Work<'_>) -> Result<Option<bool>, Stop> {
        let Some((number, code)) = alive(work, self.code) else { return Ok(None) };
        if code.is_paused == self.paused {
            return Ok(Some(false));
        }
        put(work, number, Code { is_paused: self.paused, updated_at: self.now, ..(*code).clone() })?;
        Ok(Some(true))
    }
}

/// Deletes a package, or cancels some of its queued tasks on the way there.
pub(in crate::sqlite) struct DeleteCode {
    pub(in crate::sqlite) code: CodeId,
    pub(in crate::sqlite) now: Timestamp,
}

/// What became of one step of a deletion.
pub(in crate::sqlite) enum Deletion {
    /// There is no such package.
    Unknown,
    /// More of its tasks are queued than one transaction should cancel.
    GoesOn,
    Done,
}

/// Tasks that one step cancels.
const STEP: usize = 2_000;

impl Operation for DeleteCode {
    type Answer = Deletion;

    fn rows(&self) -> usize {
        STEP
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<Deletion, Stop> {
        let Some((number, code)) = alive(work, self.code) else { return Ok(Deletion::Unknown) };
        let mut left = STEP;
        for lane in work.state.view.catalog.lanes_of(number).to_vec() {
            let queued = reads::list::queued_of(work.conn(), lane, left)?;
            left -= queued.len();
            for seq in queued {
                cancel::end_queued(work, seq, CODE_DELETED_MSG, self.now)?;
            }
            if left == 0 {
                return Ok(Deletion::GoesOn);
            }
        }
        schedules::end_all_of(work, self.code, CODE_DELETED_MSG, self.now)?;
        let deleted = Code { deleted_at: Some(self.now), updated_at: self.now, ..(*code).clone() };
        put(work, number, deleted)?;
        Ok(Deletion::Done)
    }
}

fn alive(work: &Work<'_>, id: CodeId) -> Option<(usize, Arc<Code>)> {
    let number = work.state.view.catalog.number(id)?;
    let code = work.state.view.catalog.packages()[number].clone();
    code.deleted_at.is_none().then_some((number, code))
}

/// Writes a package and has memory follow.
fn put(work: &mut Work<'_>, number: usize, code: Code) -> rusqlite::Result<()> {
    work.write("INSERT OR REPLACE INTO code(num, data) VALUES (?1, ?2)")?
        .execute(params![number, json(&code)])?;
    work.state.view.catalog.put(number, code);
    work.view_changed();
    arrange(work, number);
    Ok(())
}

/// Has the order of claims follow what memory knows of the package.
pub(super) fn arrange(work: &mut Work<'_>, number: usize) {
    let catalog = &work.state.view.catalog;
    let code = &catalog.packages()[number];
    let needs = catalog.needs(number);
    work.state.windows.set_package(number, code.is_paused, code.max_concurrency, needs);
    work.signal_package(number);
}

/// The revision, from memory if it was asked for lately.
pub(in crate::sqlite) fn revision(
    work: &mut Work<'_>,
    package: usize,
    rev: u32,
) -> rusqlite::Result<Option<Arc<Revision>>> {
    const KEPT: usize = 256;
    if let Some(revision) = work.state.revisions.get(&(package, rev)) {
        return Ok(Some(revision.clone()));
    }
    let Some(revision) = reads::codes::revision(work.conn(), package, rev)? else { return Ok(None) };
    let revision = Arc::new(revision);
    if work.state.revisions.len() >= KEPT {
        work.state.revisions.clear();
    }
    work.state.revisions.insert((package, rev), revision.clone());
    Ok(Some(revision))
}
