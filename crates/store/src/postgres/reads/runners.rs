//! Runner sessions.

use windlass_model::runner::RunnerRecord;

use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::rows;
use crate::postgres::state::State;

/// Every session with the number of tasks it holds, newest first.
pub(in crate::postgres) async fn runners(state: &State) -> Result<Vec<(RunnerRecord, u32)>, Stop> {
    let sql = "SELECT s.data, s.seen_at, s.is_draining, s.gone_at, (SELECT count(*) FROM running r WHERE r.runner = s.id) \
               FROM session s ORDER BY s.id DESC";
    let rows = state.read(sql, params![]).await?;
    rows.iter().map(|row| Ok((rows::session(row)?, rows::narrow(row, 4)?))).collect()
}
