//! Revisions; packages themselves are in memory.

use windlass_model::code::Revision;
use windlass_model::wire::Page;

use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::State;

pub(in crate::postgres) async fn revisions(
    state: &State,
    code: i32,
    page: Page,
) -> Result<Vec<Revision>, Stop> {
    let sql = "SELECT data FROM revision WHERE code = $1 ORDER BY rev LIMIT $2 OFFSET $3";
    let rows = state.read(sql, params![code, page.limit as i64, page.skip as i64]).await?;
    rows.iter().map(|row| rows::from_json(row, 0)).collect()
}
