//! From checked orders to queued tasks: the path that every new task takes, whoever asks for it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use windlass_model::code::Code;
use windlass_model::id::{ProjectId, TaskId};
use windlass_model::task::NewTask;
use windlass_model::trace::TraceParent;
use windlass_model::wire::BadField;
use windlass_model::wire::tasks::{TaskOrder, TaskRef};
use windlass_store::types::{Once, OnceKey};

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;

impl App {
    /// Queues the orders, all or none, in the revisions that are newest now. The ids are in the order asked for.
    pub(crate) async fn queue(
        &self,
        project: ProjectId,
        origin: Origin,
        orders: Vec<TaskOrder>,
        key: Key,
    ) -> Result<Vec<TaskRef>, ApiError> {
        let key = key.of("tasks", |hash| orders.iter().for_each(|order| feed(hash, order)));
        let now = self.now();
        let is_array = orders.len() > 1;
        // An array rarely names more than one or two packages.
        let mut codes: Vec<Arc<Code>> = Vec::with_capacity(1);
        let mut tasks = Vec::with_capacity(orders.len());
        for (n, order) in orders.into_iter().enumerate() {
            let at = match codes.iter().rposition(|c| c.name == order.code_name) {
                Some(at) => at,
                None => {
                    let field =
                        if is_array { format!("tasks[{n}].code_name") } else { "code_name".to_owned() };
                    codes.push(self.code_named(project, &order.code_name, &field).await?);
                    codes.len() - 1
                }
            };
            let code = &codes[at];
            let (seq, tag) = self.ids.mint(now);
            tasks.push(NewTask {
                id: TaskId::new(seq, tag),
                project,
                code: code.id,
                rev: code.latest.rev,
                priority: order.priority.unwrap_or(code.latest.default_priority),
                created_at: now,
                run_at: now + Duration::from_secs(u64::from(order.delay_s)),
                timeout_s: order.timeout_s,
                retry: order.retry(code.latest.retry),
                cluster: self.clusters.name_of(order.cluster),
                label: order.label,
                schedule: None,
                parent: origin.parent,
                retry_of: origin.retry_of,
                trace: origin.trace,
                payload: order.payload,
            });
        }
        self.enqueue(project, tasks, key).await
    }

    /// Queues the tasks, all or none; with a key, unless a request with the same one did.
    pub(crate) async fn enqueue(
        &self,
        project: ProjectId,
        tasks: Vec<NewTask>,
        key: Option<OnceKey>,
    ) -> Result<Vec<TaskRef>, ApiError> {
        let refs: Vec<TaskRef> = tasks.iter().map(|t| TaskRef { id: t.id }).collect();
        let once = match key {
            None => self.store.enqueue(tasks).await.map(|()| Once::Queued)?,
            Some(key) => self.store.enqueue_once(project, &key, tasks).await?,
        };
        match once {
            Once::Queued => {
                self.metrics.queued.inc_by(refs.len() as u64);
                Ok(refs)
            }
            Once::Before(ids) => Ok(ids.into_iter().map(|id| TaskRef { id }).collect()),
            Once::Other => Err(ApiError::conflict(
                "Idempotency-Key: another request was made with this key; a new request needs a new key",
            )),
        }
    }
}

/// Where the tasks of a request come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// The task whose attempt asks.
    pub parent: Option<TaskId>,
    /// The task that they repeat, changed.
    pub retry_of: Option<TaskId>,
    /// The header `traceparent`. One that is none is ignored, as the recommendation has it.
    pub trace: Option<TraceParent>,
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Caller(caller) = Caller::from_request_parts(parts, state).await?;
        Ok(Origin { parent: caller.task(), retry_of: None, trace: trace(&parts.headers) })
    }
}

/// The trace that the headers name; several name none.
fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    let mut named = headers.get_all("traceparent").iter();
    let only = named.next().filter(|_| named.next().is_none())?;
    only.to_str().ok()?.trim().parse().ok()
}

/// The header `Idempotency-Key`: repeating a request with the same key queues nothing twice, and the answer is that of
/// the first. Another request with the same key is refused.
#[derive(Clone, Debug, Default)]
pub struct Key(pub Option<String>);

impl Key {
    /// The key with what is asked for under it, as a hash: what is asked of `kind`, and what `feed` puts in.
    pub fn of(self, kind: &str, feed: impl FnOnce(&mut Sha256)) -> Option<OnceKey> {
        let key = self.0?;
        let mut hash = Sha256::new_with_prefix(kind);
        feed(&mut hash);
        Some(OnceKey { key, asked: hash.finalize().into() })
    }
}

/// Every part of an order, each with its length before it.
fn feed(hash: &mut Sha256, order: &TaskOrder) {
    let TaskOrder {
        code_name,
        payload,
        priority,
        timeout_s,
        delay_s,
        cluster,
        label,
        retries,
        retries_delay_ms,
    } = order;
    let numbers =
        format!("{priority:?} {timeout_s} {delay_s} {retries:?} {retries_delay_ms:?} {}", label.is_some());
    let label = label.as_deref().unwrap_or_default();
    for part in [numbers.as_bytes(), code_name.as_bytes(), cluster.as_bytes(), label.as_bytes(), payload] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
}

/// Longest key.
const MAX_KEY_BYTES: usize = 255;

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Key(None)) };
        let key = value.to_str().map_err(|_| BadField::invalid("Idempotency-Key", "must be plain text"))?;
        if key.len() > MAX_KEY_BYTES {
            return Err(BadField::too_large("Idempotency-Key", key.len(), MAX_KEY_BYTES).into());
        }
        Ok(Key((!key.is_empty()).then(|| key.to_owned())))
    }
}
