//! Clusters in memory: those that were created, and how each has been doing.
//!
//! All of it may be lost without harm: what was created is in the store, and how a cluster does is found out anew.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use windlass_model::cluster::{Cluster, Load, Pace, Scaling};
use windlass_model::id::{ClusterId, TokenId};
use windlass_model::project::{Scope, TokenRecord};
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::wire::tasks::DEFAULT_CLUSTER;
use windlass_store::StoreError;

use crate::app::App;
use crate::tokens;

/// How far claimable tasks are counted.
pub const COUNT_LIMIT: usize = 100_000;
/// The mean time of attempts is that of about so many.
const MEMORY: f64 = 32.0;

/// What is known of clusters.
#[derive(Debug, Default)]
pub struct Clusters {
    created: RwLock<HashMap<String, Arc<Cluster>>>,
    paces: Mutex<HashMap<String, Pace>>,
    /// Mean time of an attempt in seconds.
    means: Mutex<HashMap<String, f64>>,
}

/// How a cluster does.
#[derive(Clone, Copy, Debug)]
pub struct Doing {
    /// Its load.
    pub load: Load,
    /// How it has been doing, up to now.
    pub pace: Pace,
    /// What it should have.
    pub desired_slots: u32,
}

impl Clusters {
    /// Knows these.
    pub fn new(created: Vec<Cluster>) -> Self {
        let clusters = Self::default();
        clusters.replace(created);
        clusters
    }

    /// Knows these instead.
    pub fn replace(&self, created: Vec<Cluster>) {
        *self.created.write() = created.into_iter().map(|c| (c.name.clone(), Arc::new(c))).collect();
    }

    /// Those that were created.
    pub fn all(&self) -> Vec<Arc<Cluster>> {
        self.created.read().values().cloned().collect()
    }

    /// How many were created.
    pub fn count(&self) -> usize {
        self.created.read().len()
    }

    /// The one that was created with this name.
    pub fn named(&self, name: &str) -> Option<Arc<Cluster>> {
        self.created.read().get(name).cloned()
    }

    /// The name of the cluster that `text` names or is the id of.
    pub fn name_of(&self, text: String) -> String {
        let Ok(id) = text.parse::<ClusterId>() else { return text };
        let created = self.created.read();
        // A name may look like an id; whoever chose it means it.
        match created.contains_key(&text) {
            true => text,
            false => created.values().find(|c| c.id == id).map_or(text, |c| c.name.clone()),
        }
    }

    /// Takes in one that was created or changed.
    pub fn put(&self, cluster: Cluster) {
        self.created.write().insert(cluster.name.clone(), Arc::new(cluster));
    }

    /// Forgets one.
    pub fn remove(&self, name: &str) {
        self.created.write().remove(name);
    }

    /// Attempts have ended that took so long, in milliseconds.
    pub fn took(&self, cluster: &str, wall_ms: impl Iterator<Item = u64>) {
        let mut means = self.means.lock();
        for ms in wall_ms {
            let took = ms as f64 / 1000.0;
            match means.get_mut(cluster) {
                Some(mean) => *mean += (took - *mean) / MEMORY,
                None => drop(means.insert(cluster.to_owned(), took)),
            }
        }
    }

    fn mean(&self, cluster: &str) -> Option<f64> {
        self.means.lock().get(cluster).copied()
    }

    fn pace(&self, cluster: &str, load: &Load, slots: u32, scaling: &Scaling, now: Timestamp) -> Pace {
        let mut paces = self.paces.lock();
        let before = paces.get(cluster).copied();
        let pace = before.unwrap_or_else(|| Pace::new(load, slots, scaling, now)).with(load, scaling, now);
        paces.insert(cluster.to_owned(), pace);
        pace
    }
}

impl App {
    /// Keeps a new cluster. `false`: there is one with this name.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`] if there are too many already.
    pub async fn create_cluster(&self, cluster: Cluster) -> Result<bool, StoreError> {
        self.check_count("clusters", self.clusters.count())?;
        let is_new = self.store.create_cluster(cluster.clone()).await?;
        if is_new {
            self.clusters.put(cluster);
        }
        Ok(is_new)
    }

    /// Changes a cluster. `false`: there is none.
    pub async fn change_cluster(&self, cluster: Cluster) -> Result<bool, StoreError> {
        let is_there = self.store.change_cluster(cluster.clone()).await?;
        if is_there {
            self.clusters.put(cluster);
        }
        Ok(is_there)
    }

    /// Forgets a cluster, and revokes the tokens of its runners. One that is not there is gone already.
    pub async fn delete_cluster(&self, cluster: &Cluster) -> Result<(), StoreError> {
        for token in self.tokens.all().iter().filter(|t| t.cluster.as_deref() == Some(&cluster.name)) {
            self.revoke_token(token.id).await?;
        }
        self.store.delete_cluster(cluster.id).await?;
        self.clusters.remove(&cluster.name);
        Ok(())
    }

    /// The token of the cluster's runners; made, if there is none that is valid.
    ///
    /// It is not kept, as no token is, and can be shown again: it is made of its id with the secret key.
    pub async fn cluster_token(&self, cluster: &str) -> Result<String, StoreError> {
        let now = self.now();
        let of_cluster = |t: &TokenRecord| t.cluster.as_deref() == Some(cluster) && !t.is_expired(now);
        for token in self.tokens.all().into_iter().filter(of_cluster) {
            let text = self.seal.token(token.id);
            if tokens::hash(&text) == token.hash {
                return Ok(text);
            }
        }
        self.check_count("tokens", self.tokens.count())?;
        let (seq, tag) = self.ids.mint(now);
        let id = TokenId::new(seq, tag);
        let text = self.seal.token(id);
        let record = TokenRecord {
            id,
            hash: tokens::hash(&text),
            project: None,
            cluster: Some(cluster.to_owned()),
            scopes: vec![Scope::Runner],
            name: format!("of the runners of cluster {cluster}"),
            created_at: now,
            expires_at: None,
            last_used_at: None,
        };
        self.store.create_token(record.clone()).await?;
        self.tokens.insert(record);
        Ok(text)
    }

    /// How the cluster does that has so many `slots`, which must be one that there is: it is remembered.
    pub async fn cluster_doing(&self, name: &str, slots: u32) -> Result<Doing, StoreError> {
        let lanes = self.store.counts(None).await?;
        let of_cluster = lanes.iter().filter(|lane| lane.cluster == name);
        let running =
            of_cluster.map(|l| l.counts.get(Status::Running) + l.counts.get(Status::Preparing)).sum();
        let queued = self.store.claimable(name, COUNT_LIMIT).await? as u64;
        let load = Load { queued, running, mean_s: self.clusters.mean(name) };
        let scaling = self.clusters.named(name).map(|c| c.scaling).unwrap_or_default();
        let pace = self.clusters.pace(name, &load, slots, &scaling, self.now());
        Ok(Doing { load, pace, desired_slots: pace.desired(&scaling) })
    }

    /// Whether there is a cluster of this name that somebody created; `default` is always there.
    pub fn is_created(&self, cluster: &str) -> bool {
        cluster == DEFAULT_CLUSTER || self.clusters.named(cluster).is_some()
    }
}
