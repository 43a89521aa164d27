//! Drops what is older than the retention.

use windlass_model::time::Timestamp;
use windlass_store::StoreError;
use windlass_store::types::Partition;

use crate::app::App;

/// Drops old tasks, then the blobs of the days that are gone. Returns when it is due again.
pub async fn run_once(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let pruned = app.store.prune(app.config.retention, now).await?;
    app.blobs.prune(&pruned.kept, Partition::at(now)).await?;
    if pruned.tasks > 0 {
        tracing::info!(tasks = pruned.tasks, "{} tasks older than the retention were dropped", pruned.tasks);
    }
    Ok(Some(now + app.config.prune_every))
}
