//! `windlass clusters`.

use clap::{Args, Subcommand};
use windlass_model::wire::clusters::{AutoscaleRequest, ClusterRequest};
use windlass_model::wire::lenient::Number;

use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::table::Table;

/// Lists and manages clusters of runners. A task names the cluster that it goes to, a runner the one it works for.
#[derive(Args, Debug)]
pub(crate) struct Clusters {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List the clusters: those that were created, and every other that has runners
    List(List),
    /// Show how busy a cluster is, and how many slots it should have
    Show(One),
    /// Create a cluster
    Create(Change),
    /// Change within which bounds a cluster should grow and shrink
    Set(Change),
    /// Delete a cluster that has no runners; the token of its runners is revoked
    Delete(One),
    /// Print the token for `windlass runner --cluster NAME`; it is good for no other cluster
    Credentials(One),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct One {
    /// The cluster, by name or id
    cluster: String,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Change {
    /// The cluster's name
    cluster: String,

    /// It should never have fewer slots
    #[arg(long, value_name = "N")]
    min_slots: Option<u32>,

    /// It should never have more slots
    #[arg(long, value_name = "N")]
    max_slots: Option<u32>,

    /// What is queued should be begun within so many seconds
    #[arg(long, value_name = "SECONDS")]
    target: Option<u32>,

    #[command(flatten)]
    connection: Connection,
}

impl Change {
    fn request(&self) -> ClusterRequest {
        let autoscale = AutoscaleRequest {
            min_slots: number(self.min_slots),
            max_slots: number(self.max_slots),
            target: number(self.target),
        };
        ClusterRequest { autoscale: Some(autoscale), ..ClusterRequest::default() }
    }
}

fn number(given: Option<u32>) -> Number {
    given.map_or(Number::Unset, Number::from)
}

impl Clusters {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        match self.action {
            None => list(&self.connection).await,
            Some(Action::List(args)) => list(&args.connection).await,
            Some(Action::Show(args)) => show(args).await,
            Some(Action::Create(args)) => create(args).await,
            Some(Action::Set(args)) => set(args).await,
            Some(Action::Delete(args)) => delete(args).await,
            Some(Action::Credentials(args)) => credentials(args).await,
        }
    }
}

async fn list(connection: &Connection) -> Result<u8, Failure> {
    let (client, output) = (connection.client_without_project()?, connection.output());
    let clusters = client.clusters().await.doing("list clusters")?;
    if output.json {
        output.json(&serde_json::json!({ "clusters": clusters }))?;
        return Ok(0);
    }
    let mut table = Table::new(&["NAME", "ID", "RUNNERS", "SLOTS", "FREE", "BOUNDS"]);
    for c in clusters {
        let bounds = format!("{}-{}", c.autoscale.min_slots, c.autoscale.max_slots);
        let (slots, free) = (c.runners_total.to_string(), c.runners_available.to_string());
        table.row([c.name, c.id, c.machines.len().to_string(), slots, free, bounds]);
    }
    table.print(output, "no clusters")?;
    Ok(0)
}

async fn show(args: One) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client_without_project()?, args.connection.output());
    let stats =
        client.cluster_stats(&args.cluster).await.doing(format_args!("show cluster {}", args.cluster))?;
    if output.json {
        output.json(&serde_json::json!({ "cluster": stats }))?;
        return Ok(0);
    }
    output.line(&format!("runners    {}", stats.instances.len()))?;
    output.line(&format!("slots      {}, {} of them free", stats.runners_total, stats.runners_available))?;
    output.line(&format!("running    {}", stats.running))?;
    output.line(&format!("queued     {}, {} of them could run now", stats.queued, stats.claimable))?;
    output
        .line(&format!("should be  {} slots ({} are needed now)", stats.desired_slots, stats.needed_slots))?;
    Ok(0)
}

async fn create(args: Change) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client_without_project()?, args.connection.output());
    let request = ClusterRequest { name: args.cluster.as_str().into(), ..args.request() };
    let created = client.create_cluster(&request).await;
    let cluster = created.doing(format_args!("create cluster {}", args.cluster))?;
    if output.json {
        output.json(&cluster)?;
    } else {
        output.line(&cluster.id)?;
    }
    Ok(0)
}

async fn set(args: Change) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client_without_project()?, args.connection.output());
    let changed = client.change_cluster(&args.cluster, &args.request()).await;
    changed.doing(format_args!("change cluster {}", args.cluster))?;
    let cluster = client.cluster(&args.cluster).await.doing("show the cluster")?;
    if output.json {
        output.json(&cluster)?;
    } else {
        let bounds = cluster.autoscale;
        let (min, max, target) = (bounds.min_slots, bounds.max_slots, bounds.target);
        output
            .line(&format!("{}: {min} to {max} slots, queued tasks begin within {target} s", cluster.name))?;
    }
    Ok(0)
}

async fn delete(args: One) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client_without_project()?, args.connection.output());
    let deleted = client.delete_cluster(&args.cluster).await;
    deleted.doing(format_args!("delete cluster {}", args.cluster))?;
    match output.json {
        true => output.json(&serde_json::json!({ "msg": "Cluster deleted" }))?,
        false => output.line(&format!("deleted {}", args.cluster))?,
    }
    Ok(0)
}

async fn credentials(args: One) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client_without_project()?, args.connection.output());
    let token = client.cluster_credentials(&args.cluster).await;
    let token = token.doing(format_args!("ask for the token of cluster {}", args.cluster))?;
    match output.json {
        true => output.json(&serde_json::json!({ "token": token }))?,
        false => output.line(&token)?,
    }
    Ok(0)
}
