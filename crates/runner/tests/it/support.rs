//! A runner at work for a server, and packages for it.

use std::io::{Cursor, Write as _};
use std::path::PathBuf;

use windlass_model::code::Launch;
use windlass_model::log::text;
use windlass_model::runner::{Held, RevisionSpec};
use windlass_runner::{Policy, Runner, RunnerConfig, SandboxConfig, SpawnerCommand, StartError};
use zip::write::SimpleFileOptions;

use crate::server::{MARK, Server};

/// A server, and a runner that works for it.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) runner: Runner,
    pub(crate) work_dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// A runner that isolates nothing.
    pub(crate) fn bare() -> Self {
        Self::with(|config| config.sandbox.policy = Policy::Off)
    }

    pub(crate) fn with(change: impl FnOnce(&mut RunnerConfig)) -> Self {
        let work_dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let mut config = config(work_dir.path());
        change(&mut config);
        let runner = Runner::start(config, server.client()).unwrap();
        Self { server, runner, work_dir }
    }

    /// The same, with tasks isolated as far as this host can.
    pub(crate) fn sandboxed(change: impl FnOnce(&mut RunnerConfig)) -> Result<Self, StartError> {
        let work_dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let mut config = config(work_dir.path());
        config.sandbox.policy = Policy::Degrade;
        change(&mut config);
        let runner = Runner::start(config, server.client())?;
        Ok(Self { server, runner, work_dir })
    }

    /// A revision that runs `script` with `sh`, old style.
    pub(crate) fn sh(&self, script: &str) -> RevisionSpec {
        let package = self.server.package(zip(&[("worker.sh", script.as_bytes(), 0o644)]));
        self.server.revision(Some(package), runtime("sh", "worker.sh"))
    }

    /// The log of an attempt as text.
    pub(crate) fn log(&self, held: Held) -> String {
        String::from_utf8(self.server.with(|state| text(&state.log(held), None))).unwrap()
    }

    /// Processes of this runner's attempts that are alive.
    pub(crate) fn processes(&self) -> Vec<String> {
        let marked = processes_marked(&format!("{MARK}={}", self.server.mark()));
        marked.into_iter().map(|process| process.to_string()).collect()
    }

    /// The directory of an attempt that runs, as it is reached from here.
    pub(crate) fn task_dir(&self, held: Held) -> PathBuf {
        let folder = self.work_dir.path().join("attempts").join(held.fence.0.to_string());
        if folder.exists() {
            return folder;
        }
        let of_task = |process: &Process| process.has(&format!("TASK_ID={}", held.task));
        let processes = processes_marked(&format!("{MARK}={}", self.server.mark()));
        let process = processes.iter().find(|process| of_task(process)).expect("the attempt runs");
        process.path.join("root/task")
    }

    pub(crate) async fn stop(self) {
        self.runner.shutdown_now();
        self.runner.wait().await;
    }
}

pub(crate) fn config(work_dir: &std::path::Path) -> RunnerConfig {
    let mut config = RunnerConfig::new(work_dir).unwrap();
    config.name = "test".to_owned();
    config.slots = 2;
    config.spawner = spawner();
    config.sandbox = sandbox();
    config
}

/// Whether tests run their tasks in a sandbox.
pub(crate) fn sandbox() -> SandboxConfig {
    let policy = match std::env::var("WINDLASS_TEST_SANDBOX").as_deref() {
        Ok("require") => Policy::Require,
        _ => Policy::Off,
    };
    SandboxConfig { policy, ..SandboxConfig::default() }
}

pub(crate) fn spawner() -> SpawnerCommand {
    // A copy where another user can reach it.
    let copy = std::env::var_os("WINDLASS_TEST_SPAWNER");
    let program = copy.map_or_else(|| env!("CARGO_BIN_EXE_windlass-spawner").into(), Into::into);
    SpawnerCommand { program, args: Vec::new(), env: Vec::new() }
}

pub(crate) fn runtime(runtime: &str, file_name: &str) -> Launch {
    Launch { runtime: runtime.to_owned(), file_name: file_name.to_owned(), ..Launch::default() }
}

pub(crate) fn command(command: &str) -> Launch {
    Launch { command: command.to_owned(), ..Launch::default() }
}

/// A zip of files: name, content, mode.
pub(crate) fn zip(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, mode) in files {
        zip.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A process, as `/proc` has it.
pub(crate) struct Process {
    path: PathBuf,
    environment: Vec<u8>,
}

impl Process {
    fn has(&self, entry: &str) -> bool {
        self.environment.split(|&b| b == 0).any(|own| own == entry.as_bytes())
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = std::fs::read(self.path.join("cmdline")).unwrap_or_default();
        write!(f, "{}: {}", self.path.display(), String::from_utf8_lossy(&line).replace('\0', " "))
    }
}

/// Processes that have `entry` in their environment.
pub(crate) fn processes_marked(entry: &str) -> Vec<Process> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let processes = processes
        .map(|path| Process { environment: std::fs::read(path.join("environ")).unwrap_or_default(), path });
    processes.filter(|process| process.has(entry)).collect()
}
