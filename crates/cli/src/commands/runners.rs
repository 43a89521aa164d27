//! `windlass runners`.

use clap::{Args, Subcommand};

use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::note;
use crate::output::table::Table;
use crate::output::when;

/// Lists runners, and drains them.
#[derive(Args, Debug)]
pub(crate) struct Runners {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List the runners of the server
    List(List),
    /// Ask runners to take no more tasks; those that run go on
    Drain(Drain),
}

#[derive(Args, Debug)]
struct List {
    /// Also those that are gone
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Drain {
    /// The runners, by id or name
    #[arg(required = true)]
    runners: Vec<String>,

    /// Only those of this cluster: names may be the same in several
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,

    /// Let them take tasks again
    #[arg(long)]
    undo: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Runners {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        match self.action {
            None => list(&self.connection, false).await,
            Some(Action::List(args)) => list(&args.connection, args.all).await,
            Some(Action::Drain(args)) => drain(args).await,
        }
    }
}

async fn list(connection: &Connection, all: bool) -> Result<u8, Failure> {
    let (client, output) = (connection.client_without_project()?, connection.output());
    let mut runners = client.runners().await.doing("list runners")?;
    runners.retain(|r| all || r.status != "gone");
    if output.json {
        output.json(&serde_json::json!({ "runners": runners }))?;
        return Ok(0);
    }
    let now = when::now();
    let mut table =
        Table::new(&["NAME", "ID", "STATUS", "CLUSTER", "BUSY", "LOAD", "ISOLATION", "SEEN", "VERSION"]);
    let mut missing = Vec::new();
    for r in runners {
        let busy = format!("{}/{}", r.running, r.slots);
        let load = r.load.map_or("-".to_owned(), |load| {
            format!("{:.2}/{}", f64::from(load.load_millis) / 1000.0, load.processors)
        });
        let seen = when::relative(r.seen_at, now);
        missing.extend(
            r.isolation.missing.iter().map(|what| format!("{} is missing isolation of {what}", r.name)),
        );
        table.row([r.name, r.id, r.status, r.cluster, busy, load, r.isolation.level, seen, r.version]);
    }
    table.print(output, "no runners; `windlass runner` starts one")?;
    missing.iter().for_each(note);
    Ok(0)
}

async fn drain(args: Drain) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client_without_project()?, args.connection.output());
    let runners = client.runners().await.doing("list runners")?;
    for wanted in &args.runners {
        let matching: Vec<_> = runners
            .iter()
            .filter(|r| r.status != "gone" && (r.id == *wanted || r.name == *wanted))
            .filter(|r| args.cluster.as_ref().is_none_or(|cluster| r.cluster == *cluster))
            .collect();
        let runner = match matching.as_slice() {
            [runner] => runner,
            [] => {
                let failure = Failure::new(format_args!("there is no live runner {wanted:?}"));
                return Err(failure.fix("`windlass runners` lists them"));
            }
            _ => {
                let failure = Failure::new(format_args!("{} runners are called {wanted:?}", matching.len()));
                return Err(
                    failure.fix("name it by its id, which `windlass runners` shows, or add --cluster")
                );
            }
        };
        client.drain_runner(&runner.id, !args.undo).await.doing(format_args!("drain runner {wanted}"))?;
        if !output.json {
            let done = if args.undo { "resumed" } else { "draining" };
            output.line(&format!("{done} {} ({})", runner.name, runner.id))?;
        }
    }
    if output.json {
        output.json(&serde_json::json!({ "msg": if args.undo { "Resumed" } else { "Draining" } }))?;
    }
    Ok(0)
}
