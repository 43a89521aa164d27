//! Servers on PostgreSQL: what is measured of them, in parts of some minutes each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::mpsc;
use windlass_client::Client;
use windlass_client::transport::Http;
use windlass_model::id::CodeId;
use windlass_model::runner::Assignment;
use windlass_store::postgres::Postgres;

use super::bare;
use super::crowd::{self, Crowd};
use super::database::Database;
use super::load::{Connection, closed_loop, post};
use super::plan::{ANY_PORT, ARRAY, Effort, PARKED, README, TRUE, tasks_body, upload};
use super::report::{Figure, Machine, Report};
use super::seed;
use super::stats::{Sample, median, ms};
use crate::child::Windlass;

/// What is measured in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Rates of one server: single tasks, arrays, claims with their finishes
    Rates,
    /// The same again with a full database: as many tasks queued as --seed says, and ten times as many finished
    Full,
    /// What a session does that holds an old snapshot for three minutes at 800 tasks a second
    Snapshot,
    /// What 500 runners cost a server
    Runners,
    /// The rates of one, two and three servers, and what they take for a task
    Servers,
}

/// Simulated runners that share the queue, and tasks that each takes at a time.
const RUNNERS: (usize, u32) = (8, 250);
/// Tasks that are queued before claims are measured: they must not run dry.
const STOCK: f64 = 40_000.0;

/// Measures `part` on the database `store`; `say` hears what is being done.
pub(crate) async fn run(
    store: &str,
    part: Part,
    effort: Effort,
    as_json: bool,
    say: impl Fn(&str),
) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("windlass-bench-").tempdir_in(".")?;
    let bench = Bench { database: Database::open(store)?, folder: folder.path().to_owned(), effort };
    let figures = match part {
        Part::Rates => bench.rates(&say).await?,
        Part::Full => bench.full(&say).await?,
        Part::Snapshot => bench.snapshot(&say).await?,
        Part::Runners => bench.runners(&say).await?,
        Part::Servers => bench.servers(&say).await?,
    };
    let report = Report { machine: Machine::this(), fsync: true, figures };
    Ok(if as_json { serde_json::to_string_pretty(&report)? } else { super::report::table(&report) })
}

struct Bench {
    database: Database,
    folder: PathBuf,
    effort: Effort,
}

/// Rates of tasks per second.
struct Rates {
    singles: f64,
    arrays: f64,
    cycles: f64,
}

impl Bench {
    /// Starts `count` servers on the database. The packages are there, and no task of [`PARKED`] is handed out.
    async fn start(&self, count: usize) -> Result<Servers> {
        let mut all: Vec<Windlass> = Vec::with_capacity(count);
        for n in 0..count {
            let data = self.folder.join(format!("server-{n}"));
            let key = format!("secret_key_file={}", self.folder.join("server-0/secret.key").display());
            let mut more = [ANY_PORT.as_slice(), &["--store", self.database.url()]].concat();
            if n > 0 {
                more.extend(["--set", &key]);
            }
            all.push(Windlass::start("serve", &data, &more)?);
        }
        let first = all.first().context("no server")?;
        let (token, project) = (first.token.clone(), first.client.project().to_owned());
        let client = |server: &Windlass| {
            let transport =
                Http::new(format!("http://{}", server.address)).map_err(|e| anyhow::anyhow!(e))?;
            Ok(Client::new(Arc::new(transport), token.as_str(), project.as_str()))
        };
        let clients = all.iter().map(client).collect::<Result<Vec<_>>>()?;
        let parked = upload(&clients[0], PARKED, README, "true").await?;
        clients[0].pause(parked).await?;
        let code = upload(&clients[0], TRUE, README, "true").await?;
        let path = clients[0].in_project("tasks");
        Ok(Servers { all, clients, token, path, code })
    }

    /// What the machine does without Windlass.
    fn bare(&self) -> Result<(Vec<Figure>, f64)> {
        let fdatasync = bare::fdatasync(&self.folder, 300)?;
        let inserts = self.database.inserts(64, self.effort.load)?;
        let figures = vec![
            Figure::new("fdatasync, p50", ms(fdatasync.median()), "ms"),
            Figure::new("pgbench: a row of 300 bytes, 64 connections", inserts, "rows/s"),
        ];
        Ok((figures, inserts))
    }

