//! Opening connections, and bringing the schema up to date.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::Options;
use super::fault::store_error;
use super::partition;
use crate::error::StoreError;

/// Each is applied once, in order; `user_version` counts those that are. One that names `{day}` is applied to every
/// partition that is there; those that are made later have it from the start. Never changed once released.
const MIGRATIONS: [&str; 8] = [
    include_str!("migrations/0001_tables.sql"),
    include_str!("migrations/0002_trace.sql"),
    include_str!("migrations/0003_usage.sql"),
    include_str!("migrations/0004_usage_so_far.sql"),
    include_str!("migrations/0005_asked.sql"),
    include_str!("migrations/0006_rollup.sql"),
    include_str!("migrations/0007_parent.sql"),
    include_str!("migrations/0008_cluster.sql"),
];

const PAGE_BYTES: u64 = 8192;

/// The database file in the data directory.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("windlass.db")
}

/// The one connection that writes, with the newest schema.
pub(super) fn open_writer(dir: &Path, options: &Options) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    private(dir)?;
    let open = || -> rusqlite::Result<Connection> {
        let conn = Connection::open_with_flags(path(dir), flags)?;
        configure(&conn, 512)?;
        // 32 MiB of log before pages are copied back; more only where a reader stays open.
        conn.execute_batch(&format!(
            "PRAGMA page_size={PAGE_BYTES}; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000; \
             PRAGMA cache_size=-{}; PRAGMA temp_store=MEMORY; PRAGMA busy_timeout=5000; \
             PRAGMA journal_size_limit=67108864;",
            options.cache_kib
        ))?;
        if let Some(bytes) = options.max_size_bytes {
            let pages = i64::try_from(bytes / PAGE_BYTES).unwrap_or(i64::MAX);
            conn.query_row(&format!("PRAGMA max_page_count={pages}"), [], |_| Ok(()))?;
        }
        Ok(conn)
    };
    let conn = open().map_err(|e| store_error(&e))?;
    migrate(&conn, dir)?;
    Ok(conn)
}

/// A connection that reads.
pub(super) fn open_reader(dir: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path(dir), flags)?;
    configure(&conn, 256)?;
    conn.execute_batch("PRAGMA cache_size=-2048; PRAGMA temp_store=MEMORY; PRAGMA busy_timeout=5000;")?;
    Ok(conn)
}

/// Makes the database file for its owner only, as secrets are in it; the files beside it follow.
fn private(dir: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    let made = options.append(true).create(true).mode(0o600).open(path(dir));
    made.map(drop).map_err(|e| StoreError::Unusable { path: dir.to_owned(), reason: e.to_string() })
}

/// Bytes of the log beside the database.
pub(super) fn log_bytes(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("windlass.db-wal")).map_or(0, |meta| meta.len())
}

fn configure(conn: &Connection, statements: usize) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(statements);
    // Without it the planner looks at bound values, and prepares joins anew each time they change: measured at a third
    // of the cost of a claim.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(conn: &Connection, dir: &Path) -> Result<(), StoreError> {
    let version = |conn: &Connection| conn.query_row("PRAGMA user_version", [], |r| r.get::<_, usize>(0));
    let at = version(conn).map_err(|e| store_error(&e))?;
    if at > MIGRATIONS.len() {
        return Err(StoreError::Unusable {
            path: dir.to_owned(),
            reason: format!(
                "its database has schema {at}, this version of windlass knows {}: use a newer one",
                MIGRATIONS.len()
            ),
        });
    }
    for (n, migration) in MIGRATIONS.iter().enumerate().skip(at) {
        let days = partition::load(conn).map_err(|e| store_error(&e))?;
        let migration = match migration.contains("{day}") {
            true => days.keys().map(|day| migration.replace("{day}", &day.0.to_string())).collect(),
            false => (*migration).to_owned(),
        };
        let sql = format!("BEGIN IMMEDIATE; {migration}; PRAGMA user_version={}; COMMIT;", n + 1);
        conn.execute_batch(&sql).map_err(|e| store_error(&e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database of the first version, with one task that took two attempts.
    const OLD: &str = "
        INSERT INTO lane(id, code, cluster) VALUES (0, 3, 'default');
        INSERT INTO ended(code, minute, status, n) VALUES (3, 9, 3, 1), (3, 9, 4, 2), (3, 10, 6, 1);
        CREATE TABLE task_d7(seq INTEGER PRIMARY KEY, lane INT, schedule BLOB, parent BLOB, payload BLOB);
        CREATE TABLE done_d7(seq INTEGER PRIMARY KEY, lane INT, ended INT, outcome, wall INT, user INT, system INT,
          peak INT);
        CREATE TABLE attempt_d7(seq INT, n INT, ended INT, outcome, wall INT, user INT, system INT, peak INT);
        INSERT INTO task_d7(seq, lane, schedule) VALUES (1, 0, x'0102'), (2, 0, NULL);
        INSERT INTO attempt_d7 VALUES (1, 1, 8 * 86400000, 1, NULL, NULL, NULL, NULL);
        INSERT INTO done_d7 VALUES (1, 0, 8 * 86400000 + 5, 0, 10, 1000, 2000, 77),
          (2, 0, 8 * 86400000 + 6, NULL, NULL, NULL, NULL, NULL);
        PRAGMA user_version=1";

    #[test]
    fn what_is_there_is_migrated_with_its_partitions() {
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(path(dir.path())).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch(OLD).unwrap();
        drop(old);
        let new = open_writer(dir.path(), &Options::default()).unwrap();
        let rows = |sql: &str| {
            let mut rows = new.prepare(sql).unwrap();
            let columns = rows.column_count();
            let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get::<_, i64>(at)).collect();
            rows.query_map([], row).unwrap().collect::<rusqlite::Result<Vec<Vec<i64>>>>().unwrap()
        };
        assert_eq!(rows("SELECT count(trace) FROM task_d7"), [[0]]);
        assert_eq!(
            rows("SELECT code, day, attempts, wall_ms, cpu_us, peak FROM usage_day"),
            [[3, 8, 2, 10, 3000, 77]]
        );
        assert_eq!(
            rows("SELECT code, day, attempts FROM usage_schedule WHERE schedule = x'0102'"),
            [[3, 8, 2]]
        );
        assert_eq!(
            rows("SELECT grain, step, complete, error, timeout, cancelled, killed FROM rollup"),
            [[1, 9, 1, 2, 0, 0, 0], [1, 10, 0, 0, 0, 1, 0], [15, 0, 1, 2, 0, 1, 0]]
        );
        assert_eq!(rows("PRAGMA user_version"), [[MIGRATIONS.len() as i64]]);
    }
}
