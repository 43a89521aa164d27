//! `windlass schedule`.

use clap::{Args, Subcommand};
use windlass_model::id::ScheduleId;
use windlass_model::time::Timestamp;
use windlass_model::wire::lenient::{Number, Text};
use windlass_model::wire::schedules::ScheduleRequest;

use super::codes::all;
use super::queue::payload;
use super::upload::{number, text};
use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::table::{self, Table};
use crate::output::when;
use crate::settings::units;

/// Creates and manages schedules, which queue a task again and again.
#[derive(Args, Debug)]
pub(crate) struct Schedule {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Create a schedule
    Create(Create),
    /// List the schedules of the project
    List(Plain),
    /// Show a schedule
    Show(Named),
    /// Change a schedule; what is not given stays as it is
    Update(Update),
    /// Keep a schedule from firing
    Pause(Named),
    /// Let a schedule fire again; what passed meanwhile is left out
    Resume(Named),
    /// End schedules; tasks that they have queued go on
    Cancel(Cancel),
}

#[derive(Args, Debug)]
struct Plain {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Named {
    /// The schedule
    id: ScheduleId,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Cancel {
    /// The schedules
    #[arg(required = true)]
    ids: Vec<ScheduleId>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Create {
    /// The worker whose tasks it queues
    code: String,

    #[command(flatten)]
    fields: Fields,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Update {
    /// The schedule
    id: ScheduleId,

    #[command(flatten)]
    fields: Fields,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Fields {
    /// What people call it
    #[arg(long)]
    name: Option<String>,

    /// What its tasks get: text, @FILE, or - for standard input
    #[arg(short, long, value_name = "TEXT|@FILE|-", allow_hyphen_values = true)]
    payload: Option<String>,

    /// Time between runs, at least 60s; without it, it runs once
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    every: Option<std::time::Duration>,

    /// First run, and anchor of the grid: in a time such as 10m, or at an instant such as 2026-01-31T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = ahead)]
    start: Option<Timestamp>,

    /// No run after this, likewise
    #[arg(long, value_name = "TIME", value_parser = ahead)]
    end: Option<Timestamp>,

    /// Most runs
    #[arg(long, value_name = "N")]
    times: Option<u32>,

    /// Of its tasks: 0, 1 or 2, which runs first
    #[arg(long, value_name = "0-2", value_parser = clap::value_parser!(u8).range(0..=2))]
    priority: Option<u8>,

    /// Of its tasks: longest time one attempt may run
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    timeout: Option<std::time::Duration>,

    /// Of its tasks: only on runners of this cluster
    #[arg(long)]
    cluster: Option<String>,

    /// Of its tasks: free text to find them by
    #[arg(long)]
    label: Option<String>,
}

/// An instant, or a time after now.
fn ahead(text: &str) -> Result<Timestamp, String> {
    match units::duration(text) {
        Ok(after) => Ok(when::now() + after),
        Err(_) => text.parse().map_err(|_| {
            format!("{text:?} is neither a time such as 10m nor an instant such as 2026-01-31T12:00:00Z")
        }),
    }
}

impl Fields {
    fn request(&self, code: Option<&str>) -> Result<ScheduleRequest, Failure> {
        Ok(ScheduleRequest {
            code_name: code.map_or(Text::Unset, Into::into),
            payload: self.payload.as_deref().map(payload).transpose()?,
            name: text(self.name.clone()),
            start_at: text(self.start.map(|t| t.to_string())),
            delay: Number::Unset,
            run_every: number(self.every.map(|d| d.as_secs_f64())),
            run_times: number(self.times),
            end_at: text(self.end.map(|t| t.to_string())),
            priority: number(self.priority),
            timeout: number(self.timeout.map(|d| d.as_secs_f64())),
            cluster: text(self.cluster.clone()),
            label: text(self.label.clone()),
            ..ScheduleRequest::default()
        })
    }
}

impl Schedule {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        match self.action {
            None => list(&self.connection).await,
            Some(Action::List(args)) => list(&args.connection).await,
            Some(Action::Create(args)) => create(args).await,
            Some(Action::Show(args)) => show(args).await,
            Some(Action::Update(args)) => update(args).await,
            Some(Action::Pause(args)) => {
                let (client, output) = (args.connection.client()?, args.connection.output());
                let said = client.pause_schedule(args.id).await;
                super::codes::said(output, &said.doing(format_args!("pause schedule {}", args.id))?)
            }
            Some(Action::Resume(args)) => {
                let (client, output) = (args.connection.client()?, args.connection.output());
                let said = client.resume_schedule(args.id).await;
                super::codes::said(output, &said.doing(format_args!("resume schedule {}", args.id))?)
            }
            Some(Action::Cancel(args)) => cancel(args).await,
        }
    }
}

async fn create(args: Create) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client()?, args.connection.output());
    let request = args.fields.request(Some(&args.code))?;
    let ids = client.schedule(vec![request]).await.doing(format_args!("schedule {}", args.code))?;
    if output.json {
        let schedules: Vec<_> = ids.iter().map(|id| serde_json::json!({ "id": id })).collect();
        output.json(&serde_json::json!({ "msg": "Scheduled", "schedules": schedules }))?;
    } else {
        for id in &ids {
            output.line(&id.to_string())?;
        }
    }
    Ok(0)
}

async fn list(connection: &Connection) -> Result<u8, Failure> {
    let (client, output) = (connection.client()?, connection.output());
    let schedules = all(|paging| client.schedules(paging)).await.doing("list schedules")?;
    if output.json {
        output.json(&serde_json::json!({ "schedules": schedules }))?;
        return Ok(0);
    }
    let now = when::now();
    let mut table = Table::new(&["ID", "NAME", "WORKER", "STATUS", "EVERY", "NEXT", "LAST", "RUNS"]);
    for s in &schedules {
        table.row([
            s.id.to_string(),
            s.name.clone(),
            s.code_name.clone(),
            s.status.clone(),
            every(s.run_every),
            when::relative(s.next_start, now),
            when::relative(s.last_run_time, now),
            runs(s.run_count, s.run_times),
        ]);
    }
    table.print(output, "no schedules")?;
    Ok(0)
}

fn every(seconds: Option<u32>) -> String {
    seconds.map_or_else(|| "once".to_owned(), |s| when::rough(std::time::Duration::from_secs(s.into())))
}

fn runs(count: u32, limit: Option<u32>) -> String {
    limit.map_or_else(|| count.to_string(), |limit| format!("{count} of {limit}"))
}

async fn show(args: Named) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client()?, args.connection.output());
    let s = client.schedule_by_id(args.id).await.doing(format_args!("show schedule {}", args.id))?;
    if output.json {
        output.json(&s)?;
        return Ok(0);
    }
    let now = when::now();
    let mut table = Table::facts();
    for (name, value) in [
        ("id", s.id.to_string()),
        ("name", s.name),
        ("worker", s.code_name),
        ("status", s.status),
        ("message", s.msg),
        ("every", every(s.run_every)),
        ("runs", runs(s.run_count, s.run_times)),
        ("next", when::absolute(s.next_start, now)),
        ("last", when::absolute(s.last_run_time, now)),
        ("start", when::absolute(s.start_at, now)),
        ("end", when::absolute(s.end_at, now)),
        ("cluster", s.cluster),
        ("label", s.label),
        ("payload", table::one_line(&s.payload)),
    ] {
        table.fact(name, value);
    }
    table.print(output, "")?;
    Ok(0)
}

async fn update(args: Update) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client()?, args.connection.output());
    let changes = args.fields.request(None)?;
    client.update_schedule(args.id, &changes).await.doing(format_args!("update schedule {}", args.id))?;
    if output.json {
        output.json(&serde_json::json!({ "msg": "Updated" }))?;
    } else {
        output.line(&format!("updated {}", args.id))?;
    }
    Ok(0)
}

async fn cancel(args: Cancel) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client()?, args.connection.output());
    for id in &args.ids {
        client.cancel_schedule(*id).await.doing(format_args!("cancel schedule {id}"))?;
        if !output.json {
            output.line(&format!("cancelled {id}"))?;
        }
    }
    if output.json {
        output.json(&serde_json::json!({ "msg": "Cancelled" }))?;
    }
    Ok(0)
}
