//! Leads, if no other server does: then scheduler, rescuer and pruner of this one work.
//!
//! A server that leads extends its lease at half of it. One that does not looks again when the lease that it saw is over:
//! so a leader that is lost is replaced within one lease, and nobody asks more often than that.

use windlass_model::time::Timestamp;
use windlass_store::StoreError;
use windlass_store::types::Lead;

use crate::app::App;

/// Asks for the lead, or keeps it. Returns when to ask again; `None` where there is no other server.
pub async fn run_once(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let lease = app.config.leader_lease;
    let lead = app.store.lead(lease, app.config.url.as_deref()).await?;
    let next = lead.left.map(|left| now + if lead.is_ours { lease / 2 } else { left });
    note(app, lead);
    Ok(next)
}

/// Another one leads, whoever it is.
pub(super) fn lost(app: &App) {
    app.lead.send_if_modified(|lead| std::mem::take(&mut lead.is_ours));
}

fn note(app: &App, lead: Lead) {
    let before = app.lead.borrow().clone();
    if lead.is_ours && !before.is_ours && lead.left.is_some() {
        tracing::info!(term = lead.term, "this server leads, in term {}", lead.term);
    }
    if !lead.is_ours && before.is_ours {
        tracing::warn!(term = lead.term, "another server leads, in term {}", lead.term);
    }
    app.lead.send_if_modified(|kept| {
        let is_news = kept.is_ours != lead.is_ours || kept.term != lead.term || kept.peers != lead.peers;
        *kept = lead;
        is_news
    });
}
