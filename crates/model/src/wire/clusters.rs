//! Clusters on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BadField;
use super::lenient::{Number, Text};
use super::tasks::check_cluster;
use crate::cluster::{self, Scaling};
use crate::runner::RunnerRecord;
use crate::time::Wire;

/// Largest bound of slots.
const MAX_SLOTS: u32 = 100_000;
/// Longest target time: a day.
const MAX_TARGET_S: u32 = 86_400;

/// A cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// Its id; its name where it was never created: `default`, and whatever runners name.
    pub id: String,
    /// Its name, which tasks and runners name.
    pub name: String,
    /// Memory of a task in MB, as it was set; packages have limits.
    pub memory: u32,
    /// Disk of a task in GB, likewise.
    pub disk_space: u32,
    /// Likewise.
    pub cpu_share: u32,
    /// Empty.
    pub user_id: String,
    /// Within which bounds it should grow and shrink.
    pub autoscale: Autoscale,
    /// When it was created.
    #[schema(value_type = String)]
    pub created_at: Wire,
    /// Slots of its runners.
    pub runners_total: u32,
    /// Those that are free.
    pub runners_available: u32,
    /// Its runners.
    pub machines: Vec<Machine>,
    /// Empty.
    pub shared_to: Vec<String>,
}

/// Within which bounds a cluster should grow and shrink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Autoscale {
    /// Never fewer slots.
    pub min_slots: u32,
    /// Never more, unless more are busy.
    pub max_slots: u32,
    /// Seconds within which what is queued is to be begun.
    pub target: u32,
}

/// A runner, in IronWorker's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    pub r#type: String,
    /// When it registered.
    #[schema(value_type = String)]
    pub created_at: Wire,
    /// When it was last heard.
    #[schema(value_type = String)]
    pub updated_at: Wire,
}

/// Answer of `GET /2/clusters`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterList {
    /// By name.
    pub clusters: Vec<Cluster>,
}

/// Answer of `GET /2/clusters/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterRead {
    /// The cluster.
    pub cluster: Cluster,
}

/// Answer of `POST /2/clusters`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterCreated {
    /// `Cluster created`.
    pub msg: String,
    /// The cluster.
    pub cluster: Cluster,
}

/// Answer of `GET /2/clusters/{name}/stats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterStats {
    /// The figures.
    pub cluster: Figures,
}

/// How busy a cluster is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// Slots of its runners.
    pub runners_total: u32,
    /// Those that are free.
    pub runners_available: u32,
    /// Tasks that wait for it, delayed ones included.
    pub queued: u64,
    /// Those of them that could run now, up to 100,000: not delayed, not paused, within the concurrency of their packages.
    pub claimable: u64,
    /// Tasks that run.
    pub running: u64,
    /// `claimable`, on average over about a minute.
    pub ewma: u64,
    /// The same over about five minutes.
    pub ewma_beta: u64,
    /// Slots that its load needs now.
    pub needed_slots: u32,
    /// Slots that it should have: those that are needed, or what was needed of late if that was more.
    pub desired_slots: u32,
    /// Its runners.
    pub instances: Vec<Machine>,
}

/// Answer of `GET /2/clusters/{name}/credentials`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterCredentials {
    /// The token that runners of the cluster use; it is good for no other cluster.
    pub token: String,
    /// The same.
    pub cluster: ClusterTokens,
}

/// The tokens of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterTokens {
    /// Its id.
    pub id: String,
    /// The token.
    pub tokens: Vec<String>,
}

/// Body of `POST /2/clusters` and of `PUT /2/clusters/{name}`, which changes what is given.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct ClusterRequest {
    /// Its name: letters, digits and `. _ : / @ -`.
    #[schema(value_type = String)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub name: Text,
    /// Memory of a task in MB, kept for clients that ask for it.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub memory: Number,
    /// Disk of a task in GB, likewise.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub disk_space: Number,
    /// The same by another name.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub disk: Number,
    /// Likewise.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub cpu_share: Number,
    /// Within which bounds it should grow and shrink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<AutoscaleRequest>,
}

/// The bounds of a cluster, as far as they are given.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct AutoscaleRequest {
    /// Never fewer slots.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub min_slots: Number,
    /// Never more, unless more are busy.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub max_slots: Number,
    /// Seconds within which what is queued is to be begun.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub target: Number,
}

