//! `GET /metrics` and `GET /openapi.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse as _;
use http::{HeaderValue, header};
use windlass_model::task::Status;

use crate::app::App;
use crate::error::Answer;
use crate::metrics::Standing;

/// `GET /metrics`: counters of this server, and how things stand in the store.
pub async fn scrape(State(app): State<Arc<App>>) -> Answer {
    let mut tasks: BTreeMap<(String, Status), u64> = BTreeMap::new();
    for lane in app.store.counts(None).await? {
        for status in Status::ALL {
            *tasks.entry((lane.cluster.clone(), status)).or_default() += lane.counts.get(status);
        }
    }
    let mut runners: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for (runner, running) in app.store.runners().await? {
        if runner.gone_at.is_none() {
            let of = runners.entry(runner.about.cluster).or_default();
            let takes = u64::from(!runner.is_draining);
            *of = (of.0 + takes, of.1 + takes * u64::from(runner.about.slots), of.2 + u64::from(running));
        }
    }
    let oldest = app.store.oldest_ready().await?;
    let standing = Standing {
        tasks: tasks.into_iter().map(|((cluster, status), n)| (cluster, status, n)).collect(),
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
