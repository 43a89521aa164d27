//! Numbers of tasks by lane and status, as of the last commit.

use std::collections::HashMap;

use rusqlite::Connection;
use windlass_model::task::Status;

/// By lane, then by status.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters(Vec<[i64; Status::ALL.len()]>);

/// What a group adds to them.
pub(super) type Deltas = HashMap<(usize, u8), i64>;

impl Counters {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut counters = Self::default();
        let mut rows = conn.prepare("SELECT lane, status, n FROM counter")?;
        let rows = rows.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
        for row in rows {
            let (key, n) = row?;
            counters.add(key, n);
        }
        Ok(counters)
    }

    pub(super) fn add(&mut self, (lane, status): (usize, u8), n: i64) {
        if lane >= self.0.len() {
            self.0.resize(lane + 1, Default::default());
        }
        self.0[lane][usize::from(status)] += n;
    }

    pub(super) fn get(&self, lane: usize, status: Status) -> i64 {
        self.0.get(lane).map_or(0, |counts| counts[status as usize])
    }

    pub(super) fn of_lane(&self, lane: usize) -> [i64; Status::ALL.len()] {
        self.0.get(lane).copied().unwrap_or_default()
    }
}
