//! Takes tasks from runners that fell silent.

use windlass_model::time::Timestamp;
use windlass_store::StoreError;

use crate::app::App;

/// Ends the sessions whose lease ran out before `now`; their tasks are queued again, or given up by the rules of the
/// model. Returns when the next lease may run out.
pub async fn run_once(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let rescued = app.store.rescue(now).await?;
    app.metrics.rescued.inc_by(rescued.tasks);
    for runner in rescued.runners {
        app.sessions.remove(runner);
        tracing::warn!(runner.id = %runner, "runner {runner} fell silent; its tasks are queued again");
    }
    Ok(rescued.next_at)
}
