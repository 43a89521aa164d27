//! What all operations of one process share: connections, and what is known without asking.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use windlass_model::code::{Code, Revision};
use windlass_model::id::CodeId;
use windlass_model::isolation::Level;
use windlass_model::lease::Fence;
use windlass_model::runner::Isolation;
use windlass_model::time::Timestamp;

use super::catalog::{Catalog, Freshness};
use super::connect::Connections;
use super::fault::Stop;
use super::floor::Floors;
use super::param::{Param, params};
use super::partition::{Partitions, Tables, creation};
use super::rows;
use super::schema::SCHEMA_LOCK;
use super::tx;
use super::work::Work;
use crate::encoding::json;
use crate::signals::Signals;
use crate::types::Partition;

/// Something that is done in one transaction. It may be done again when the first time came to nothing.
pub(super) trait Operation: Sync {
    /// What its caller gets.
    type Answer: Send;
    /// Whether its writes need to survive the death of processes only.
    const IS_RELAXED: bool = false;
    /// Whether it goes through the gate: it may put keys into lanes or take them out. See [`super::ops::codes`].
    const IS_GATED: bool = true;
    /// Whether only the server that leads may do it: it fails in the end if that is another one by then.
    const IS_DUTY: bool = false;

    /// Does it. What it refuses, it refuses before it has changed anything.
    fn run(&self, work: &mut Work<'_>) -> impl Future<Output = Result<Self::Answer, Stop>> + Send;
}

/// Times that an operation is tried again which met another transaction, or a connection that had ended.
const TRIES: u32 = 8;
/// How long an operation waits for a database that is not there, such as one that is being restarted.
const OUTAGE: Duration = Duration::from_secs(2);
/// Writers of one process that add to rows of their own.
const WRITERS: i16 = 8;
/// Processes that do.
const PROCESSES: i64 = 16;
/// Fences of one process: more than it can use.
const FENCES: i64 = 1 << 40;

/// The term in which this process leads; 0: it does not, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term(pub(super) i64);

/// What the operations of one process share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) connections: Connections,
    pub(super) signals: Arc<Signals>,
    catalog: RwLock<Arc<Catalog>>,
    freshness: Freshness,
    partitions: RwLock<Arc<Partitions>>,
    clusters: RwLock<HashMap<String, (i32, Timestamp)>>,
    /// Revisions that were claimed lately.
    revisions: Mutex<HashMap<(i32, u32), Arc<Revision>>>,
    /// Isolations and their rows' keys, as far as they were needed.
    isolations: Mutex<HashMap<String, i32>>,
    /// How far claims have come.
    pub(super) floors: Mutex<Floors>,
    /// The number of this process: no other had it or will have it.
    server: i64,
    term: AtomicI64,
    fences: AtomicI64,
}

impl State {
    /// Reads what there is, and takes a number for this process.
    pub(super) async fn load(connections: Connections) -> Result<Self, Stop> {
        let mut tx = connections.write().await?;
        let row = tx.query_opt("SELECT nextval('server')", params![]).await?;
        let server = row.map_or(0, |row| row.get(0));
        tx.commit().await?;
        let state = Self {
            connections,
            signals: Arc::default(),
            catalog: RwLock::default(),
            freshness: Freshness::default(),
            partitions: RwLock::default(),
            clusters: RwLock::default(),
            revisions: Mutex::default(),
            isolations: Mutex::default(),
            floors: Mutex::default(),
            server,
            term: AtomicI64::new(0),
            fences: AtomicI64::new(server * FENCES),
        };
        state.refresh().await?;
        state.reload_partitions().await?;
        Ok(state)
    }

    /// The number of this process.
    pub(super) fn server(&self) -> i64 {
        self.server
    }

