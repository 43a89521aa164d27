//! Bringing the schema up to date, and knowing whether this binary fits the one that is there.
//!
//! Migrations are numbered and only go forward. A line `-- compatible: N` in each says the oldest schema whose binaries
//! still work with what it leaves, so that two neighbouring versions run side by side while servers are replaced.

use super::connect::Connections;
use super::fault::Stop;
use super::param::params;
use crate::error::StoreError;

/// Each is applied once, in order. Never changed once released.
const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/0001_tables.sql"),
    include_str!("migrations/0002_moved.sql"),
    include_str!("migrations/0003_cluster.sql"),
    include_str!("migrations/0004_leader.sql"),
];

/// Held while the schema changes: one migrates, everybody else waits for it.
pub(super) const SCHEMA_LOCK: i64 = 0x7769_6e64;

/// How a database stands to this binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The schema that is there; 0: none.
    pub schema: u32,
    /// The schema that this binary brings.
    pub known: u32,
    /// The oldest schema whose binaries work with what is there.
    pub compatible: u32,
}

impl Standing {
    /// Migrations that are still to be applied.
    pub fn missing(&self) -> u32 {
        self.known.saturating_sub(self.schema)
    }

    /// Whether this binary can work with what is there, once what is missing was applied.
    pub fn fits(&self) -> bool {
        self.compatible <= self.known
    }
}

fn compatible(migration: &str) -> u32 {
    let line = migration.lines().find_map(|line| line.strip_prefix("-- compatible: "));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(u32::MAX)
}

/// How the database stands, without changing it.
pub(super) async fn standing(connections: &Connections) -> Result<Standing, Stop> {
    let mut tx = connections.snapshot().await?;
    let there = tx.query_opt("SELECT to_regclass('schema_version') IS NOT NULL", params![]).await?;
    let is_there = there.is_some_and(|row| row.get(0));
    let row = match is_there {
        true => tx.query_opt("SELECT version, compatible FROM schema_version", params![]).await?,
        false => None,
    };
    tx.roll_back().await;
    let known = MIGRATIONS.len() as u32;
    let (schema, compatible) =
        row.map_or((0, 0), |row| (row.get::<_, i32>(0) as u32, row.get::<_, i32>(1) as u32));
    Ok(Standing { schema, known, compatible })
}

/// Applies what is missing, each migration in a transaction of its own, and refuses a schema that is too new.
pub(super) async fn migrate(connections: &Connections) -> Result<(), Stop> {
    let standing = standing(connections).await?;
    if standing.missing() > 0 {
        for (n, migration) in (1..).zip(MIGRATIONS) {
            apply(connections, n, migration).await?;
        }
    }
    check(&standing)
}

async fn apply(connections: &Connections, n: i32, migration: &str) -> Result<(), Stop> {
    let mut tx = connections.write().await?;
    tx.batch(&format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")).await?;
    tx.batch("CREATE TABLE IF NOT EXISTS schema_version(version int4 NOT NULL, compatible int4 NOT NULL)")
        .await?;
    let at = tx.query_opt("SELECT version FROM schema_version", params![]).await?.map_or(0, |row| row.get(0));
    if n <= at {
        tx.roll_back().await;
        return Ok(());
    }
    tx.batch(migration).await?;
    tx.batch("DELETE FROM schema_version").await?;
    let compatible = compatible(migration) as i32;
    tx.query("INSERT INTO schema_version(version, compatible) VALUES ($1, $2)", params![n, compatible])
        .await?;
    tx.commit().await
}

fn check(standing: &Standing) -> Result<(), Stop> {
    if standing.fits() {
        return Ok(());
    }
    Err(Stop::Refused(StoreError::Unavailable(format!(
        "the database has schema {}, which works with windlass of schema {} and later; this one knows {}: use a newer one",
        standing.schema, standing.compatible, standing.known
    ))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_says_what_it_is_compatible_with() {
        for (n, migration) in (1..).zip(MIGRATIONS) {
            assert!((1..=n).contains(&compatible(migration)), "migration {n}");
        }
    }

    #[test]
    fn a_newer_schema_is_used_if_it_says_so() {
        assert!(Standing { schema: 3, known: 2, compatible: 2 }.fits());
        assert!(!Standing { schema: 3, known: 2, compatible: 3 }.fits());
        assert_eq!(Standing { schema: 3, known: 2, compatible: 2 }.missing(), 0);
    }
}