/// Body of `POST /2/clusters/{name}/terminate`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct TerminateRequest {
    /// The sessions of the runners that are to end what they have and leave.
    pub instance_ids: Vec<String>,
}

impl ClusterRequest {
    /// The name, which must be given.
    pub fn name(&self) -> Result<&str, BadField> {
        let name = self.name.non_empty("name")?.ok_or_else(|| BadField::missing("name"))?;
        check_cluster(name).map_err(|e| BadField::invalid("name", e.problem))?;
        Ok(name)
    }

    /// The cluster with what is given in place of what it had.
    pub fn apply(&self, before: cluster::Cluster) -> Result<cluster::Cluster, BadField> {
        let disk = self.disk_space.count("disk_space")?.or(self.disk.count("disk")?);
        let autoscale = self.autoscale.clone().unwrap_or_default();
        Ok(cluster::Cluster {
            memory_mb: self.memory.count("memory")?.unwrap_or(before.memory_mb),
            disk_gb: disk.unwrap_or(before.disk_gb),
            cpu_share: self.cpu_share.count("cpu_share")?.unwrap_or(before.cpu_share),
            scaling: autoscale.apply(before.scaling)?,
            ..before
        })
    }
}

impl AutoscaleRequest {
    fn apply(&self, before: Scaling) -> Result<Scaling, BadField> {
        let after = Scaling {
            min_slots: self.min_slots.count("autoscale.min_slots")?.unwrap_or(before.min_slots),
            max_slots: self.max_slots.count("autoscale.max_slots")?.unwrap_or(before.max_slots),
            target_s: self.target.count("autoscale.target")?.unwrap_or(before.target_s),
        };
        if after.max_slots > MAX_SLOTS {
            return Err(BadField::invalid("autoscale.max_slots", format!("must be at most {MAX_SLOTS}")));
        }
        if after.min_slots > after.max_slots {
            let problem = format!("must not be above max_slots, which is {}", after.max_slots);
            return Err(BadField::invalid("autoscale.min_slots", problem));
        }
        if !(1..=MAX_TARGET_S).contains(&after.target_s) {
            return Err(BadField::invalid(
                "autoscale.target",
                format!("must be 1 to {MAX_TARGET_S} seconds"),
            ));
        }
        Ok(after)
    }
}

impl Machine {
    /// A runner that has `running` tasks.
    pub fn of(runner: &RunnerRecord, running: u32) -> Self {
        let slots = runner.about.slots;
        Self {
            instance_id: runner.id.to_string(),
            version: runner.about.version.clone(),
            runners_total: slots,
            runners_available: if runner.is_draining { 0 } else { slots.saturating_sub(running) },
            r#type: if runner.is_draining { "TERMINATE" } else { "LIVE" }.to_owned(),
            created_at: runner.started_at.into(),
            updated_at: runner.seen_at.into(),
        }
    }
}

impl Cluster {
    /// One without runners; `id` and the rest are of the one that was created, if it was.
    pub fn present(name: &str, created: Option<&cluster::Cluster>) -> Self {
        let scaling = created.map_or_else(Scaling::default, |c| c.scaling);
        Self {
            id: created.map_or_else(|| name.to_owned(), |c| c.id.to_string()),
            name: name.to_owned(),
            memory: created.map_or(cluster::DEFAULT_MEMORY_MB, |c| c.memory_mb),
            disk_space: created.map_or(cluster::DEFAULT_DISK_GB, |c| c.disk_gb),
            cpu_share: created.map_or(0, |c| c.cpu_share),
            user_id: String::new(),
            autoscale: Autoscale {
                min_slots: scaling.min_slots,
                max_slots: scaling.max_slots,
                target: scaling.target_s,
            },
            created_at: Wire(created.map(|c| c.created_at)),
            runners_total: 0,
            runners_available: 0,
            machines: Vec::new(),
            shared_to: Vec::new(),
        }
    }

    /// The same with another runner.
    pub fn add(&mut self, machine: Machine) {
        self.runners_total += machine.runners_total;
        self.runners_available += machine.runners_available;
        self.machines.push(machine);
    }
}
