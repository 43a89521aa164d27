//! The PostgreSQL of a run, on a port of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that is killed with its folder when this is dropped, or the process that runs the tests is gone.
pub(crate) struct Database {
    dir: PathBuf,
    bin: PathBuf,
    port: u16,
    server: Child,
    watch: Child,
}

/// The folder of the newest server binaries that are installed.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bins = versions.filter_map(|dir| {
        let version: u32 = dir.file_name().to_str()?.parse().ok()?;
        let bin = dir.path().join("bin");
        (version >= 15 && bin.join("initdb").exists()).then_some((version, bin))
    });
    let missing = "this needs PostgreSQL 15 or later: apt-get install --no-install-recommends postgresql";
    bins.max().expect(missing).1
}

/// `program` as a user that the server accepts: it refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// A port below those that connections are given, so that nobody takes it while the server is away.
fn free_port() -> u16 {
    let start = 20_000 + u16::try_from(std::process::id() % 10_000).expect("it is below 10,000");
    (start..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

impl Database {
    pub(crate) fn start() -> Self {
        let bin = binaries();
        let dir = tempfile::Builder::new().prefix("wlchaos").tempdir_in("/tmp").unwrap().keep();
        if nix::unistd::geteuid().is_root() {
            assert!(Command::new("chown").arg("postgres").arg(&dir).status().unwrap().success());
        }
        let mut initdb = unprivileged(&bin.join("initdb"));
        initdb.args(["--no-sync", "--auth=trust", "--username=windlass", "--encoding=UTF8", "--locale=C"]);
        let made = initdb.arg("--pgdata").arg(dir.join("data")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Reads until the pipe ends, which it does with us; then it stops whatever server there is.
        let script = "cat >/dev/null; server=$(head -n 1 \"$1/data/postmaster.pid\"); kill -QUIT $server; \
                      for i in $(seq 100); do kill -0 $server || break; sleep 0.05; done; rm -rf \"$1\"";
        let mut watch = Command::new("setsid");
        watch.args(["sh", "-c", script, "watch"]).arg(&dir).stdin(Stdio::piped());
        let watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let port = free_port();
        let server = launch(&bin, &dir, port);
        let database = Self { dir, bin, port, server, watch };
        database.wait();
        database
    }

    /// Stops it as a crash does: it has to recover when it starts again.
    pub(crate) fn crash(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.server.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT).unwrap();
        self.server.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.server = launch(&self.bin, &self.dir, self.port);
        self.wait();
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let mut ready = Command::new(self.bin.join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string());
            if ready.status().unwrap().success() {
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Where it is for whoever reads it past all faults.
    pub(crate) fn url(&self) -> String {
        format!("host=127.0.0.1 port={} user=windlass dbname=postgres", self.port)
    }

    /// The same on a socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join(format!(".s.PGSQL.{}", self.port))
    }

    /// Runs SQL and returns what it says, unaligned; nothing if it cannot.
    pub(crate) fn sql(&self, sql: &str) -> Option<String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "windlass", "-d", "postgres"]);
        psql.arg("-h").arg(&self.dir).arg("-p").arg(self.port.to_string()).arg("-c").arg(sql);
        let output = psql.stdin(Stdio::null()).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }
}

fn launch(bin: &Path, dir: &Path, port: u16) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let mut server = unprivileged(&bin.join("postgres"));
    server.arg("-D").arg(dir.join("data")).arg("-k").arg(dir).arg("-p").arg(port.to_string());
    // The crash of a host is not among the faults.
    let settings = ["listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=64MB", "max_connections=80"];
    for setting in settings {
        server.args(["-c", setting]);
    }
    server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
        let _ = self.server.wait();
    }
}
