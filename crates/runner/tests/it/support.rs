//! A runner at work for a server, and packages for it.

use std::io::{Cursor, Write as _};

use windlass_model::code::Launch;
use windlass_model::log::text;
use windlass_model::runner::{Held, RevisionSpec};
use windlass_runner::{Runner, RunnerConfig, SpawnerCommand};
use zip::write::SimpleFileOptions;

use crate::server::Server;

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

    pub(crate) fn with(change: impl FnOnce(&mut RunnerConfig)) -> Self {
        let work_dir = tempfile::tempdir().unwrap();
        let server = Server::start();
        let mut config = config(work_dir.path());
        change(&mut config);
        let runner = Runner::start(config, server.client()).unwrap();
        Self { server, runner, work_dir }
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
        processes_marked(&format!("TASK_DIR={}/", self.work_dir.path().canonicalize().unwrap().display()))
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
    config
}

pub(crate) fn spawner() -> SpawnerCommand {
    SpawnerCommand { program: env!("CARGO_BIN_EXE_windlass-spawner").into(), args: Vec::new() }
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

/// Processes with an entry in their environment that begins with `mark`: path in `/proc` and command line.
pub(crate) fn processes_marked(mark: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter(|path| {
            let environment = std::fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|&b| b == 0).any(|entry| entry.starts_with(mark.as_bytes()))
        })
        .map(|path| {
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            format!("{}: {}", path.display(), String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}
