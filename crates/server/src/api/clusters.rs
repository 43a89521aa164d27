//! Clusters: `default`, those that were created, and every one that has runners.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use windlass_model::cluster;
use windlass_model::id::{ClusterId, RunnerId};
use windlass_model::task::Status;
use windlass_model::wire::BadField;
use windlass_model::wire::clusters::{
    Cluster, ClusterCreated, ClusterCredentials, ClusterList, ClusterRead, ClusterRequest, ClusterStats,
    ClusterTokens, Figures, Machine, TerminateRequest,
};
use windlass_model::wire::tasks::DEFAULT_CLUSTER;

use super::params::Name;
use super::runners::set_draining;
use crate::app::App;
use crate::body::{Ignored, Json};
use crate::error::{Answer, ApiError, json, said};

/// `GET /2/clusters`.
pub async fn list(State(app): State<Arc<App>>) -> Answer {
    Ok(json(&ClusterList { clusters: clusters(&app).await?.into_values().collect() }))
}

/// `POST /2/clusters`.
pub async fn create(State(app): State<Arc<App>>, Json(request, _hold): Json<ClusterRequest>) -> Answer {
    let name = request.name()?.to_owned();
    make(&app, &name, &request).await?;
    let msg = "Cluster created".to_owned();
    Ok(json(&ClusterCreated { msg, cluster: named(&app, &name).await? }))
}

/// `GET /2/clusters/{name}`.
pub async fn read(State(app): State<Arc<App>>, Name(name): Name) -> Answer {
    Ok(json(&ClusterRead { cluster: named(&app, &name).await? }))
}

/// `PUT /2/clusters/{name}`: changes what is given. `default` need not have been created.
pub async fn change(
    State(app): State<Arc<App>>,
    Name(name): Name,
    Json(request, _hold): Json<ClusterRequest>,
) -> Answer {
    let name = app.clusters.name_of(name);
    if request.name.non_empty("name")?.is_some_and(|other| other != name) {
        let problem = format!("cannot be changed: tasks and runners name {name:?}");
        return Err(BadField::invalid("name", problem).into());
    }
    match app.clusters.named(&name) {
        None if name == DEFAULT_CLUSTER => make(&app, &name, &request).await?,
        None => return Err(ApiError::not_found("Cluster")),
        Some(before) => {
            let after = request.apply((*before).clone())?;
            if !app.change_cluster(after).await? {
                return Err(ApiError::not_found("Cluster"));
            }
        }
    }
    Ok(said("Cluster updated"))
}

/// `DELETE /2/clusters/{name}`: one that has no runners.
pub async fn delete(State(app): State<Arc<App>>, Name(name): Name, _: Ignored) -> Answer {
    let name = app.clusters.name_of(name);
    let created = app.clusters.named(&name).ok_or_else(|| ApiError::not_found("Cluster"))?;
    let runners = named(&app, &name).await?.machines.len();
    if runners > 0 && name != DEFAULT_CLUSTER {
        return Err(ApiError::conflict(format!("cluster {name:?} has {runners} runners: stop them first")));
    }
    app.delete_cluster(&created).await?;
    Ok(said("Cluster deleted"))
}

/// `GET /2/clusters/{name}/stats`.
pub async fn stats(State(app): State<Arc<App>>, Name(name): Name) -> Answer {
    let cluster = named(&app, &name).await?;
    let doing = app.cluster_doing(&cluster.name, cluster.runners_total).await?;
    let lanes = app.store.counts(None).await?;
    let of_cluster = lanes.iter().filter(|lane| lane.cluster == cluster.name);
    let (short, long) = doing.pace.queued();
    Ok(json(&ClusterStats {
        cluster: Figures {
            runners_total: cluster.runners_total,
            runners_available: cluster.runners_available,
            queued: of_cluster.map(|lane| lane.counts.get(Status::Queued)).sum(),
            claimable: doing.load.queued,
            running: doing.load.running,
            ewma: short.round() as u64,
            ewma_beta: long.round() as u64,
            needed_slots: doing.pace.needed(),
            desired_slots: doing.desired_slots,
            instances: cluster.machines,
        },
    }))
}

/// `GET /2/clusters/{name}/credentials`: the token of its runners, which is made when it is first asked for.
pub async fn credentials(State(app): State<Arc<App>>, Name(name): Name) -> Answer {
    let cluster = named(&app, &name).await?;
    let token = app.cluster_token(&cluster.name).await?;
    let cluster = ClusterTokens { id: cluster.id, tokens: vec![token.clone()] };
    Ok(json(&ClusterCredentials { token, cluster }))
}

/// `POST /2/clusters/{name}/terminate`: the runners end what they have and take no more.
pub async fn terminate(
    State(app): State<Arc<App>>,
    Name(name): Name,
    Json(request, _hold): Json<TerminateRequest>,
) -> Answer {
    let cluster = named(&app, &name).await?;
    for (n, id) in request.instance_ids.iter().enumerate() {
        let field = || format!("instance_ids[{n}]");
        if !cluster.machines.iter().any(|machine| machine.instance_id == *id) {
            return Err(BadField::invalid(field(), format!("{id:?} is no runner of this cluster")).into());
        }
        let runner: RunnerId = id.parse().map_err(|_| BadField::invalid(field(), "is no id"))?;
        set_draining(&app, runner, true).await?;
    }
    Ok(said("Instances scheduled for terminated"))
}

async fn make(app: &App, name: &str, request: &ClusterRequest) -> Result<(), ApiError> {
    let now = app.now();
    let (seq, tag) = app.ids.mint(now);
    let fresh = cluster::Cluster::new(ClusterId::new(seq, tag), name.to_owned(), now);
    match app.create_cluster(request.apply(fresh)?).await? {
        true => Ok(()),
        false => Err(ApiError::conflict(format!("name: there is a cluster {name:?} already"))),
    }
}

/// The cluster with this name or id.
async fn named(app: &App, name: &str) -> Result<Cluster, ApiError> {
    let name = app.clusters.name_of(name.to_owned());
    clusters(app).await?.remove(&name).ok_or_else(|| ApiError::not_found("Cluster"))
}

async fn clusters(app: &App) -> Result<BTreeMap<String, Cluster>, ApiError> {
    let created = app.clusters.all();
    let created = created.iter().map(|c| (c.name.clone(), Cluster::present(&c.name, Some(c))));
    let mut clusters: BTreeMap<String, Cluster> = created.collect();
    let of_name = |name: &str| Cluster::present(name, None);
    clusters.entry(DEFAULT_CLUSTER.to_owned()).or_insert_with(|| of_name(DEFAULT_CLUSTER));
    for (runner, running) in app.store.runners().await? {
        if runner.gone_at.is_none() {
            let name = &runner.about.cluster;
            let cluster = clusters.entry(name.clone()).or_insert_with(|| of_name(name));
            cluster.add(Machine::of(&runner, running));
        }
    }
    Ok(clusters)
}
