//! What is measured, in order.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use windlass_client::Client;
use windlass_model::id::CodeId;
use windlass_model::wire::codes::UploadRequest;
use windlass_model::wire::lenient::Text;
use windlass_model::wire::tasks::TaskRequest;

use super::bare::{self, STAMP};
use super::load::{Load, closed_loop, post};
use super::report::{Figure, Machine, Report};
use super::sandbox;
use super::seed;
use super::stats::{Sample, median, ms};
use super::warm;
use crate::child::{Process, Windlass};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Runs of each figure; the median is reported.
    pub(crate) runs: usize,
    /// How long a load lasts.
    pub(crate) load: Duration,
    /// Tasks from end to end in a run.
    pub(crate) tasks: usize,
    /// Pickups timed.
    pub(crate) pickups: usize,
    /// How long an idle server is watched.
    pub(crate) idle: Duration,
    /// Tasks queued and tasks finished in the full store.
    pub(crate) seeded: usize,
}

impl Effort {
    /// As much as figures need that are to be quoted.
    pub(crate) fn full(runs: usize, seeded: usize) -> Self {
        Self {
            runs,
            load: Duration::from_secs(3),
            tasks: 1000,
            pickups: 200,
            idle: Duration::from_secs(30),
            seeded,
        }
    }

    /// As little as shows that everything can be measured.
    pub(crate) fn quick() -> Self {
        let second = Duration::from_secs(1);
        Self { runs: 1, load: second / 2, tasks: 100, pickups: 10, idle: second, seeded: 2_000 }
    }
}

pub(super) const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// Tasks in one request, where many are queued at once.
pub(super) const ARRAY: usize = 1000;

/// The package whose tasks do nothing.
pub(super) const TRUE: &str = "bench-true";
/// The package whose tasks say when they start.
pub(super) const STAMPER: &str = "bench-stamp";
/// The package whose tasks stay queued.
pub(super) const PARKED: &str = "bench-parked";

/// Measures everything; `say` hears what is being done.
pub(crate) async fn run(effort: Effort, as_json: bool, say: impl Fn(&str)) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("windlass-bench-").tempdir_in(".")?;
    let mut figures = Vec::new();

    say("the disk: fdatasync after 4 KiB");
    let fdatasync = bare::fdatasync(folder.path(), 500)?;
    figures.push(Figure::new("fdatasync, p50", ms(fdatasync.median()), "ms"));

    say("an empty store");
    let empty = folder.path().join("empty");
    let in_empty = rates(effort, &empty, fdatasync.median(), "", &say).await?;
    figures.extend(in_empty.figures);

    say("an idle server");
    figures.extend(idle(effort, &folder.path().join("idle")).await?);

    figures.extend(sandbox::figures(effort, &folder.path().join("sandbox"), &say).await?);
    figures.extend(warm::figures(effort, &folder.path().join("warm"), &say).await?);

    say(&format!("filling a store with {0} queued and {0} finished tasks", effort.seeded));
    let full = folder.path().join("full");
    seed::fill(&full, effort.seeded).await?;
    let millions = format!(", {} queued + {0} finished", effort.seeded);
    let in_full = rates(effort, &full, fdatasync.median(), &millions, &say).await?;
    figures.extend(in_full.figures);
    for (name, before, after) in
        in_empty.compared.iter().zip(&in_full.compared).map(|(a, b)| (&a.0, a.1, b.1))
    {
        let figure = Figure::new(format!("{name}, full beside empty"), after, "tasks/s");
        figures.push(figure.beside("empty store", before).ratio_of_at_least(0.9));
    }
    figures.push(
        Figure::new("server memory, full store, after the load", in_full.resident_mb, "MB").at_most(150.0),
    );

    let report = Report { machine: Machine::this(), fsync: true, figures };
    Ok(if as_json { serde_json::to_string_pretty(&report)? } else { super::report::table(&report) })
}

/// The rates of one store.
struct Rates {
    figures: Vec<Figure>,
    /// Rates that must not fall when the store fills up.
    compared: Vec<(String, f64)>,
    resident_mb: f64,
}