    async fn rates(&self, say: &impl Fn(&str)) -> Result<Vec<Figure>> {
        say("the database without Windlass");
        let (mut figures, inserts) = self.bare()?;
        let servers = self.start(1).await?;
        let log = self.database.log_bytes()?;
        let rates = self.measure(&servers, self.effort.runs, "", say).await?;
        figures.push(
            Figure::new("single POSTs, 64 connections", rates.singles, "tasks/s")
                .beside("pgbench", inserts)
                .at_least(8_000.0),
        );
        figures
            .push(Figure::new("arrays of 1,000, 4 connections", rates.arrays, "tasks/s").at_least(50_000.0));
        let (runners, want) = RUNNERS;
        let cycles = format!("claim + finish, {runners} simulated runners, {want} tasks at a time");
        figures.push(Figure::new(cycles, rates.cycles, "tasks/s").at_least(15_000.0));
        let finished = servers.finished().await?;
        let written = self.database.log_bytes()? - log;
        figures.push(Figure::new("tasks finished meanwhile", finished, ""));
        figures.push(Figure::new("log of the database for all of it", written / 1e6, "MB"));
        Ok(figures)
    }

    /// The rates as medians of `runs`.
    async fn measure(
        &self,
        servers: &Servers,
        runs: usize,
        what: &str,
        say: &impl Fn(&str),
    ) -> Result<Rates> {
        let time = self.effort.load;
        say(&format!("single tasks from 64 connections{what}"));
        let mut singles = Vec::new();
        for _ in 0..runs {
            singles.push(servers.enqueue(64, 1, time).await?);
        }
        say(&format!("arrays of 1,000{what}"));
        let mut arrays = Vec::new();
        for _ in 0..runs {
            arrays.push(servers.enqueue(4, ARRAY, time).await?);
        }
        say(&format!("claims with their finishes{what}"));
        let sessions = crowd::register(&servers.clients, RUNNERS.0, RUNNERS.1).await?;
        let sessions: Vec<_> = sessions.into_iter().map(|(session, _)| session).collect();
        let mut cycles = Vec::new();
        for _ in 0..runs {
            servers.stock((STOCK * time.as_secs_f64()) as usize).await?;
            cycles.push(crowd::drain(&sessions, RUNNERS.1, time).await?);
        }
        Ok(Rates { singles: median(singles), arrays: median(arrays), cycles: median(cycles) })
    }

    async fn full(&self, say: &impl Fn(&str)) -> Result<Vec<Figure>> {
        let servers = self.start(1).await?;
        let before = self.measure(&servers, self.effort.runs, ", empty", say).await?;
        let (queued, finished) = (self.effort.seeded, 10 * self.effort.seeded);
        say(&format!("filling the database with {queued} queued and {finished} finished tasks"));
        let store = Postgres::open(&self.database.url().parse()?).await?;
        seed::fill_store(&store, servers.clients[0].project().parse()?, finished, queued).await?;
        let bytes = self.database.size_bytes()?;
        let after = self.measure(&servers, self.effort.runs, ", full", say).await?;
        let what = format!("{queued} queued + {finished} finished");
        let figure = |name: &str, after, before| {
            let figure = Figure::new(format!("{name}, {what}"), after, "tasks/s");
            figure.beside("empty", before).ratio_of_at_least(0.9)
        };
        Ok(vec![
            figure("single POSTs, 64 connections", after.singles, before.singles),
            figure("arrays of 1,000", after.arrays, before.arrays),
            figure("claim + finish", after.cycles, before.cycles),
            Figure::new("size of the full database", bytes / 1e6, "MB"),
        ])
    }

