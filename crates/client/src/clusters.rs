//! Clusters of runners.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use windlass_model::wire::Msg;
use windlass_model::wire::clusters::{
    Cluster, ClusterCreated, ClusterCredentials, ClusterList, ClusterRead, ClusterRequest, ClusterStats,
    Figures,
};

use crate::{Client, ClientError};

impl Client {
    /// `default`, the clusters that were created, and every other that has runners.
    pub async fn clusters(&self) -> Result<Vec<Cluster>, ClientError> {
        let list: ClusterList = self.get("/2/clusters").await?;
        Ok(list.clusters)
    }

    /// The cluster with this name or id.
    pub async fn cluster(&self, name: &str) -> Result<Cluster, ClientError> {
        let read: ClusterRead = self.get(&path(name)).await?;
        Ok(read.cluster)
    }

    /// How busy the cluster is, and how many slots it should have.
    pub async fn cluster_stats(&self, name: &str) -> Result<Figures, ClientError> {
        let stats: ClusterStats = self.get(&format!("{}/stats", path(name))).await?;
        Ok(stats.cluster)
    }

    /// Creates a cluster. Needs the scope `admin`.
    pub async fn create_cluster(&self, request: &ClusterRequest) -> Result<Cluster, ClientError> {
        let created: ClusterCreated = self.post("/2/clusters", request).await?;
        Ok(created.cluster)
    }

    /// Changes what the request has of a cluster. Needs the scope `admin`.
    pub async fn change_cluster(&self, name: &str, request: &ClusterRequest) -> Result<(), ClientError> {
        self.json::<Msg>(Method::PUT, &path(name), Some(request)).await.map(drop)
    }

    /// Deletes a cluster that has no runners. Needs the scope `admin`.
    pub async fn delete_cluster(&self, name: &str) -> Result<(), ClientError> {
        self.json::<Msg>(Method::DELETE, &path(name), None::<&()>).await.map(drop)
    }

    /// The token of the cluster's runners. Needs the scope `admin`.
    pub async fn cluster_credentials(&self, name: &str) -> Result<String, ClientError> {
        let credentials: ClusterCredentials = self.get(&format!("{}/credentials", path(name))).await?;
        Ok(credentials.token)
    }
}

fn path(name: &str) -> String {
    format!("/2/clusters/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}
