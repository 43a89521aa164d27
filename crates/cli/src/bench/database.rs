//! The PostgreSQL of a benchmark: one that is started for it, from the programs that are installed, or a given one.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use windlass_scratch::{Postgres, programs, psql, run};

/// What is set otherwise than by default: memory, room for the log between checkpoints, no listening. Commits are on the
/// disk when they are acknowledged, which is the default and is said again.
const SETTINGS: [&str; 6] = [
    "listen_addresses=",
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=1GB",
    "max_wal_size=4GB",
    "max_connections=200",
];

/// A database that the benchmark may fill.
#[derive(Debug)]
pub(super) struct Database {
    url: String,
    bin: PathBuf,
    own: Option<Postgres>,
}

impl Database {
    /// The database at `store`; or, where that is `postgres`, one of our own.
    pub(super) fn open(store: &str) -> Result<Self> {
        let bin = programs()?;
        if store != "postgres" {
            return Ok(Self { url: store.to_owned(), bin, own: None });
        }
        let own = Postgres::start(&SETTINGS)?;
        Ok(Self { url: own.url("postgres"), bin, own: Some(own) })
    }

    /// Where servers find it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Runs SQL and returns what it says, unaligned.
    pub(super) fn sql(&self, sql: &str) -> Result<String> {
        Ok(run(psql(&self.bin, &self.url).arg("-c").arg(sql))?)
    }

    /// Transactions per second that insert one row of 300 bytes each, from as many connections, without anything else:
    /// PostgreSQL's own load for what a single POST asks of it.
    pub(super) fn inserts(&self, connections: usize, time: Duration) -> Result<f64> {
        self.sql("CREATE TABLE IF NOT EXISTS bare(seq int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text)")?;
        let mut script = tempfile::NamedTempFile::new()?;
        writeln!(script, "INSERT INTO bare(payload) VALUES (repeat('x', 300));")?;
        let mut load = Command::new(self.bin.join("pgbench"));
        load.args(["--no-vacuum", "--protocol=prepared", "--jobs=1", "--client", &connections.to_string()]);
        // By number: a load by time tells nothing if connecting took all of it.
        let each = (time.as_secs() * 50).max(5);
        load.args(["--transactions", &each.to_string(), "--file"]).arg(script.path()).arg(&self.url);
        let said = run(&mut load)?;
        let tps =
            said.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench told no rate")?;
        let rate = tps.split_whitespace().next().unwrap_or_default().parse()?;
        self.sql("DROP TABLE bare")?;
        Ok(rate)
    }

    /// Opens a transaction that sees everything as it is now until it is dropped: no row that is deleted meanwhile can be
    /// removed.
    pub(super) fn pin(&self) -> Result<Pinned> {
        let mut psql = psql(&self.bin, &self.url);
        let mut session = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut input = session.stdin.take().context("psql has no input")?;
        input.write_all(b"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;\n")?;
        input.flush()?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let sees = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_xmin IS NOT NULL \
                    AND application_name = 'psql'";
        while self.sql(sees)?.trim() == "0" {
            ensure!(Instant::now() < deadline, "no old snapshot could be held");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Pinned { session, input: Some(input) })
    }

    /// Rows that are dead and not yet removed, by table, most first.
    pub(super) fn dead_rows(&self) -> Result<Vec<(String, f64)>> {
        let sql = "SELECT relname, n_dead_tup FROM pg_stat_user_tables WHERE n_dead_tup > 0 ORDER BY 2 DESC LIMIT 5";
        let said = self.sql(sql)?;
        let row =
            |line: &str| line.split_once('|').and_then(|(name, n)| Some((name.to_owned(), n.parse().ok()?)));
        Ok(said.lines().filter_map(row).collect())
    }

    /// Bytes of log written so far.
    pub(super) fn log_bytes(&self) -> Result<f64> {
        Ok(self.sql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")?.trim().parse()?)
    }

    /// Bytes on the disk.
    pub(super) fn size_bytes(&self) -> Result<f64> {
        Ok(self.sql("SELECT pg_database_size(current_database())")?.trim().parse()?)
    }

    /// Processor time of all its processes so far; nothing of a database that is not our own.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let server = self.own.as_ref()?.id().to_string();
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let ticks = processes.filter_map(|process| {
            let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
            let name = process.file_name();
            let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
            // The server's own line has the time of those that have ended.
            let times = if name == server.as_str() { 11..15 } else { 11..13 };
            let is_its = name == server.as_str() || fields.get(1) == Some(&server.as_str());
            is_its.then(|| {
                fields.get(times).into_iter().flatten().filter_map(|t| t.parse::<u64>().ok()).sum::<u64>()
            })
        });
        // Linux counts in hundredths of a second on every platform.
        Some(Duration::from_millis(ticks.sum::<u64>() * 10))
    }
}

/// A session that holds an old snapshot, until this is dropped.
#[derive(Debug)]
pub(super) struct Pinned {
    session: Child,
    input: Option<ChildStdin>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.session.wait();
    }
}
