//! Clusters, to be read: `default`, and every one that has runners.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use windlass_model::runner::RunnerRecord;
use windlass_model::task::Status;
use windlass_model::time::Wire;
use windlass_model::wire::tasks::DEFAULT_CLUSTER;

use super::params::Name;
use crate::app::App;
use crate::error::{Answer, ApiError, json};

/// A cluster. It has no settings: it is what its runners say it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cluster {
    /// Its name: there is no other id.
    pub id: String,
    /// The same.
    pub name: String,
    /// Memory of a task in MB, as IronWorker has it; runners have their own limits.
    pub memory: u32,
    /// Disk of a task in GB, likewise.
    pub disk_space: u32,
    /// Likewise.
    pub cpu_share: u32,
    /// Empty.
    pub user_id: String,
    /// Slots of its runners.
    pub runners_total: u32,
    /// Those that are free.
    pub runners_available: u32,
    /// Its runners.
    pub machines: Vec<Machine>,
    /// Empty.
    pub shared_to: Vec<String>,
}

/// A runner, in IronWorker's words.
#[derive(Debug, Serialize, ToSchema)]
pub struct Machine {
    /// Its session.
    pub instance_id: String,
    /// Version of its binary.
    pub version: String,
    /// Its slots.
    pub runners_total: u32,
    /// Those that are free.
    pub runners_available: u32,
    /// `LIVE`, or `TERMINATE` while it drains.
    pub r#type: &'static str,
    /// When it registered.
    #[schema(value_type = String)]
    pub created_at: Wire,
    /// When it was last heard.
    #[schema(value_type = String)]
    pub updated_at: Wire,
}

/// Answer of `GET /2/clusters`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClusterList {
    /// By name.
    pub clusters: Vec<Cluster>,
}

/// Answer of `GET /2/clusters/{name}`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClusterRead {
    /// The cluster.
    pub cluster: Cluster,
}

/// Answer of `GET /2/clusters/{name}/stats`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClusterStats {
    /// The figures.
    pub cluster: Figures,
}

/// How busy a cluster is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Figures {
    /// Slots of its runners.
    pub runners_total: u32,
    /// Those that are free.
    pub runners_available: u32,
    /// Tasks that wait for it.
    pub queued: u64,
    /// IronWorker's moving average of the queue, whose formula is not known: the queue itself.
    pub ewma: u64,
    /// Likewise.
    pub ewma_beta: u64,
    /// Its runners.
    pub instances: Vec<Machine>,
}

/// `GET /2/clusters`.
pub async fn list(State(app): State<Arc<App>>) -> Answer {
    Ok(json(&ClusterList { clusters: clusters(&app).await?.into_values().collect() }))
}

/// `GET /2/clusters/{name}`.
pub async fn read(State(app): State<Arc<App>>, Name(name): Name) -> Answer {
    Ok(json(&ClusterRead { cluster: named(&app, &name).await? }))
}

/// `GET /2/clusters/{name}/stats`.
pub async fn stats(State(app): State<Arc<App>>, Name(name): Name) -> Answer {
    let cluster = named(&app, &name).await?;
    let lanes = app.store.counts(None).await?;
    let queued = lanes.iter().filter(|l| l.cluster == name).map(|l| l.counts.get(Status::Queued)).sum();
    Ok(json(&ClusterStats {
        cluster: Figures {
            runners_total: cluster.runners_total,
            runners_available: cluster.runners_available,
            queued,
            ewma: queued,
            ewma_beta: queued,
            instances: cluster.machines,
        },
    }))
}

async fn named(app: &App, name: &str) -> Result<Cluster, ApiError> {
    clusters(app).await?.remove(name).ok_or_else(|| ApiError::not_found("Cluster"))
}

async fn clusters(app: &App) -> Result<BTreeMap<String, Cluster>, ApiError> {
    let mut clusters = BTreeMap::from([(DEFAULT_CLUSTER.to_owned(), Cluster::named(DEFAULT_CLUSTER))]);
    for (runner, running) in app.store.runners().await? {
        if runner.gone_at.is_none() {
            let name = &runner.about.cluster;
            let cluster = clusters.entry(name.clone()).or_insert_with(|| Cluster::named(name));
            let machine = Machine::of(&runner, running);
            cluster.runners_total += machine.runners_total;
            cluster.runners_available += machine.runners_available;
            cluster.machines.push(machine);
        }
    }
    Ok(clusters)
}

impl Cluster {
    fn named(name: &str) -> Self {
        Self {
            id: name.to_owned(),
            name: name.to_owned(),
            memory: 512,
            disk_space: 10,
            cpu_share: 0,
            user_id: String::new(),
            runners_total: 0,
            runners_available: 0,
            machines: Vec::new(),
            shared_to: Vec::new(),
        }
    }
}

impl Machine {
    fn of(runner: &RunnerRecord, running: u32) -> Self {
        let slots = runner.about.slots;
        Self {
            instance_id: runner.id.to_string(),
            version: runner.about.version.clone(),
            runners_total: slots,
            runners_available: if runner.is_draining { 0 } else { slots.saturating_sub(running) },
            r#type: if runner.is_draining { "TERMINATE" } else { "LIVE" },
            created_at: runner.started_at.into(),
            updated_at: runner.seen_at.into(),
        }
    }
}
