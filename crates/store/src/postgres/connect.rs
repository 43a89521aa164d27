//! Where the database is, and the connections to it.

use std::str::FromStr;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls};

use super::fault::Stop;
use super::tx::Tx;
use crate::error::StoreError;

/// Longest time that a connection may take to be made or to become free.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that read; more readers wait.
const READERS: usize = 6;
/// Connections that write and are synced.
const WRITERS: usize = 8;
/// Connections whose writes need not survive a power failure.
const RELAXED: usize = 4;

/// What is between us and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing.
    Direct,
    /// A pooler that gives us another connection for each transaction: nothing lasts longer than one.
    Pooled,
}

/// Where the database is, as a URL (`postgres://user:password@host:port/database`) or as `key=value` pairs.
///
/// With `pooled=true` in it, it works behind a pooler in transaction mode, such as PgBouncer: no prepared statements and
/// no settings that last longer than a transaction.
#[derive(Clone, Debug)]
pub struct Address {
    config: Config,
    mode: Mode,
    shown: String,
}

impl FromStr for Address {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let (rest, is_pooled) = without_pooled(text);
        let mut config = Config::from_str(&rest).map_err(|error| {
            StoreError::Unavailable(format!(
                "the address of the database cannot be read: {}; it is like postgres://user:password@host:5432/database",
                super::fault::in_full(&error)
            ))
        })?;
        if config.get_application_name().is_none() {
            config.application_name("windlass");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        let hosts: Vec<String> = config
            .get_hosts()
            .iter()
            .map(|host| match host {
                tokio_postgres::config::Host::Tcp(name) => name.clone(),
                tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let shown =
            format!("{} on {}", config.get_dbname().unwrap_or("the default database"), hosts.join(", "));
        Ok(Self { config, mode: if is_pooled { Mode::Pooled } else { Mode::Direct }, shown })
    }
}

impl std::fmt::Display for Address {
    /// Without user and password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Takes our own parameter out of the text.
fn without_pooled(text: &str) -> (String, bool) {
    for (with, rest) in
        [("?pooled=true&", "?"), ("?pooled=true", ""), ("&pooled=true", ""), (" pooled=true", "")]
    {
        if let Some(at) = text.find(with) {
            return (format!("{}{rest}{}", &text[..at], &text[at + with.len()..]), true);
        }
    }
    (text.to_owned(), false)
}

/// What every connection is set to. Nothing of ours is worth compiling or a second process; plans are for keys, and
/// must not change because the statistics of a table that is mostly dead are old. A transaction of ours that waits for
/// its client is one whose client is gone.
const COMMON: &str = "-c jit=off -c max_parallel_workers_per_gather=0 -c enable_hashjoin=off -c enable_mergejoin=off \
     -c enable_seqscan=off -c enable_bitmapscan=off -c idle_in_transaction_session_timeout=10s -c client_min_messages=warning";

/// The same where settings last for a transaction only.
macro_rules! begin {
    ($begin:literal, $($more:expr),*) => {
        concat!(
            $begin,
            "; SET LOCAL jit=off; SET LOCAL max_parallel_workers_per_gather=0; SET LOCAL enable_hashjoin=off; \
             SET LOCAL enable_mergejoin=off; SET LOCAL enable_seqscan=off; SET LOCAL enable_bitmapscan=off; \
             SET LOCAL idle_in_transaction_session_timeout='10s'",
            $($more),*
        )
    };
}

/// The key of the gate: see [`super::ops::codes`].
pub(super) const GATE: i64 = 1_734_440_037;

/// Goes through the gate with everybody else.
macro_rules! gate {
    () => {
        "; SELECT pg_advisory_xact_lock_shared(1734440037)"
    };
}

/// The connections of one process.
#[derive(Debug)]
pub(super) struct Connections {
    readers: Pool,
    writers: Pool,
    relaxed: Pool,
    pub(super) mode: Mode,
}

impl Connections {
    pub(super) fn new(address: &Address) -> Result<Self, StoreError> {
        let pool = |more: &str, most: usize| {
            let mut config = address.config.clone();
            if address.mode == Mode::Direct {
                let own = address.config.get_options().unwrap_or_default();
                config.options(format!("{COMMON} {more} {own}"));
            }
            let how = ManagerConfig { recycling_method: RecyclingMethod::Fast };
            let pool = Pool::builder(Manager::from_config(config, NoTls, how)).max_size(most);
            let pool =
                pool.runtime(Runtime::Tokio1).wait_timeout(Some(PATIENCE)).create_timeout(Some(PATIENCE));
            pool.build().map_err(|e| StoreError::Unavailable(e.to_string()))
        };
        // A read of ours takes milliseconds; one that does not keeps dead rows from being removed.
        let readers = "-c plan_cache_mode=force_custom_plan -c statement_timeout=30s -c default_transaction_read_only=on";
        let writers = "-c plan_cache_mode=force_generic_plan -c synchronous_commit=on";
        let relaxed = "-c plan_cache_mode=force_generic_plan -c synchronous_commit=off";
        Ok(Self {
            readers: pool(readers, READERS)?,
            writers: pool(writers, WRITERS)?,
            relaxed: pool(relaxed, RELAXED)?,
            mode: address.mode,
        })
    }

    /// A transaction that writes and is on the disk after its commit.
    pub(super) async fn write(&self) -> Result<Tx, Stop> {
        self.write_through(false).await
    }

    /// The same, through the gate.
    pub(super) async fn write_through(&self, is_gated: bool) -> Result<Tx, Stop> {
        let begin = match (self.mode, is_gated) {
            (Mode::Direct, false) => "BEGIN",
            (Mode::Direct, true) => concat!("BEGIN", gate!()),
            (Mode::Pooled, false) => begin!("BEGIN", ""),
            (Mode::Pooled, true) => begin!("BEGIN", gate!()),
        };
        Ok(Tx::new(self.writers.get().await?, self.mode, begin))
    }

    /// A transaction whose commit survives the death of processes, not that of the host.
    pub(super) async fn write_relaxed(&self, is_gated: bool) -> Result<Tx, Stop> {
        let begin = match (self.mode, is_gated) {
            (Mode::Direct, false) => "BEGIN",
            (Mode::Direct, true) => concat!("BEGIN", gate!()),
            (Mode::Pooled, false) => begin!("BEGIN", "; SET LOCAL synchronous_commit=off"),
            (Mode::Pooled, true) => begin!("BEGIN", "; SET LOCAL synchronous_commit=off", gate!()),
        };
        Ok(Tx::new(self.relaxed.get().await?, self.mode, begin))
    }

    /// One snapshot for several reads.
    pub(super) async fn snapshot(&self) -> Result<Tx, Stop> {
        let begin = match self.mode {
            Mode::Direct => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Mode::Pooled => begin!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ""),
        };
        Ok(Tx::new(self.readers.get().await?, self.mode, begin))
    }

    /// A connection for one read.
    pub(super) async fn reader(&self) -> Result<Object, Stop> {
        Ok(self.readers.get().await?)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.readers.is_closed()
    }

    pub(super) fn close(&self) {
        self.readers.close();
        self.writers.close();
        self.relaxed.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_parameter_is_taken_out() {
        let cases = [
            ("postgres://h/d?pooled=true", "postgres://h/d"),
            ("postgres://h/d?pooled=true&user=x", "postgres://h/d?user=x"),
            ("postgres://h/d?user=x&pooled=true", "postgres://h/d?user=x"),
            ("host=h pooled=true dbname=d", "host=h dbname=d"),
        ];
        for (text, rest) in cases {
            assert_eq!(without_pooled(text), (rest.to_owned(), true), "{text}");
        }
        assert!(!without_pooled("host=h").1);
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address: Address = "postgres://user:secret@db.example:5432/windlass".parse().unwrap();
        assert_eq!(address.to_string(), "windlass on db.example");
    }
}
