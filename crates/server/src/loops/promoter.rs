//! Makes delayed tasks claimable when their time comes.

use windlass_model::time::Timestamp;
use windlass_store::StoreError;

use crate::app::App;

/// Promotes what is due at `now`. Returns when the next delayed task falls due.
pub async fn run_once(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    app.store.promote(now).await
}
