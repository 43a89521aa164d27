//! What the writer knows without asking the database: everything small that every operation needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;
use rusqlite::Connection;
use windlass_model::code::Revision;
use windlass_model::id::{ProjectId, RunnerId, Seq, SeqClock};
use windlass_model::runner::{Isolation, RunnerRecord};
use windlass_model::task::Status;
use windlass_model::time::Timestamp;

use super::catalog::Catalog;
use super::counters::Counters;
use super::health::Health;
use super::partition::{self, Partitions};
use super::rows::{self, Json, Run};
use super::window::Windows;

/// What changes rarely and what readers need to make sense of rows.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) catalog: Catalog,
    pub(super) partitions: Partitions,
}

/// A runner session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) record: RunnerRecord,
    pub(super) lease_until: Timestamp,
    /// The lease as its row has it.
    pub(super) lease_written: Timestamp,
}

impl Session {
    pub(super) fn is_live(&self) -> bool {
        self.record.gone_at.is_none()
    }

    /// Whether the row is more than a third of a lease behind. A session that holds something is written before: after
    /// a crash its lease ends at most that much too early.
    pub(super) fn is_behind(&self, now: Timestamp) -> bool {
        self.lease_until.since(self.lease_written) * 3 > self.lease_until.since(now)
    }
}

/// The memory of the writer. It is ahead of the database within a group, and read again when a group fails.
#[derive(Debug)]
pub(super) struct State {
    pub(super) view: View,
    pub(super) windows: Windows,
    pub(super) counters: Counters,
    pub(super) running: HashMap<i64, Arc<Run>>,
    pub(super) sessions: BTreeMap<RunnerId, Session>,
    /// Revisions that were claimed lately.
    pub(super) revisions: HashMap<(usize, u32), Arc<Revision>>,
    /// Isolations and their rows' keys, as far as they were needed.
    pub(super) isolations: Vec<(Isolation, i64)>,
    /// Schedules that have not ended, where they were counted already.
    pub(super) schedules_alive: HashMap<ProjectId, usize>,
    pub(super) fences: SeqClock,
    /// Every fence that was minted is below; the database has it, and the clock starts there when it is opened again.
    pub(super) fence_mark: i64,
    pub(super) newest: Seq,
}

impl State {
    /// Reads it from the database: windows are left to be filled when they are first looked at, so this takes as long
    /// with a million queued tasks as with none.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let catalog = Catalog::load(conn)?;
        let counters = Counters::load(conn)?;
        let partitions = partition::load(conn)?;
        let mut windows = Windows::default();
        for (number, code) in catalog.packages().iter().enumerate() {
            windows.set_package(number, code.is_paused, code.max_concurrency, catalog.needs(number));
        }
        for (number, lane) in catalog.lanes().iter().enumerate() {
            windows.put_lane(number, lane.package, &lane.cluster, counters.get(number, Status::Queued) == 0);
            if lane.is_vacant() {
                windows.drop_lane(number);
            }
        }
        let mut running = HashMap::new();
        let mut rows = conn.prepare(include_str!("sql/running.sql"))?;
        for run in rows.query_map([], rows::run)? {
            let run = run?;
            if let Some(lane) = catalog.lane(run.lane) {
                windows.started(lane.package);
            }
            running.insert(run.task.seq().0, Arc::new(run));
        }
        let sessions = load_sessions(conn)?;
        let newest = newest(conn, &catalog, &partitions)?;
        let fence_mark = conn.query_row("SELECT mark FROM fence", [], |row| row.get(0))?;
        Ok(Self {
            view: View { catalog, partitions },
            windows,
            counters,
            running,
            sessions,
            revisions: HashMap::new(),
            isolations: Vec::new(),
            schedules_alive: HashMap::new(),
            fences: SeqClock::after(Seq(fence_mark)),
            fence_mark,
            newest,
        })
    }

    /// Reads it again after a failed group. Leases that only memory had are kept, and fences that were minted are not
    /// minted again.
    pub(super) fn reload(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let mut fresh = Self::load(conn)?;
        for (id, session) in &mut fresh.sessions {
            let known = self.sessions.get(id).filter(|known| known.is_live() && session.is_live());
            if let Some(known) = known {
                session.lease_until = known.lease_until.max(session.lease_until);
                session.record.seen_at = known.record.seen_at.max(session.record.seen_at);
            }
        }
        fresh.fences = std::mem::take(&mut self.fences);
        fresh.newest = fresh.newest.max(self.newest);
        *self = fresh;
        Ok(())
    }
}

fn load_sessions(conn: &Connection) -> rusqlite::Result<BTreeMap<RunnerId, Session>> {
    let mut rows = conn.prepare("SELECT lease_until, data FROM session")?;
    let rows = rows.query_map([], |row| {
        let lease_until = Timestamp::from_millis(row.get(0)?);
        let Json(record): Json<RunnerRecord> = row.get(1)?;
        Ok((record.id, Session { record, lease_until, lease_written: lease_until }))
    })?;
    rows.collect()
}

fn newest(conn: &Connection, catalog: &Catalog, partitions: &Partitions) -> rusqlite::Result<Seq> {
    let max = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    let mut newest = 0;
    for table in ["project", "token", "cluster", "session", "schedule"] {
        newest = newest.max(max(&format!("SELECT max(seq) FROM {table}"))?.unwrap_or(0));
    }
    for code in catalog.packages() {
        newest = newest.max(code.id.seq().0).max(code.latest.id.seq().0);
    }
    if let Some(tables) = partitions.values().next_back() {
        newest = newest.max(max(&tables.newest)?.unwrap_or(0));
    }
    Ok(Seq(newest))
}

/// What the writer shows to everybody else, as of its last commit.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) view: RwLock<Arc<View>>,
    pub(super) counters: RwLock<Counters>,
    pub(super) running: RwLock<HashMap<i64, Arc<Run>>>,
    pub(super) health: Health,
    newest: AtomicI64,
}

impl Shared {
    pub(super) fn of(state: &State) -> Self {
        Self {
            view: RwLock::new(Arc::new(state.view.clone())),
            counters: RwLock::new(state.counters.clone()),
            running: RwLock::new(state.running.clone()),
            health: Health::default(),
            newest: AtomicI64::new(state.newest.0),
        }
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    pub(super) fn newest(&self) -> Seq {
        Seq(self.newest.load(Ordering::Acquire))
    }

    pub(super) fn set_newest(&self, newest: Seq) {
        self.newest.store(newest.0, Ordering::Release);
    }
}