async fn rates(
    effort: Effort,
    data: &Path,
    fdatasync: Duration,
    what: &str,
    say: &impl Fn(&str),
) -> Result<Rates> {
    let mut figures = Vec::new();
    let mut compared = Vec::new();

    let server = Windlass::start("serve", data, &ANY_PORT)?;
    let parked = upload(&server.client, PARKED, README, "true").await?;
    // No runner of a later step may take them.
    server.client.pause(parked).await?;
    let (_parser, parser) = Process::start(&["bench-parser"], std::process::Stdio::null())?;
    let parser = parser.parse().context("the bare handler did not start")?;
    let path = server.client.in_project("tasks");
    for (name, connections, tasks) in [
        ("single POSTs, 1 connection", 1, 1),
        ("single POSTs, 64 connections", 64, 1),
        ("arrays of 1,000", 4, ARRAY),
    ] {
        say(&format!("{name}{what}"));
        let body = tasks_body(PARKED, tasks);
        let (ours, bare) = (post(&path, &server.token, &body), post("/", &server.token, &body));
        let mut rates = (Vec::new(), Vec::new());
        let mut last: Option<Load> = None;
        for _ in 0..effort.runs {
            rates
                .1
                .push(closed_loop(parser, connections, &bare, effort.load).await?.per_second * tasks as f64);
            let load = closed_loop(server.address, connections, &ours, effort.load).await?;
            rates.0.push(load.per_second * tasks as f64);
            last = Some(load);
        }
        let rate = median(rates.0);
        let figure = Figure::new(format!("{name}{what}"), rate, "tasks/s")
            .beside("a handler that only parses", median(rates.1));
        figures.push(match tasks {
            1 if connections > 1 => figure.ratio_of_at_least(0.5),
            1 => figure,
            _ => figure.at_least(80_000.0),
        });
        if connections == 1
            && let Some(load) = last
        {
            let p50 = Figure::new(format!("{name}, p50{what}"), ms(load.latency.median()), "ms");
            figures.push(p50.beside("fdatasync", ms(fdatasync)));
        }
        compared.push((name.to_owned(), rate));
    }
    drop(server);

    let slots = std::thread::available_parallelism().map_or(1, usize::from);
    let slots_text = slots.to_string();
    // The way of a task is measured here, with what a sandbox adds beside it: see `sandbox`.
    let up = [ANY_PORT.as_slice(), &["--slots", &slots_text, "--set", "sandbox.policy=off"]].concat();
    let server = Windlass::start("up", data, &up)?;
    say(&format!("`true` from end to end{what}"));
    let code = upload(&server.client, TRUE, README, "true").await?;
    true_tasks(&server.client, code, effort.tasks / 10).await?;
    let mut rates = (Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        rates.1.push(bare::spawn(slots, effort.tasks, bare::nothing)?.0);
        rates.0.push(true_tasks(&server.client, code, effort.tasks).await?);
    }
    let rate = median(rates.0);
    let name = format!("`true` tasks end to end, {slots} slots");
    let figure = Figure::new(format!("{name}{what}"), rate, "tasks/s");
    figures.push(figure.beside("posix_spawn of `true`", median(rates.1)).ratio_of_at_least(0.8));
    compared.push((name, rate));

    say(&format!("pickup of a task by an idle server{what}"));
    upload(&server.client, STAMPER, README, STAMP).await?;
    let pickup = pickups(&server.client, effort.pickups).await?;
    let spawn = bare::spawn_stamp(effort.pickups)?;
    let allowed = fdatasync + spawn.median() + Duration::from_millis(1);
    let bare = format!("fdatasync + spawn, p50; spawn alone {:.2} ms", ms(spawn.median()));
    figures.push(
        Figure::new(format!("idle pickup, POST to first instruction, p50{what}"), ms(pickup.median()), "ms")
            .beside(bare, ms(fdatasync + spawn.median()))
            .at_most(ms(allowed)),
    );
    figures.push(Figure::new(format!("idle pickup, p99{what}"), ms(pickup.percentile(0.99)), "ms"));
    let resident_mb = server.process.usage()?.resident_bytes as f64 / 1e6;
    Ok(Rates { figures, compared, resident_mb })
}

