//! A real PostgreSQL for the tests of this binary.
//!
//! It is started by the first test that needs it.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use windlass_scratch::{Postgres, unprivileged};
use windlass_store::postgres::Address;

/// The crash of a host is not what these tests are about.
const SETTINGS: [&str; 5] =
    ["listen_addresses=", "fsync=off", "full_page_writes=off", "shared_buffers=64MB", "max_connections=200"];

/// A server that runs until this process ends.
pub(crate) struct Cluster {
    server: Postgres,
    databases: AtomicU32,
}

/// The server of this process.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER
        .get_or_init(|| Cluster { server: Postgres::start(&SETTINGS).unwrap(), databases: AtomicU32::new(0) })
}

impl Cluster {
    /// An empty database of its own.
    pub(crate) fn database(&self) -> Database {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        Database { name }
    }

    /// Runs SQL as the owner of everything, and returns what it says, unaligned.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.server.sql(database, sql).unwrap().trim_end().to_owned()
    }

    /// Where its socket is.
    pub(crate) fn dir(&self) -> &Path {
        self.server.dir()
    }
}

/// PgBouncer in transaction mode before the server; gone when this is dropped.
pub(crate) struct Pooler(Child);

impl Pooler {
    const PORT: u16 = 6432;

    pub(crate) fn start() -> Self {
        let dir = cluster().dir().to_owned();
        let config = dir.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={0} user=windlass\n[pgbouncer]\npool_mode = transaction\nauth_type = any\n\
             listen_addr =\nlisten_port = {1}\nunix_socket_dir = {0}\ndefault_pool_size = 4\n\
             logfile = {0}/pooler.log\n",
            dir.display(),
            Self::PORT
        );
        std::fs::write(&config, text).unwrap();
        let missing = "this test needs PgBouncer: apt-get install --no-install-recommends pgbouncer";
        let mut pooler = unprivileged(Path::new("/usr/sbin/pgbouncer"));
        pooler.arg("-q").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let pooler = Self(pooler.spawn().expect(missing));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !dir.join(format!(".s.PGSQL.{}", Self::PORT)).exists() {
            assert!(Instant::now() < deadline, "{missing}");
            std::thread::sleep(Duration::from_millis(20));
        }
        pooler
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A database, dropped with this.
pub(crate) struct Database {
    name: String,
}

impl Database {
    pub(crate) fn address(&self) -> Address {
        self.url().parse().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        cluster().server.url(&self.name)
    }

    /// Through the pooler.
    pub(crate) fn pooled(&self) -> Address {
        format!(
            "host={} port={} user=windlass dbname={} pooled=true",
            cluster().dir().display(),
            Pooler::PORT,
            self.name
        )
        .parse()
        .unwrap()
    }

    /// Runs SQL in it, and returns what it says.
    pub(crate) fn sql(&self, sql: &str) -> String {
        cluster().sql(&self.name, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            cluster().sql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}