    async fn snapshot(&self, say: &impl Fn(&str)) -> Result<Vec<Figure>> {
        const RATE: u32 = 800;
        let pinned_for = self.effort.load * 60;
        let servers = self.start(1).await?;
        let sessions = crowd::register(&servers.clients, 16, 50).await?;
        let epoch = Instant::now();
        let (arrived, mut pickups) = mpsc::unbounded_channel();
        let seen = move |task: &Assignment| {
            let at = std::str::from_utf8(&task.payload.0).ok().and_then(|text| text.parse().ok());
            let queued = epoch + Duration::from_micros(at.unwrap_or(0));
            // Nobody counts any more when it is over.
            let _ = arrived.send(queued.elapsed());
        };
        let crowd = Crowd::start(sessions, 50, seen);
        let mut figures = Vec::new();
        let mut phase = async |time: Duration| {
            let (start, finished) = (Instant::now(), crowd.finished());
            servers.paced(RATE, time, epoch).await?;
            let rate = (crowd.finished() - finished) as f64 / start.elapsed().as_secs_f64();
            let times = std::iter::from_fn(|| pickups.try_recv().ok()).collect();
            Ok::<_, anyhow::Error>((rate, Sample::new(times)))
        };
        say("800 tasks a second");
        let (before, pickup) = phase(self.effort.load * 5).await?;
        figures.push(Figure::new("tasks finished, no old snapshot", before, "tasks/s"));
        figures.push(Figure::new("pickup, POST to runner, p50", ms(pickup.median()), "ms"));
        figures.push(Figure::new("pickup, p99", ms(pickup.percentile(0.99)), "ms"));
        say(&format!("the same with an old snapshot, {} s", pinned_for.as_secs()));
        let pinned = self.database.pin()?;
        let (during, pickup) = phase(pinned_for).await?;
        let held = format!("old snapshot held for {} s", pinned_for.as_secs());
        figures.push(
            Figure::new(format!("tasks finished, {held}"), during, "tasks/s")
                .beside("without", before)
                .ratio_of_at_least(0.98),
        );
        figures.push(Figure::new("pickup, p50, all of that time", ms(pickup.median()), "ms"));
        figures.push(
            Figure::new("pickup, p99, all of that time", ms(pickup.percentile(0.99)), "ms").at_most(10.0),
        );
        say("the last moments of it");
        let (last, pickup) = phase(self.effort.load * 5).await?;
        figures.push(Figure::new("tasks finished, at its end", last, "tasks/s"));
        figures.push(Figure::new("pickup, p50, at its end", ms(pickup.median()), "ms"));
        figures.push(Figure::new("pickup, p99, at its end", ms(pickup.percentile(0.99)), "ms").at_most(10.0));
        for (table, rows) in self.database.dead_rows()? {
            figures.push(Figure::new(format!("dead rows of {table}"), rows, ""));
        }
        drop(pinned);
        crowd.stop().await?;
        Ok(figures)
    }

    async fn runners(&self, say: &impl Fn(&str)) -> Result<Vec<Figure>> {
        const COUNT: usize = 500;
        let time = self.effort.load * 10;
        let servers = self.start(1).await?;
        say("500 runners that wait and send heartbeats");
        let sessions = crowd::register(&servers.clients, COUNT, 2).await?;
        let crowd = Crowd::start(sessions, 2, |_| {});
        let process = &servers.all[0].process;
        let mut figures = Vec::new();
        for (what, rate) in [("without tasks", 0), ("100 tasks/s", 100)] {
            say(what);
            tokio::time::sleep(self.effort.load).await;
            let (start, before, finished) = (Instant::now(), process.usage()?, crowd.finished());
            let database = self.database.cpu();
            servers.paced(rate, time, start).await?;
            let (after, seconds) = (process.usage()?, start.elapsed().as_secs_f64());
            let share = (after.cpu - before.cpu).as_secs_f64() / seconds;
            figures.push(
                Figure::new(format!("server with {COUNT} runners, {what}"), share, "processors").at_most(0.5),
            );
            if let (Some(before), Some(after)) = (database, self.database.cpu()) {
                let share = after.saturating_sub(before).as_secs_f64() / seconds;
                figures.push(Figure::new(format!("database, {what}"), share, "processors"));
            }
            let rate = (crowd.finished() - finished) as f64 / seconds;
            figures.push(Figure::new(format!("tasks finished, {what}"), rate, "tasks/s"));
            figures.push(Figure::new(
                format!("memory of the server, {what}"),
                after.resident_bytes as f64 / 1e6,
                "MB",
            ));
        }
        crowd.stop().await?;
        Ok(figures)
    }