async fn idle(effort: Effort, data: &Path) -> Result<Vec<Figure>> {
    // The first start makes a project and a token; it is the later ones that are counted.
    drop(Windlass::start("up", data, &ANY_PORT)?);
    let mut starts = Vec::new();
    for _ in 0..effort.runs {
        starts.push(Windlass::start("up", data, &ANY_PORT)?.ready_after);
    }
    let server = Windlass::start("up", data, &ANY_PORT)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, written) = (server.process.usage()?, wal_writes(data));
    tokio::time::sleep(effort.idle).await;
    let after = server.process.usage()?;
    let percent = (after.cpu - before.cpu).as_secs_f64() / effort.idle.as_secs_f64() * 100.0;
    let seconds = effort.idle.as_secs();
    Ok(vec![
        Figure::new("start to ready, p50", ms(Sample::new(starts).median()), "ms").at_most(100.0),
        Figure::new(format!("idle processor use over {seconds} s"), percent, "%").at_most(0.5),
        Figure::new(
            format!("idle changes of the store over {seconds} s"),
            f64::from(wal_writes(data) != written),
            "",
        )
        .at_most(0.0),
        Figure::new("idle memory, server and runner", after.resident_bytes as f64 / 1e6, "MB").at_most(40.0),
    ])
}

/// What changes with every transaction: length and time of the store's files.
fn wal_writes(data: &Path) -> Vec<(std::ffi::OsString, u64, Option<std::time::SystemTime>)> {
    let files = std::fs::read_dir(data).into_iter().flatten().flatten();
    let state = |file: std::fs::DirEntry| {
        let meta = file.metadata().ok()?;
        meta.is_file().then(|| (file.file_name(), meta.len(), meta.modified().ok()))
    };
    let mut states: Vec<_> = files.filter_map(state).collect();
    states.sort();
    states
}

pub(super) fn tasks_body(name: &str, tasks: usize) -> String {
    let payload = "x".repeat(300);
    let task = format!(r#"{{"code_name":"{name}","payload":"{payload}"}}"#);
    format!(r#"{{"tasks":[{}]}}"#, vec![task; tasks].join(","))
}

/// Uploads a package of one file, which its command may read.
pub(super) async fn upload(client: &Client, name: &str, file: (&str, &str), command: &str) -> Result<CodeId> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(file.0, zip::write::SimpleFileOptions::default())?;
    zip.write_all(file.1.as_bytes())?;
    let zip = zip.finish()?.into_inner();
    let request =
        UploadRequest { name: Text::from(name), command: Text::from(command), ..UploadRequest::default() };
    Ok(client.upload(&request, Some(Bytes::from(zip)), None).await?.id)
}

/// The file of a package whose command reads none.
pub(super) const README: (&str, &str) = ("README", "");

/// Queues `count` tasks of a package at once and waits until all are complete: the time from the first byte to the last
/// end.
pub(super) async fn end_to_end(client: &Client, code: CodeId, name: &str, count: usize) -> Result<Duration> {
    let done = client.code_stats(code).await?.complete;
    let task = TaskRequest { code_name: Text::from(name), ..TaskRequest::default() };
    let start = Instant::now();
    let ids = client.queue(vec![task; count], None).await?;
    let last = *ids.last().context("nothing was queued")?;
    client.wait(last, Some(Duration::from_secs(120))).await?;
    while client.code_stats(code).await?.complete < done + count as u64 {
        ensure!(start.elapsed() < Duration::from_secs(120), "{count} tasks were not done in two minutes");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(start.elapsed())
}

/// `true` tasks per second from end to end.
pub(super) async fn true_tasks(client: &Client, code: CodeId, count: usize) -> Result<f64> {
    Ok(count as f64 / end_to_end(client, code, TRUE, count).await?.as_secs_f64())
}

/// Times from queueing a task on an idle server to the first act of its process.
pub(super) async fn pickups(client: &Client, count: usize) -> Result<Sample> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let task = TaskRequest { code_name: Text::from(STAMPER), ..TaskRequest::default() };
        let queued_at = std::time::SystemTime::now();
        let ids = client.queue(vec![task], None).await?;
        let id = *ids.first().context("nothing was queued")?;
        client.wait(id, Some(Duration::from_secs(30))).await?;
        let started_at = bare::stamp(&client.log(id, None).await?.unwrap_or_default())?;
        times.push(started_at.duration_since(queued_at).unwrap_or_default());
    }
    Ok(Sample::new(times))
}
