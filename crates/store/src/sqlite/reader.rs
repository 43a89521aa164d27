//! Connections that read: as many as are in use at once, a few kept for the next.

use std::path::PathBuf;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::schema;

/// Connections that are kept when nobody uses them.
const KEPT: usize = 4;

/// Readers of one database.
#[derive(Debug)]
pub(super) struct Readers {
    dir: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, idle: Mutex::default() }
    }

    /// What `read` makes of one snapshot of the database.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.idle.lock().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => schema::open_reader(&self.dir)?,
        };
        conn.prepare_cached("BEGIN")?.execute([])?;
        let answer = read(&conn);
        conn.prepare_cached("COMMIT")?.execute([])?;
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push(conn);
        }
        answer
    }

    /// Lets the connections go.
    pub(super) fn close(&self) {
        self.idle.lock().clear();
    }
}
