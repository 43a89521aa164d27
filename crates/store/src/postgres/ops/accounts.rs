//! Secrets, projects, tokens and clusters.

use windlass_model::cluster::Cluster;
use windlass_model::id::{ClusterId, TokenId};
use windlass_model::project::{Project, TokenRecord};
use windlass_model::time::Timestamp;

use crate::encoding::json;
use crate::postgres::fault::{Stop, damaged};
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::Operation;
use crate::postgres::work::Work;

pub(in crate::postgres) struct Secret {
    pub(in crate::postgres) name: String,
    pub(in crate::postgres) fresh: [u8; 32],
}

impl Operation for Secret {
    type Answer = [u8; 32];

    async fn run(&self, work: &mut Work<'_>) -> Result<[u8; 32], Stop> {
        let kept = "SELECT value FROM secret WHERE name = $1";
        let mut row = work.query_opt(kept, params![self.name.clone()]).await?;
        if row.is_none() {
            let keep = "INSERT INTO secret(name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            work.query(keep, params![self.name.clone(), self.fresh.to_vec()]).await?;
            row = work.query_opt(kept, params![self.name.clone()]).await?;
        }
        let value = row.and_then(|row| row.get::<_, &[u8]>(0).try_into().ok());
        value.ok_or_else(|| damaged("a secret is not whole"))
    }
}

pub(in crate::postgres) struct ReplaceSecret {
    pub(in crate::postgres) name: String,
    pub(in crate::postgres) value: [u8; 32],
}

impl Operation for ReplaceSecret {
    type Answer = ();

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        let put = "INSERT INTO secret(name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        work.later(put, params![self.name.clone(), self.value.to_vec()]);
        Ok(())
    }
}

pub(in crate::postgres) struct CreateProject(pub(in crate::postgres) Project);

impl Operation for CreateProject {
    type Answer = ();

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        work.later(
            "INSERT INTO project(seq, data) VALUES ($1, $2)",
            params![self.0.id.seq().0, json(&self.0)],
        );
        Ok(())
    }
}

pub(in crate::postgres) struct CreateToken(pub(in crate::postgres) TokenRecord);

impl Operation for CreateToken {
    type Answer = ();

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        let last_used_at = self.0.last_used_at.map(Timestamp::as_millis);
        work.later(
            "INSERT INTO token(seq, last_used_at, data) VALUES ($1, $2, $3)",
            params![self.0.id.seq().0, last_used_at, json(&self.0)],
        );
        Ok(())
    }
}

pub(in crate::postgres) struct RevokeToken(pub(in crate::postgres) TokenId);

impl Operation for RevokeToken {
    type Answer = bool;

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let seq = self.0.seq().0;
        let kept = work.query_opt("SELECT data FROM token WHERE seq = $1", params![seq]).await?;
        let kept = kept.map(|row| rows::from_json::<TokenRecord>(&row, 0)).transpose()?;
        if kept.is_none_or(|token| token.id != self.0) {
            return Ok(false);
        }
        let gone = work.query("DELETE FROM token WHERE seq = $1 RETURNING seq", params![seq]).await?;
        Ok(!gone.is_empty())
    }
}

pub(in crate::postgres) struct NoteTokensUsed(pub(in crate::postgres) Vec<(TokenId, Timestamp)>);

impl Operation for NoteTokensUsed {
    type Answer = ();
    const IS_RELAXED: bool = true;

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        let mut uses: Vec<_> = self.0.iter().map(|(id, at)| (id.seq().0, at.as_millis())).collect();
        uses.sort_unstable();
        let (seqs, ats): (Vec<i64>, Vec<i64>) = uses.into_iter().unzip();
        work.later(
            "UPDATE token t SET last_used_at = u.at FROM unnest($1::int8[], $2::int8[]) AS u(seq, at) WHERE t.seq = u.seq",
            params![seqs, ats],
        );
        Ok(())
    }
}

pub(in crate::postgres) struct CreateCluster(pub(in crate::postgres) Cluster);

impl Operation for CreateCluster {
    type Answer = bool;

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let keep = "INSERT INTO runner_cluster(seq, name, data) VALUES ($1, $2, $3) \
                    ON CONFLICT (name) DO NOTHING RETURNING seq";
        let params = params![self.0.id.seq().0, self.0.name.clone(), json(&self.0)];
        Ok(!work.query(keep, params).await?.is_empty())
    }
}

pub(in crate::postgres) struct ChangeCluster(pub(in crate::postgres) Cluster);

impl Operation for ChangeCluster {
    type Answer = bool;

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, Stop> {
        let Some(kept) = cluster(work, self.0.id).await? else { return Ok(false) };
        let after = Cluster { name: kept.name, ..self.0.clone() };
        work.later(
            "UPDATE runner_cluster SET data = $2 WHERE seq = $1",
            params![after.id.seq().0, json(&after)],
        );
        Ok(true)
    }
}

pub(in crate::postgres) struct DeleteCluster(pub(in crate::postgres) ClusterId);

impl Operation for DeleteCluster {
    type Answer = bool;

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, Stop> {
        if cluster(work, self.0).await?.is_none() {
            return Ok(false);
        }
        work.later("DELETE FROM runner_cluster WHERE seq = $1", params![self.0.seq().0]);
        Ok(true)
    }
}

async fn cluster(work: &mut Work<'_>, id: ClusterId) -> Result<Option<Cluster>, Stop> {
    let kept = "SELECT data FROM runner_cluster WHERE seq = $1 FOR UPDATE";
    let kept = work.query_opt(kept, params![id.seq().0]).await?;
    let kept = kept.map(|row| rows::from_json::<Cluster>(&row, 0)).transpose()?;
    Ok(kept.filter(|cluster| cluster.id == id))
}

/// Writes what is there already.
pub(in crate::postgres) struct Check;

impl Operation for Check {
    type Answer = ();

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        work.later("UPDATE catalog SET version = version", params![]);
        Ok(())
    }
}
