//! `GET /metrics` and `GET /openapi.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse as _;
use http::{HeaderValue, header};
use windlass_model::task::Status;

use crate::app::App;
use crate::error::Answer;
use crate::metrics::Standing;

/// Clusters that are told apart: whoever may queue names them, and a label must have few values. Those with runners come
/// first.
const MAX_CLUSTERS: usize = 100;
/// What the others are called together.
const OTHERS: &str = "other";

/// `GET /metrics`: counters of this server, and how things stand in the store.
pub async fn scrape(State(app): State<Arc<App>>) -> Answer {
    let mut runners: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for (runner, running) in app.store.runners().await? {
        if runner.gone_at.is_none() {
            let of = runners.entry(runner.about.cluster).or_default();
            let takes = u64::from(!runner.is_draining);
            *of = (of.0 + takes, of.1 + takes * u64::from(runner.about.slots), of.2 + u64::from(running));
        }
    }
    let lanes = app.store.counts(None).await?;
    let mut shown: BTreeSet<&str> = runners.keys().map(String::as_str).collect();
    for lane in &lanes {
        if shown.len() < MAX_CLUSTERS {
            shown.insert(&lane.cluster);
        }
    }
    let mut tasks: BTreeMap<(&str, Status), u64> = BTreeMap::new();
    for lane in &lanes {
        let cluster = shown.get(lane.cluster.as_str()).copied().unwrap_or(OTHERS);
        for status in Status::ALL {
            *tasks.entry((cluster, status)).or_default() += lane.counts.get(status);
        }
    }
    let tasks = tasks.into_iter().map(|((cluster, status), n)| (cluster.to_owned(), status, n)).collect();
    let oldest = app.store.oldest_ready(None).await?;
    let lead = app.lead.borrow().clone();
    let standing = Standing {
        is_leading: lead.is_ours,
        leader_term: lead.term,
        tasks,
        runners: runners.into_iter().map(|(cluster, (n, slots, busy))| (cluster, n, slots, busy)).collect(),
        oldest_ready_seconds: oldest.map_or(0.0, |at| app.now().since(at).as_secs_f64()),
    };
    let text = app.metrics.render(&standing);
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// `GET /openapi.json`.
pub async fn document() -> Answer {
    let content_type = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, content_type)], crate::openapi::DOCUMENT.as_str()).into_response())
}
