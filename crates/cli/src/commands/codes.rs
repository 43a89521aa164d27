//! `windlass codes`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use windlass_client::{Client, Paging};
use windlass_model::warm::Mode;
use windlass_model::wire::codes::Code;
use windlass_model::wire::warm::KeepView;

use super::limits;
use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::table::Table;
use crate::output::{Output, when};

/// Lists and manages uploaded workers. A worker is named by its name or its id.
#[derive(Args, Debug)]
pub(crate) struct Codes {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List the workers of the project
    List(Plain),
    /// Show a worker and how its tasks stand
    Show(Named),
    /// List the revisions of a worker
    Revisions(Named),
    /// Make a new revision of a worker like an earlier one
    Rollback(Rollback),
    /// Keep the tasks of a worker from starting
    Pause(Named),
    /// Let the tasks of a worker start again
    Resume(Named),
    /// Delete a worker: its queued tasks are cancelled and its schedules end
    Delete(Named),
    /// Download the zip of a worker
    Download(Download),
}

#[derive(Args, Debug)]
struct Plain {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Named {
    /// The worker
    code: String,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Rollback {
    /// The worker
    code: String,

    /// The revision to go back to
    #[arg(value_name = "REV")]
    rev: u32,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Download {
    /// The worker
    code: String,

    /// Which revision [default: the newest]
    #[arg(long, value_name = "N")]
    rev: Option<u32>,

    /// Where to put it, - for standard output [default: NAME.zip]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    connection: Connection,
}

impl Codes {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        match self.action {
            None => list(&self.connection).await,
            Some(Action::List(args)) => list(&args.connection).await,
            Some(Action::Show(args)) => show(args).await,
            Some(Action::Revisions(args)) => revisions(args).await,
            Some(Action::Rollback(args)) => rollback(args).await,
            Some(Action::Pause(args)) => {
                let (client, output, code) = named(&args).await?;
                said(output, &client.pause(code.id).await.doing(format_args!("pause {}", code.name))?)
            }
            Some(Action::Resume(args)) => {
                let (client, output, code) = named(&args).await?;
                said(output, &client.resume(code.id).await.doing(format_args!("resume {}", code.name))?)
            }
            Some(Action::Delete(args)) => {
                let (client, output, code) = named(&args).await?;
                client.delete_code(code.id).await.doing(format_args!("delete {}", code.name))?;
                said(output, "Deleted")
            }
            Some(Action::Download(args)) => download(args).await,
        }
    }
}

pub(super) fn said(output: Output, msg: &str) -> Result<u8, Failure> {
    if output.json {
        output.json(&serde_json::json!({ "msg": msg }))?;
    } else {
        output.line(&msg.to_lowercase())?;
    }
    Ok(0)
}

/// The worker by its name, or else by its id.
pub(super) async fn find(client: &Client, name: &str) -> Result<Code, Failure> {
    let doing = format!("find worker {name}");
    if let Some(code) = client.code_named(name).await.doing(&doing)? {
        return Ok(code);
    }
    match name.parse() {
        Ok(id) => client.code(id).await.doing(&doing),
        Err(_) => {
            Err(Failure::new(format_args!("there is no worker {name:?}")).fix("`windlass codes` lists them"))
        }
    }
}

async fn named(args: &Named) -> Result<(Client, Output, Code), Failure> {
    let client = args.connection.client()?;
    let code = find(&client, &args.code).await?;
    Ok((client, args.connection.output(), code))
}

/// Every row of a paged list.
pub(super) async fn all<T, F>(mut page: impl FnMut(Paging) -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<Vec<T>, windlass_client::ClientError>>,
{
    let mut rows = Vec::new();
    loop {
        let paging = Paging { page: rows.len() as u32 / 100, per_page: Some(100) };
        let found = page(paging).await?;
        let is_last = found.len() < 100;
        rows.extend(found);
        if is_last {
            return Ok(rows);
        }
    }
}

async fn list(connection: &Connection) -> Result<u8, Failure> {
    let (client, output) = (connection.client()?, connection.output());
    let codes = all(|paging| client.codes(paging)).await.doing("list workers")?;
    if output.json {
        output.json(&serde_json::json!({ "codes": codes }))?;
        return Ok(0);
    }
    let now = when::now();
    let mut table = Table::new(&["NAME", "REV", "ID", "STARTED BY", "SIZE", "CHANGED", "STATE"]);
    for code in &codes {
        let state = if code.paused { "paused" } else { "active" };
        let id = code.id.to_string();
        let size = when::size(code.code_size);
        let changed = when::relative(code.latest_change, now);
        table.row([
            code.name.clone(),
            code.rev.to_string(),
            id,
            launch(code),
            size,
            changed,
            state.to_owned(),
        ]);
    }
    table.print(output, "no workers yet; `windlass upload` makes one")?;
    Ok(0)
}

fn launch(code: &Code) -> String {
    let mode = if code.mode == Mode::Warm.as_str() { "warm:" } else { "" };
    let how = [mode, &code.image, &code.command, &code.runtime, &code.file_name, &code.handler];
    how.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// For how long its warm workers are kept; nothing if it has none.
fn kept(code: &Code) -> String {
    let seconds = |s: u32| when::rough(std::time::Duration::from_secs(s.into()));
    let KeepView { min_warm, max_tasks, max_age, idle_timeout } = code.keep;
    if code.mode != Mode::Warm.as_str() {
        return String::new();
    }
    let (age, idle) = (seconds(max_age), seconds(idle_timeout));
    format!("for {max_tasks} tasks or {age}; {idle} without a task, but for {min_warm}")
}

async fn show(args: Named) -> Result<u8, Failure> {
    let (client, output, code) = named(&args).await?;
    let stats = client.code_stats(code.id).await.doing(format_args!("show {}", code.name))?;
    if output.json {
        let mut json = serde_json::to_value(&code).map_err(Failure::new)?;
        json["stats"] = serde_json::to_value(stats).map_err(Failure::new)?;
        output.json(&json)?;
        return Ok(0);
    }
    let now = when::now();
    let limit = if code.max_concurrency == 0 { "none".to_owned() } else { code.max_concurrency.to_string() };
    let env: Vec<&str> = code.env_vars.keys().map(String::as_str).collect();
    let mut table = Table::facts();
    for (name, value) in [
        ("name", code.name.clone()),
        ("id", code.id.to_string()),
        ("revision", code.rev.to_string()),
        ("state", if code.paused { "paused" } else { "active" }.to_owned()),
        ("started by", launch(&code)),
        ("size", when::size(code.code_size)),
        ("md5", code.latest_checksum.clone()),
        ("created", when::absolute(code.created_at, now)),
        ("changed", when::absolute(code.latest_change, now)),
        ("most at once", limit),
        (
            "retries",
            format!(
                "{}, {} apart",
                code.retries,
                when::rough(std::time::Duration::from_secs(code.retries_delay))
            ),
        ),
        ("limits", limits::describe(&code.limits)),
        ("network", code.limits.network.clone()),
        ("kept", kept(&code)),
        ("priority", code.default_priority.to_string()),
        ("variables", env.join(", ")),
        ("now", format!("{} queued, {} running", stats.queued, stats.running + stats.preparing)),
        (
            "last 24 h",
            format!(
                "{} complete, {} error, {} timeout, {} cancelled, {} killed",
                stats.complete, stats.error, stats.timeout, stats.cancelled, stats.killed
            ),
        ),
    ] {
        table.fact(name, value);
    }
    table.print(output, "")?;
    Ok(0)
}

async fn revisions(args: Named) -> Result<u8, Failure> {
    let (client, output, code) = named(&args).await?;
    let revisions = all(|paging| client.revisions(code.id, paging)).await;
    let revisions = revisions.doing(format_args!("list revisions of {}", code.name))?;
    if output.json {
        output.json(&serde_json::json!({ "revisions": revisions }))?;
        return Ok(0);
    }
    let now = when::now();
    let mut table = Table::new(&["REV", "ID", "UPLOADED", "SIZE", "MD5"]);
    for r in &revisions {
        let uploaded = when::relative(r.created_at, now);
        table.row([
            r.rev.to_string(),
            r.id.to_string(),
            uploaded,
            when::size(r.code_size),
            r.checksum.clone(),
        ]);
    }
    table.print(output, "")?;
    Ok(0)
}

async fn rollback(args: Rollback) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client()?, args.connection.output());
    let code = find(&client, &args.code).await?;
    let rolled = client.roll_back(code.id, args.rev).await;
    let code = rolled.doing(format_args!("roll back {} to revision {}", code.name, args.rev))?;
    if output.json {
        output.json(&code)?;
    } else {
        output.line(&format!("{} revision {} is like revision {}", code.name, code.rev, args.rev))?;
    }
    Ok(0)
}

async fn download(args: Download) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client()?, args.connection.output());
    let code = find(&client, &args.code).await?;
    let zip = client.download(code.id, args.rev).await.doing(format_args!("download {}", code.name))?;
    let path = args.output.unwrap_or_else(|| PathBuf::from(format!("{}.zip", code.name.replace('/', "_"))));
    if path.as_os_str() == "-" {
        output.bytes(&zip)?;
        return Ok(0);
    }
    std::fs::write(&path, &zip).doing(format_args!("write {}", path.display()))?;
    output.line(&format!("{} ({})", path.display(), when::size(zip.len() as u64)))?;
    Ok(0)
}
