//! Secrets, projects, tokens and clusters.

use rusqlite::{OptionalExtension as _, params};
use windlass_model::cluster::Cluster;
use windlass_model::id::{ClusterId, ProjectId, TokenId};
use windlass_model::isolation::Level;
use windlass_model::project::{Project, TokenRecord};
use windlass_model::secret::Sealed;
use windlass_model::time::Timestamp;

use super::codes;
use crate::sqlite::rows::{Json, json};
use crate::sqlite::work::{Durability, Stop, Work};
use crate::sqlite::writer::Operation;

pub(in crate::sqlite) struct Secret {
    pub(in crate::sqlite) name: String,
    pub(in crate::sqlite) fresh: [u8; 32],
}

impl Operation for Secret {
    type Answer = [u8; 32];

    fn run(&mut self, work: &mut Work<'_>) -> Result<[u8; 32], Stop> {
        let mut kept = work.read("SELECT value FROM secret WHERE name = ?1")?;
        if let Some(value) = kept.query_row([&self.name], |row| row.get(0)).optional()? {
            return Ok(value);
        }
        work.write("INSERT INTO secret(name, value) VALUES (?1, ?2)")?
            .execute(params![self.name, self.fresh])?;
        Ok(self.fresh)
    }
}

pub(in crate::sqlite) struct ReplaceSecret {
    pub(in crate::sqlite) name: String,
    pub(in crate::sqlite) value: [u8; 32],
}

impl Operation for ReplaceSecret {
    type Answer = ();

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Stop> {
        work.write("INSERT OR REPLACE INTO secret(name, value) VALUES (?1, ?2)")?
            .execute(params![self.name, self.value])?;
        Ok(())
    }
}

pub(in crate::sqlite) struct CreateProject(pub(in crate::sqlite) Project);

impl Operation for CreateProject {
    type Answer = ();

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Stop> {
        let seq = self.0.id.seq();
        work.write("INSERT INTO project(seq, data) VALUES (?1, ?2)")?
            .execute(params![seq.0, json(&self.0)])?;
        work.note_seq(seq);
        demand(work, self.0.id, self.0.min_isolation);
        Ok(())
    }
}

pub(in crate::sqlite) struct SetMinIsolation(pub(in crate::sqlite) ProjectId, pub(in crate::sqlite) Level);

impl Operation for SetMinIsolation {
    type Answer = bool;

    fn run(&mut self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let Self(id, level) = *self;
        let is_there = change(work, id, |project| project.min_isolation = level)?;
        if is_there {
            demand(work, id, level);
        }
        Ok(is_there)
    }
}

pub(in crate::sqlite) struct SetRegistry(
    pub(in crate::sqlite) ProjectId,
    pub(in crate::sqlite) String,
    pub(in crate::sqlite) Option<Sealed>,
);

impl Operation for SetRegistry {
    type Answer = bool;

    fn run(&mut self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let Self(id, registry, login) = self;
        change(work, *id, |project| project.set_registry(registry, login.clone()))
    }
}

/// Changes what is kept of a project; whether there is one.
fn change(work: &mut Work<'_>, id: ProjectId, how: impl FnOnce(&mut Project)) -> Result<bool, Stop> {
    let mut kept = work.read("SELECT data FROM project WHERE seq = ?1")?;
    let kept = kept.query_row([id.seq().0], |row| row.get::<_, Json<Project>>(0)).optional()?;
    let Some(Json(mut project)) = kept.filter(|Json(project)| project.id == id) else { return Ok(false) };
    how(&mut project);
    work.write("UPDATE project SET data = ?2 WHERE seq = ?1")?
        .execute(params![id.seq().0, json(&project)])?;
    Ok(true)
}

/// Has claims follow what the project demands.
fn demand(work: &mut Work<'_>, project: ProjectId, level: Level) {
    work.state.view.catalog.set_demand(project, level);
    work.view_changed();
    let packages: Vec<usize> = work.state.view.catalog.packages_of(project).map(|(n, _)| n).collect();
    packages.into_iter().for_each(|package| codes::arrange(work, package));
}

pub(in crate::sqlite) struct CreateToken(pub(in crate::sqlite) TokenRecord);

impl Operation for CreateToken {
    type Answer = ();

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Stop> {
        let seq = self.0.id.seq();
        let last_used_at = self.0.last_used_at.map(Timestamp::as_millis);
        work.write("INSERT INTO token(seq, last_used_at, data) VALUES (?1, ?2, ?3)")?.execute(params![
            seq.0,
            last_used_at,
            json(&self.0)
        ])?;
        work.note_seq(seq);
        Ok(())
    }
}

pub(in crate::sqlite) struct RevokeToken(pub(in crate::sqlite) TokenId);

impl Operation for RevokeToken {
    type Answer = bool;

    fn run(&mut self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let seq = self.0.seq().0;
        let mut kept = work.read("SELECT data FROM token WHERE seq = ?1")?;
        let kept = kept.query_row([seq], |row| row.get::<_, Json<TokenRecord>>(0)).optional()?;
        if kept.is_none_or(|Json(token)| token.id != self.0) {
            return Ok(false);
        }
        work.write("DELETE FROM token WHERE seq = ?1")?.execute([seq])?;
        Ok(true)
    }
}

pub(in crate::sqlite) struct NoteTokensUsed(pub(in crate::sqlite) Vec<(TokenId, Timestamp)>);

impl Operation for NoteTokensUsed {
    type Answer = ();
    const DURABILITY: Durability = Durability::Process;

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Stop> {
        for (id, at) in &self.0 {
            work.write("UPDATE token SET last_used_at = ?2 WHERE seq = ?1")?
                .execute(params![id.seq().0, at.as_millis()])?;
        }
        Ok(())
    }
}

pub(in crate::sqlite) struct CreateCluster(pub(in crate::sqlite) Cluster);

impl Operation for CreateCluster {
    type Answer = bool;

    fn run(&mut self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let seq = self.0.id.seq();
        let made = work
            .write("INSERT OR IGNORE INTO cluster(seq, name, data) VALUES (?1, ?2, ?3)")?
            .execute(params![seq.0, self.0.name, json(&self.0)])?;
        if made > 0 {
            work.note_seq(seq);
        }
        Ok(made > 0)
    }
}

pub(in crate::sqlite) struct ChangeCluster(pub(in crate::sqlite) Cluster);

impl Operation for ChangeCluster {
    type Answer = bool;

    fn run(&mut self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let Some(kept) = cluster(work, self.0.id)? else { return Ok(false) };
        let after = Cluster { name: kept.name, ..self.0.clone() };
        work.write("UPDATE cluster SET data = ?2 WHERE seq = ?1")?
            .execute(params![after.id.seq().0, json(&after)])?;
        Ok(true)
    }
}

pub(in crate::sqlite) struct DeleteCluster(pub(in crate::sqlite) ClusterId);

impl Operation for DeleteCluster {
    type Answer = bool;

    fn run(&mut self, work: &mut Work<'_>) -> Result<bool, Stop> {
        if cluster(work, self.0)?.is_none() {
            return Ok(false);
        }
        work.write("DELETE FROM cluster WHERE seq = ?1")?.execute([self.0.seq().0])?;
        Ok(true)
    }
}

fn cluster(work: &mut Work<'_>, id: ClusterId) -> Result<Option<Cluster>, Stop> {
    let mut kept = work.read("SELECT data FROM cluster WHERE seq = ?1")?;
    let kept = kept.query_row([id.seq().0], |row| row.get::<_, Json<Cluster>>(0)).optional()?;
    Ok(kept.map(|Json(cluster)| cluster).filter(|cluster| cluster.id == id))
}