    /// The term in which it leads, as far as it knows.
    pub(super) fn term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }

    /// It leads in this term from now on, or not at all.
    pub(super) fn set_term(&self, term: Term) {
        self.term.store(term.0, Ordering::Release);
    }

    /// Which of the processes this is that have the database open at the same time, unless 255 were started since.
    pub(super) fn node(&self) -> u8 {
        (self.server % 256) as u8
    }

    /// The rows that the writer of this process adds to.
    pub(super) fn shard(&self, writer: i16) -> i16 {
        (self.server % PROCESSES) as i16 * WRITERS + writer % WRITERS
    }

    /// The first of `n` fences that no attempt had and none will have: each process has a range of its own.
    pub(super) fn fences(&self, n: usize) -> Fence {
        Fence(self.fences.fetch_add(n as i64, Ordering::Relaxed))
    }

    /// Does `operation`, as often as it takes while that is no use of anybody's patience.
    pub(super) async fn write<O: Operation>(&self, operation: &O, writer: i16) -> Result<O::Answer, Stop> {
        let began = std::time::Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            match self.write_once(operation, writer).await {
                Err(stop) if stop.is_of_partitions() && tries < TRIES => {
                    drop(self.reload_partitions().await?);
                }
                Err(stop) if stop.is_passing() && tries < TRIES => {
                    tracing::debug!(tries, stop = ?stop, "a transaction is tried again");
                    // Two that met each other should not meet again.
                    tokio::time::sleep(Duration::from_millis(u64::from(tries) * (1 + self.jitter() % 8)))
                        .await;
                }
                Err(Stop::Unreachable(_)) if began.elapsed() < OUTAGE => {
                    tokio::time::sleep(Duration::from_millis(100 + self.jitter() % 100)).await;
                }
                done => return done,
            }
        }
    }

    async fn write_once<O: Operation>(&self, operation: &O, writer: i16) -> Result<O::Answer, Stop> {
        let tx = match O::IS_RELAXED {
            true => self.connections.write_relaxed(O::IS_GATED).await?,
            false => self.connections.write_through(O::IS_GATED).await?,
        };
        self.finish(operation, Work::new(self, tx, writer)).await
    }

    async fn finish<O: Operation>(&self, operation: &O, mut work: Work<'_>) -> Result<O::Answer, Stop> {
        // As it was before: who lost the lead meanwhile and won it again did not lead all along.
        let term = self.term();
        match operation.run(&mut work).await {
            Ok(answer) => {
                if O::IS_DUTY {
                    work.later(include_str!("sql/fence.sql"), params![self.server, term.0]);
                }
                work.commit().await.map_err(|stop| stop.of_the_fence(O::IS_DUTY))?.publish(&self.signals);
                Ok(answer)
            }
            Err(stop) => {
                work.tx.roll_back().await;
                Err(stop)
            }
        }
    }

    /// A number that differs between processes and moments; good for nothing else.
    pub(super) fn jitter(&self) -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| u64::from(now.subsec_nanos()) / 1000).wrapping_add(self.server as u64 * 31)
    }

    /// One read, tried again if the connection that it was given had ended.
    pub(super) async fn read(&self, sql: &str, params: Vec<Param>) -> Result<Vec<tokio_postgres::Row>, Stop> {
        let began = std::time::Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let rows = match self.connections.reader().await {
                Ok(conn) => tx::query(&conn, self.connections.mode, sql, &params).await,
                Err(stop) => Err(stop),
            };
            match rows {
                Err(stop) if stop.is_passing() && tries < TRIES => {}
                Err(Stop::Unreachable(_)) if began.elapsed() < OUTAGE => {
                    tokio::time::sleep(Duration::from_millis(100 + self.jitter() % 100)).await;
                }
                done => return done,
            }
        }
    }

    // Packages.

    /// Packages as they were lately; see the module of the catalog.
    pub(super) async fn catalog(&self) -> Result<Arc<Catalog>, Stop> {
        if !self.freshness.is_fresh() {
            self.refresh().await?;
        }
        Ok(self.known())
    }

    /// Packages as far as they are known.
    pub(super) fn known(&self) -> Arc<Catalog> {
        self.catalog.read().clone()
    }

    /// Packages as they are now.
    pub(super) async fn refresh(&self) -> Result<(), Stop> {
        let asked = std::time::Instant::now();
        // Who comes while one asks waits for that answer, and asks again only if it is not new enough.
        let _asking = self.freshness.lock().await;
        if self.freshness.is_of(asked) {
            return Ok(());
        }
        let asked = std::time::Instant::now();
        let version = self.catalog.read().version;
        let changed = "SELECT num, version, data, needs FROM code WHERE version > $1 ORDER BY version";
        let rows = self.read(changed, params![version]).await?;
        if !rows.is_empty() {
            let mut catalog = (*self.known()).clone();
            for row in &rows {
                catalog.put(row.try_get(0)?, rows::from_json::<Code>(row, 2)?, rows::level_at(row, 3)?);
                catalog.version = row.try_get(1)?;
            }
            *self.catalog.write() = Arc::new(catalog);
        }
        self.freshness.set(asked);
        Ok(())
    }

    /// The package, looked for if it is not known.
    pub(super) async fn code(&self, id: CodeId) -> Result<Option<Arc<Code>>, Stop> {
        if let Some(code) = self.catalog().await?.code(id) {
            return Ok(Some(code.clone()));
        }
        self.refresh().await?;
        Ok(self.known().code(id).cloned())
    }

    /// The package with this number.
    pub(super) async fn package(&self, number: i32) -> Result<Option<Arc<Code>>, Stop> {
        if let Some(code) = self.known().package(number) {
            return Ok(Some(code.clone()));
        }
        self.refresh().await?;
        Ok(self.known().package(number).cloned())
    }

    /// The revision, from memory if it was asked for lately.
    pub(super) async fn revision(&self, code: i32, rev: u32) -> Result<Option<Arc<Revision>>, Stop> {
        const KEPT: usize = 256;
        if let Some(revision) = self.revisions.lock().get(&(code, rev)) {
            return Ok(Some(revision.clone()));
        }
        let sql = "SELECT data FROM revision WHERE code = $1 AND rev = $2";
        let rows = self.read(sql, params![code, rev as i32]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let revision = Arc::new(rows::from_json::<Revision>(row, 0)?);
        let mut kept = self.revisions.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert((code, rev), revision.clone());
        Ok(Some(revision))
    }

    // Clusters.

    /// The number of the cluster, if there is one of that name.
    pub(super) async fn cluster(&self, name: &str) -> Result<Option<i32>, Stop> {
        if let Some((number, _)) = self.clusters.read().get(name) {
            return Ok(Some(*number));
        }
        let rows = self.read("SELECT num FROM cluster WHERE name = $1", params![name.to_owned()]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    /// The number of the cluster, made if it is not there. It stays for a day at least, see [`super::ops::prune`].
    pub(super) async fn cluster_or_create(&self, name: &str, now: Timestamp) -> Result<i32, Stop> {
        const TRUSTED: Duration = Duration::from_secs(3_600);
        if let Some((number, noted)) = self.clusters.read().get(name)
            && now.since(*noted) < TRUSTED
        {
            return Ok(*number);
        }
        let mut tx = self.connections.write().await?;
        let sql = include_str!("sql/put_cluster.sql");
        let row = tx.query_opt(sql, params![name.to_owned(), now.as_millis()]).await?;
        let number: i32 = row.map_or(0, |row| row.get(0));
        let levels: Vec<i16> = Level::ALL.map(|level| level as i16).to_vec();
        let lanes = "INSERT INTO lane(cluster, code, needs) SELECT $1, 0, needs FROM unnest($2::int2[]) AS l(needs) \
                     ON CONFLICT DO NOTHING";
        tx.later(lanes, params![number, levels]);
        tx.commit().await?;
        self.clusters.write().insert(name.to_owned(), (number, now));
        Ok(number)
    }

    /// Forgets what is known of clusters.
    pub(super) fn forget_clusters(&self) {
        self.clusters.write().clear();
    }

    // Partitions.

    /// The partitions that are known, oldest first.
    pub(super) fn partitions(&self) -> Arc<Partitions> {
        self.partitions.read().clone()
    }

    /// Looks for partitions that others made or dropped.
    pub(super) async fn reload_partitions(&self) -> Result<Arc<Partitions>, Stop> {
        let rows = self.read("SELECT day FROM partition", params![]).await?;
        let known = self.partitions();
        let tables = |day: i64| {
            let partition = Partition(day);
            let tables = known.get(&partition).cloned().unwrap_or_else(|| Arc::new(Tables::of(partition)));
            (partition, tables)
        };
        let partitions: Arc<Partitions> = Arc::new(rows.iter().map(|row| tables(row.get(0))).collect());
        *self.partitions.write() = partitions.clone();
        Ok(partitions)
    }

    /// The tables of `partition`, if they are there.
    pub(super) async fn tables(&self, partition: Partition) -> Result<Option<Arc<Tables>>, Stop> {
        if let Some(tables) = self.partitions().get(&partition) {
            return Ok(Some(tables.clone()));
        }
        let rows = self.read("SELECT 1 FROM partition WHERE day = $1", params![partition.0]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(self.reload_partitions().await?.get(&partition).cloned())
    }

    /// The tables of `partition`, made if they are not there, in a transaction of its own.
    pub(super) async fn tables_or_create(&self, partition: Partition) -> Result<Arc<Tables>, Stop> {
        loop {
            if let Some(tables) = self.tables(partition).await? {
                return Ok(tables);
            }
            let mut tx = self.connections.write().await?;
            tx.batch(&format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")).await?;
            let there = tx.query("SELECT 1 FROM partition WHERE day = $1", params![partition.0]).await?;
            if there.is_empty() {
                tx.batch(&creation(partition)).await?;
                tx.query("INSERT INTO partition(day) VALUES ($1)", params![partition.0]).await?;
            }
            tx.commit().await?;
            self.reload_partitions().await?;
        }
    }

    // Isolations.

    /// The row of an isolation: there are as many as kinds of runner hosts, so attempts only name it.
    pub(super) async fn isolation(&self, isolation: &Isolation) -> Result<i32, Stop> {
        let data = json(isolation);
        if let Some(id) = self.isolations.lock().get(&data) {
            return Ok(*id);
        }
        let mut tx = self.connections.write().await?;
        let sql = "INSERT INTO isolation(data) VALUES ($1) ON CONFLICT (data) DO UPDATE SET data = excluded.data \
                   RETURNING id";
        let row = tx.query_opt(sql, params![data.clone()]).await?;
        let id = row.map_or(0, |row| row.get(0));
        tx.commit().await?;
        self.isolations.lock().insert(data, id);
        Ok(id)
    }
}
