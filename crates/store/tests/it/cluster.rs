//! A real PostgreSQL for the tests of this binary, on a socket in a temporary folder.
//!
//! It is started by the first test that needs it. A child of ours waits on a pipe for our end, whatever that is, and
//! then stops it: nothing is left behind by tests that panic or are killed.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use windlass_store::postgres::Address;

const MISSING: &str =
    "these tests need PostgreSQL 15 or later: apt-get install --no-install-recommends postgresql";

/// A server that runs until this process ends.
pub(crate) struct Cluster {
    dir: PathBuf,
    bin: PathBuf,
    /// The server, and what stops it when its pipe ends.
    _processes: [Child; 2],
    databases: AtomicU32,
}

/// The server of this process.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// The folder of the newest server binaries that are installed.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bins = versions.filter_map(|dir| {
        let version: u32 = dir.file_name().to_str()?.parse().ok()?;
        let bin = dir.path().join("bin");
        (version >= 15 && bin.join("initdb").exists()).then_some((version, bin))
    });
    bins.max().expect(MISSING).1
}

/// `program` as a user that the server accepts: it refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

impl Cluster {
    fn start() -> Self {
        let bin = binaries();
        // Short, as the path of a socket may have 107 bytes.
        let dir = tempfile::Builder::new().prefix("wlpg").tempdir_in("/tmp").unwrap().keep();
        let owner = unprivileged(Path::new("id")).arg("-u").output().unwrap();
        let owner = String::from_utf8(owner.stdout).unwrap();
        run(Command::new("chown").arg(owner.trim()).arg(&dir));
        let data = dir.join("data");
        let mut initdb = unprivileged(&bin.join("initdb"));
        initdb.args(["--no-sync", "--auth=trust", "--username=windlass", "--encoding=UTF8", "--locale=C"]);
        run(initdb.arg("--pgdata").arg(&data));
        let log = OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
        let mut server = unprivileged(&bin.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(&dir).args(["-c", "listen_addresses="]);
        // The crash of a host is not what these tests are about.
        for setting in ["fsync=off", "full_page_writes=off", "shared_buffers=64MB", "max_connections=200"] {
            server.args(["-c", setting]);
        }
        let server =
            server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        // Reads until the pipe ends, which it does with us; then it stops the server at once.
        let script = "cat >/dev/null; kill -INT $1 2>/dev/null; \
                      for i in $(seq 100); do kill -0 $1 2>/dev/null || break; sleep 0.05; done; \
                      kill -KILL $1 2>/dev/null; rm -rf \"$2\"";
        let mut watch = Command::new("setsid");
        watch.args(["sh", "-c", script, "watch"]).arg(server.id().to_string()).arg(&dir);
        let watch = watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let cluster = Self { dir, bin, _processes: [server, watch], databases: AtomicU32::new(0) };
        cluster.wait();
        cluster
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let ready = Command::new(self.bin.join("pg_isready")).arg("-q").arg("-h").arg(&self.dir).status();
            if ready.unwrap().success() {
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the server said.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        let _ = std::fs::File::open(self.dir.join("log")).and_then(|mut log| log.read_to_string(&mut text));
        text
    }

    /// An empty database of its own.
    pub(crate) fn database(&self) -> Database {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        Database { name }
    }

    /// Runs SQL as the owner of everything, and returns what it says, unaligned.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "windlass", "-d", database]);
        run(psql.arg("-h").arg(&self.dir).arg("-c").arg(sql))
    }

    /// Where its socket is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
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

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
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
        format!("host={} user=windlass dbname={}", cluster().dir().display(), self.name)
    }

    /// Through the pooler.
    pub(crate) fn pooled(&self) -> Address {
        format!("{} port={} pooled=true", self.url(), Pooler::PORT).parse().unwrap()
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