    async fn servers(&self, say: &impl Fn(&str)) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        let mut first = None;
        for (count, name) in [(1, "one server"), (2, "two servers"), (3, "three servers")] {
            let servers = self.start(count).await?;
            let what = format!(", {name}");
            let (start, usage, database) = (Instant::now(), servers.cpu()?, self.database.cpu());
            let finished = servers.finished().await?;
            let rates = self.measure(&servers, self.effort.runs.min(2), &what, say).await?;
            let done = servers.finished().await? - finished;
            let one = first.get_or_insert((rates.singles, rates.arrays, rates.cycles));
            for (name, rate, one) in [
                ("single POSTs, 64 connections", rates.singles, one.0),
                ("arrays of 1,000", rates.arrays, one.1),
                ("claim + finish", rates.cycles, one.2),
            ] {
                figures.push(Figure::new(format!("{name}{what}"), rate, "tasks/s").beside("one server", one));
            }
            let seconds = start.elapsed().as_secs_f64();
            let spent = (servers.cpu()? - usage).as_secs_f64() / seconds;
            figures.push(Figure::new(format!("processors of the servers{what}"), spent, ""));
            if let (Some(before), Some(after)) = (database, self.database.cpu()) {
                let spent = after.saturating_sub(before).as_secs_f64() / seconds;
                figures.push(Figure::new(format!("processors of the database{what}"), spent, ""));
            }
            ensure!(done > 0.0, "nothing was finished");
        }
        figures.extend(self.costs(say).await?);
        Ok(figures)
    }

    /// What a task takes of a server and of the database, by what was done to it.
    async fn costs(&self, say: &impl Fn(&str)) -> Result<Vec<Figure>> {
        say("what a task takes");
        let servers = self.start(1).await?;
        let sessions = crowd::register(&servers.clients, RUNNERS.0, RUNNERS.1).await?;
        let sessions: Vec<_> = sessions.into_iter().map(|(session, _)| session).collect();
        let time = self.effort.load;
        servers.stock((STOCK * time.as_secs_f64()) as usize).await?;
        let mut figures = Vec::new();
        for name in ["single POST", "task of an array", "claim + finish"] {
            let (start, usage, database) = (Instant::now(), servers.cpu()?, self.database.cpu());
            let log = self.database.log_bytes()?;
            let rate = match name {
                "single POST" => servers.enqueue(64, 1, time).await?,
                "task of an array" => servers.enqueue(4, ARRAY, time).await?,
                _ => crowd::drain(&sessions, RUNNERS.1, time).await?,
            };
            let tasks = rate * start.elapsed().as_secs_f64();
            let each = |time: Duration| time.as_secs_f64() * 1e6 / tasks;
            figures.push(Figure::new(format!("{name}: server"), each(servers.cpu()? - usage), "us"));
            if let (Some(before), Some(after)) = (database, self.database.cpu()) {
                figures.push(Figure::new(
                    format!("{name}: database"),
                    each(after.saturating_sub(before)),
                    "us",
                ));
            }
            let bytes = (self.database.log_bytes()? - log) / tasks;
            figures.push(Figure::new(format!("{name}: log of the database"), bytes, "bytes"));
        }
        Ok(figures)
    }
}

/// Servers on one database.
struct Servers {
    all: Vec<Windlass>,
    clients: Vec<Client>,
    token: String,
    path: String,
    code: CodeId,
}

impl Servers {
    /// Tasks queued per second, `tasks` at a time, from as many connections to all servers together.
    async fn enqueue(&self, connections: usize, tasks: usize, time: Duration) -> Result<f64> {
        let request = post(&self.path, &self.token, &tasks_body(TRUE, tasks));
        let each = connections.div_ceil(self.all.len());
        let loads = self.all.iter().map(|server| closed_loop(server.address, each, &request, time));
        let loads = futures::future::try_join_all(loads).await?;
        Ok(loads.iter().map(|load| load.per_second).sum::<f64>() * tasks as f64)
    }

    /// Tasks finished so far.
    async fn finished(&self) -> Result<f64> {
        Ok(self.clients[0].code_stats(self.code).await?.complete as f64)
    }

    /// Queues tasks until there are at least `count`.
    async fn stock(&self, count: usize) -> Result<()> {
        let queued = self.clients[0].code_stats(self.code).await?.queued as usize;
        let request = post(&self.path, &self.token, &tasks_body(TRUE, ARRAY));
        let mut connection = Connection::open(self.all[0].address).await?;
        for _ in (queued..count).step_by(ARRAY) {
            connection.send(&request).await?;
        }
        Ok(())
    }

    /// Queues `per_second` single tasks, evenly, whose payload is the time since `epoch` in microseconds.
    async fn paced(&self, per_second: u32, time: Duration, epoch: Instant) -> Result<()> {
        if per_second == 0 {
            tokio::time::sleep(time).await;
            return Ok(());
        }
        const CONNECTIONS: u32 = 64;
        let every = Duration::from_secs(1) * CONNECTIONS / per_second;
        let (until, address) = (Instant::now() + time, self.all[0].address);
        let one = |n: u32| async move {
            let mut connection = Connection::open(address).await?;
            let first = tokio::time::Instant::now() + every * n / CONNECTIONS;
            let mut ticks = tokio::time::interval_at(first, every);
            while Instant::now() < until {
                ticks.tick().await;
                let payload = epoch.elapsed().as_micros();
                let body = format!(r#"{{"tasks":[{{"code_name":"{TRUE}","payload":"{payload}"}}]}}"#);
                connection.send(&post(&self.path, &self.token, &body)).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        futures::future::try_join_all((0..CONNECTIONS).map(one)).await?;
        Ok(())
    }

    /// Processor time of all of them so far.
    fn cpu(&self) -> Result<Duration> {
        self.all.iter().map(|server| Ok(server.process.usage()?.cpu)).sum()
    }
}
