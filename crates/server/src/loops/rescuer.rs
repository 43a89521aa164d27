//! Takes tasks from runners that fell silent.
//!
//! Runners whom nobody could hear, as the server was not there, are given as long as a lease to be heard again: what they
//! run goes on, and is reported when there is somebody to report to.

use windlass_model::time::Timestamp;
use windlass_store::StoreError;

use crate::app::App;

/// Ends, once the server has been there for the length of a lease, the sessions whose lease ran out before `now`; their tasks are queued again, or given up by the rules of the
/// model. Returns when the next lease may run out.
pub async fn run_once(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let heard_from = app.opened_at + app.config.lease_ttl;
    if now < heard_from {
        return Ok(Some(heard_from));
    }
    let rescued = app.store.rescue(now).await?;
    app.metrics.rescued.inc_by(rescued.tasks);
    for runner in rescued.runners {
        app.sessions.remove(runner);
        tracing::warn!(runner.id = %runner, "runner {runner} fell silent; its tasks are queued again");
    }
    Ok(rescued.next_at)
}
