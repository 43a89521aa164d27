//! Projects, tokens and clusters.

use rusqlite::Connection;
use windlass_model::cluster::Cluster;
use windlass_model::project::{Project, TokenRecord};
use windlass_model::time::Timestamp;

use crate::sqlite::rows::Json;

pub(in crate::sqlite) fn projects(conn: &Connection) -> rusqlite::Result<Vec<Project>> {
    let mut rows = conn.prepare_cached("SELECT data FROM project ORDER BY seq")?;
    let rows = rows.query_map([], |row| row.get::<_, Json<Project>>(0))?;
    rows.map(|row| row.map(|Json(project)| project)).collect()
}

pub(in crate::sqlite) fn clusters(conn: &Connection) -> rusqlite::Result<Vec<Cluster>> {
    let mut rows = conn.prepare_cached("SELECT data FROM cluster ORDER BY seq")?;
    let rows = rows.query_map([], |row| row.get::<_, Json<Cluster>>(0))?;
    rows.map(|row| row.map(|Json(cluster)| cluster)).collect()
}

pub(in crate::sqlite) fn tokens(conn: &Connection) -> rusqlite::Result<Vec<TokenRecord>> {
    let mut rows = conn.prepare_cached("SELECT data, last_used_at FROM token ORDER BY seq DESC")?;
    let rows = rows.query_map([], |row| {
        let Json(mut token): Json<TokenRecord> = row.get(0)?;
        token.last_used_at = row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis);
        Ok(token)
    })?;
    rows.collect()
}
