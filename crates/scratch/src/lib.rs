//! A PostgreSQL for tests and benchmarks: from the programs that are installed, in a folder of its own, and gone with
//! whoever started it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// Longest time until a server answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// The port that its socket is named after, unless it is to have another.
const PORT: u16 = 5432;

/// A server with one owner, `windlass`, who needs no password, and the database `postgres`. It is killed and its folder
/// removed when this is dropped; and if this is never dropped, when the process ends that started it, however it does.
#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    bin: PathBuf,
    port: u16,
    settings: Vec<String>,
    server: Child,
    watch: Child,
}

impl Postgres {
    /// Starts one with these settings, `name=value`, on a socket in its folder.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, in words that say how to have it; or with what it says itself.
    pub fn start(settings: &[&str]) -> io::Result<Self> {
        Self::start_on(PORT, settings)
    }

    /// The same, for a port, which it listens on if a setting has it listen to an address.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_on(port: u16, settings: &[&str]) -> io::Result<Self> {
        let bin = programs()?;
        // Short, as the path of a socket may have 107 bytes.
        let dir = tempfile::Builder::new().prefix("wlpg").tempdir_in("/tmp")?;
        if geteuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()))?;
        }
        let mut initdb = unprivileged(&bin.join("initdb"));
        initdb.args(["--auth=trust", "--username=windlass", "--encoding=UTF8", "--locale=C"]);
        if settings.contains(&"fsync=off") {
            initdb.arg("--no-sync");
        }
        run(initdb.arg("--pgdata").arg(dir.path().join("data")))?;
        let watch = watch(dir.path())?;
        // From here on it is the watch that removes it.
        let dir = dir.keep();
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let server = launch(&bin, &dir, port, &settings)?;
        let mut postgres = Self { dir, bin, port, settings, server, watch };
        postgres.wait()?;
        Ok(postgres)
    }

    /// Stops it as a crash does, after which it has to recover when it starts again.
    ///
    /// # Errors
    /// If it does not run.
    pub fn crash(&mut self) -> io::Result<()> {
        kill(pid(&self.server), Signal::SIGQUIT)?;
        self.server.wait().map(drop)
    }

    /// Starts it again after a crash.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_again(&mut self) -> io::Result<()> {
        self.server = launch(&self.bin, &self.dir, self.port, &self.settings)?;
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut ready = Command::new(self.bin.join("pg_isready"));
            ready.arg("-q").arg("-h").arg(&self.dir).arg("-p").arg(self.port.to_string());
            if ready.status()?.success() {
                return Ok(());
            }
            if self.server.try_wait()?.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("PostgreSQL did not start: {log}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its folder, in which its socket is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join(format!(".s.PGSQL.{}", self.port))
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// Where one of its databases is, on its socket.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("host={} port={} user=windlass dbname={database}", self.dir.display(), self.port)
    }

    /// Runs SQL in the database at `url` and returns what it says, unaligned.
    ///
    /// # Errors
    /// With what the server says.
    pub fn sql(&self, database: &str, sql: &str) -> io::Result<String> {
        run(psql(&self.bin, &self.url(database)).arg("-c").arg(sql))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // As for errors: there is nobody to tell.
        if let Ok(None) = self.server.try_wait() {
            let _ = kill(pid(&self.server), Signal::SIGQUIT);
            let _ = self.server.wait();
        }
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// The folder of the newest programs of PostgreSQL that are installed.
///
/// # Errors
/// If there are none of version 15 or later, in words that say how to have them.
pub fn programs() -> io::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bins = versions.filter_map(|dir| {
        let version: u32 = dir.file_name().to_str()?.parse().ok()?;
        let bin = dir.path().join("bin");
        (version >= 15 && bin.join("initdb").exists()).then_some((version, bin))
    });
    let missing = "this needs PostgreSQL 15 or later: apt-get install --no-install-recommends postgresql";
    bins.max().map(|(_, bin)| bin).ok_or_else(|| io::Error::other(missing))
}

/// `program` as a user that PostgreSQL accepts, as it refuses to run as root.
#[must_use]
pub fn unprivileged(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// `psql` of the programs in `bin`, in the database at `url`, for use by programs.
#[must_use]
pub fn psql(bin: &Path, url: &str) -> Command {
    let mut psql = Command::new(bin.join("psql"));
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]);
    psql
}

/// Runs it to its end and returns what it says.
///
/// # Errors
/// With what it says of why it failed.
pub fn run(command: &mut Command) -> io::Result<String> {
    let program = command.get_program().display().to_string();
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| io::Error::new(e.kind(), format!("cannot start {program}: {e}")))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        return Err(io::Error::other(format!("{program} failed: {}", said.trim())));
    }
    String::from_utf8(stdout).map_err(io::Error::other)
}

/// A process that reads until its pipe ends, which it does with us; then it stops whatever server there is in `dir`, and
/// removes that.
fn watch(dir: &Path) -> io::Result<Child> {
    let script = "cat >/dev/null; server=$(head -n 1 \"$1/data/postmaster.pid\") && kill -QUIT $server && \
                  for i in $(seq 100); do kill -0 $server || break; sleep 0.05; done; rm -rf \"$1\"";
    let mut watch = Command::new("setsid");
    watch.args(["sh", "-c", script, "watch"]).arg(dir);
    watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn launch(bin: &Path, dir: &Path, port: u16, settings: &[String]) -> io::Result<Child> {
    let log: File = OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    let mut server = unprivileged(&bin.join("postgres"));
    server.arg("-D").arg(dir.join("data")).arg("-k").arg(dir).arg("-p").arg(port.to_string());
    for setting in settings {
        server.args(["-c", setting]);
    }
    server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("the kernel's numbers of processes fit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [&str; 2] = ["listen_addresses=", "fsync=off"];

    #[test]
    fn one_that_crashed_starts_again_and_nothing_is_left_of_one_that_is_dropped() {
        let mut postgres = Postgres::start(&SETTINGS).unwrap();
        postgres.sql("postgres", "CREATE TABLE kept(n int)").unwrap();
        postgres.crash().unwrap();
        assert!(postgres.sql("postgres", "SELECT 1").is_err());
        postgres.start_again().unwrap();
        assert_eq!(postgres.sql("postgres", "SELECT count(*) FROM kept").unwrap(), "0\n");
        let (dir, id) = (postgres.dir().to_owned(), postgres.id());
        drop(postgres);
        assert!(!dir.exists() && !Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn one_that_cannot_start_says_why() {
        let error = Postgres::start(&["listen_addresses=", "fsync=perhaps"]).unwrap_err().to_string();
        assert!(error.contains("parameter \"fsync\""), "{error}");
    }
}
