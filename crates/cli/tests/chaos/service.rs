//! The service under test: a database, servers, runners, and the ways between them, each of which can be cut.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use windlass_client::Client;
use windlass_client::failover::Failover;
use windlass_client::transport::Http;
use windlass_scratch::Postgres;

use crate::database;
use crate::process::{BINARY, How, Process, clean};
use crate::proxy::Proxy;

pub(crate) const SERVERS: usize = 3;
pub(crate) const RUNNERS: usize = 3;
/// How long a runner may be silent: short, so that many leases end in a run.
const LEASE: [&str; 4] = ["--set", "lease.ttl=6s", "--set", "lease.heartbeat=2s"];
/// Starting what cannot start now is tried so often.
const STARTS: usize = 100;

/// A server, or a runner.
pub(crate) struct Node {
    how: How,
    process: Option<Process>,
}

/// All of it.
pub(crate) struct Service {
    pub(crate) database: Postgres,
    pub(crate) servers: Vec<Node>,
    pub(crate) runners: Vec<Node>,
    /// From a server to the database.
    pub(crate) to_database: Vec<Proxy>,
    /// From a runner to a server: by runner, then by server.
    pub(crate) to_servers: Vec<Vec<Proxy>>,
    /// From everybody else to a server.
    entries: Vec<Proxy>,
    home: TempDir,
}

impl Node {
    fn new(home: PathBuf, arguments: Vec<String>, variables: Vec<(&'static str, String)>) -> Self {
        std::fs::create_dir_all(&home).unwrap();
        Self { how: How { home, arguments, variables, small: None }, process: None }
    }

    /// Starts it if it is not there; tries again for a while if it ends at once. Returns its first line.
    fn start(&mut self) -> String {
        for _ in 0..STARTS {
            if let Some((process, line)) = Process::start(&self.how) {
                self.process = Some(process);
                return line;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(self.how.home.join("log")).unwrap_or_default();
        panic!("{:?} does not start: {log}", self.how.arguments);
    }

    /// Kills it without a word.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Its folder on a small file system, as we see it.
    pub(crate) fn small(&self) -> Option<PathBuf> {
        let (small, process) = (self.how.small.as_ref()?, self.process.as_ref()?);
        Some(PathBuf::from(format!("/proc/{}/root{}", process.id(), small.display())))
    }
}

impl Service {
    /// A fresh one, ready.
    pub(crate) fn start() -> Self {
        let (database, address) = database::start();
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let to_database: Vec<Proxy> = (0..SERVERS).map(|_| Proxy::to(&address)).collect();
        let key = "5e".repeat(32);
        let servers = to_database.iter().enumerate().map(|(n, way)| {
            let port = way.url.rsplit(':').next().unwrap();
            let store = format!("host=127.0.0.1 port={port} user=windlass dbname=postgres");
            let blobs = at("blobs").display().to_string();
            let mut arguments = text(&["serve", "--listen", "127.0.0.1:0", "--blobs", &blobs]);
            arguments.extend(text(&LEASE));
            let variables = vec![("WINDLASS_STORE", store), ("WINDLASS_SECRET_KEY", key.clone())];
            Node::new(at(&format!("server-{n}")), arguments, variables)
        });
        let mut servers: Vec<Node> = servers.collect();
        let urls: Vec<String> = servers.iter_mut().map(|server| url(&server.start())).collect();
        let ways = || urls.iter().map(|url| Proxy::to(url)).collect::<Vec<_>>();
        let to_servers: Vec<Vec<Proxy>> = (0..RUNNERS).map(|_| ways()).collect();
        let entries = ways();
        let mut service =
            Self { database, servers, runners: Vec::new(), to_database, to_servers, entries, home };
        service.join();
        service
    }

    fn join(&mut self) {
        for n in 0..RUNNERS {
            let token = self.ask(&[
                "token",
                "create",
                "--everywhere",
                "--scope",
                "runner",
                "--name",
                &format!("r{n}"),
            ]);
            // Each begins with another server.
            let ways = &self.to_servers[n];
            let urls: Vec<&str> = (0..SERVERS).map(|s| ways[(n + s) % SERVERS].url.as_str()).collect();
            let home = self.home.path().join(format!("runner-{n}"));
            let work = home.join("work");
            std::fs::create_dir_all(&work).unwrap();
            let mut arguments = text(&["runner", "--slots", "8", "--server", &urls.join(",")]);
            arguments.extend(text(&["--set", &format!("runner.work={}", work.display())]));
            let mut runner = Node::new(home, arguments, vec![("WINDLASS_TOKEN", token)]);
            if n == 0 && nix::unistd::geteuid().is_root() {
                runner.how.small = Some(work);
            }
            runner.start();
            self.runners.push(runner);
        }
    }

    /// Starts the server if it is not there; all ways lead to it.
    pub(crate) fn start_server(&mut self, n: usize) {
        if self.servers[n].process.is_some() {
            return;
        }
        let url = url(&self.servers[n].start());
        for ways in &self.to_servers {
            ways[n].lead_to(&url);
        }
        self.entries[n].lead_to(&url);
    }

    /// Starts the runner if it is not there.
    pub(crate) fn start_runner(&mut self, n: usize) {
        if self.runners[n].process.is_none() {
            self.runners[n].start();
        }
    }

    /// Runs a command beside the first server, which must do well; returns what it printed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(BINARY);
        command.args(arguments);
        let output = clean(command, &self.servers[0].how.home).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Uploads a shell script as a worker.
    pub(crate) fn upload(&self, name: &str, script: &str, flags: &[&str]) {
        let path = self.home.path().join(format!("{name}.sh"));
        std::fs::write(&path, script).unwrap();
        self.ask(&[&["upload", path.to_str().unwrap()], flags].concat());
    }

    /// A client of all servers that begins with server `first`.
    pub(crate) fn client(&self, first: usize) -> Client {
        let known = self.servers[0].how.home.join("windlass-data/iron.json");
        let known: serde_json::Value = serde_json::from_slice(&std::fs::read(known).unwrap()).unwrap();
        let [project, token] = ["project_id", "token"].map(|key| known[key].as_str().unwrap().to_owned());
        let servers =
            (0..SERVERS).map(|n| Http::new(self.entries[(first + n) % SERVERS].url.clone()).unwrap());
        Client::new(Arc::new(Failover::new(servers.collect())), token, project)
    }

    /// Where workers and tests meet.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Ends every server and runner.
    pub(crate) fn end(&mut self) {
        self.runners.iter_mut().chain(&mut self.servers).for_each(Node::kill);
    }

    /// Keeps what all of them said.
    pub(crate) fn keep_logs(&self, folder: &Path) {
        for node in self.servers.iter().chain(&self.runners) {
            let name = node.how.home.file_name().unwrap().to_string_lossy().into_owned();
            let _ = std::fs::copy(node.how.home.join("log"), folder.join(format!("{name}.log")));
        }
    }
}

fn text(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn url(ready: &str) -> String {
    let url = ready.strip_prefix("windlass ready at ").and_then(|rest| rest.split_whitespace().next());
    url.unwrap_or_else(|| panic!("not ready: {ready}")).to_owned()
}
