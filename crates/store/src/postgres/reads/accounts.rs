//! Projects, tokens and clusters, and the newest id of all.

use windlass_model::cluster::Cluster;
use windlass_model::id::Seq;
use windlass_model::project::{Project, TokenRecord};
use windlass_model::time::Timestamp;

use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::State;

pub(in crate::postgres) async fn projects(state: &State) -> Result<Vec<Project>, Stop> {
    let rows = state.read("SELECT data FROM project ORDER BY seq", params![]).await?;
    rows.iter().map(|row| rows::from_json(row, 0)).collect()
}

pub(in crate::postgres) async fn clusters(state: &State) -> Result<Vec<Cluster>, Stop> {
    let rows = state.read("SELECT data FROM runner_cluster ORDER BY seq", params![]).await?;
    rows.iter().map(|row| rows::from_json(row, 0)).collect()
}

pub(in crate::postgres) async fn tokens(state: &State) -> Result<Vec<TokenRecord>, Stop> {
    let rows = state.read("SELECT data, last_used_at FROM token ORDER BY seq DESC", params![]).await?;
    let token = |row: &tokio_postgres::Row| {
        let mut token: TokenRecord = rows::from_json(row, 0)?;
        token.last_used_at = row.try_get::<_, Option<i64>>(1)?.map(Timestamp::from_millis);
        Ok(token)
    };
    rows.iter().map(token).collect()
}

pub(in crate::postgres) async fn newest_seq(state: &State) -> Result<Seq, Stop> {
    let sql = "SELECT greatest((SELECT max(seq) FROM project), (SELECT max(seq) FROM token), (SELECT max(seq) FROM schedule), \
               (SELECT max(seq) FROM runner_cluster)), \
               (SELECT id FROM session ORDER BY id DESC LIMIT 1)";
    let rows = state.read(sql, params![]).await?;
    let mut newest = Seq::default();
    if let Some(row) = rows.first() {
        newest = Seq(row.try_get::<_, Option<i64>>(0)?.unwrap_or(0));
        newest = rows::id_at(row, 1)?.map_or(newest, |id| newest.max(id.seq));
    }
    state.refresh().await?;
    newest = state.known().newest().map_or(newest, |seq| newest.max(seq));
    // Newer days may have been made ahead, and be empty.
    for tables in state.reload_partitions().await?.values().rev() {
        let rows = state.read(&tables.newest, params![]).await?;
        if let Some(seq) = rows.first().and_then(|row| row.get::<_, Option<i64>>(0)) {
            return Ok(newest.max(Seq(seq)));
        }
    }
    Ok(newest)
}
