//! Tasks that attack: each row of the table in `docs/sandbox.md`, through the whole pipeline. Every attack is bounded,
//! so that one that works does not take the machine along.
//!
//! On a host that cannot isolate so far the test says so and does nothing. With `WINDLASS_TEST_REQUIRE_SANDBOX=1` in
//! the environment it fails instead: for hosts that can.

mod files;
mod images;
mod kernel;
mod network;
mod packages;
mod processes;
mod pulls;
mod resources;
mod survival;
mod unprivileged;
mod warm;

use std::io::Write as _;

use windlass_model::isolation::{Isolation, Level};
use windlass_model::runner::{Held, Report, RevisionSpec};
use windlass_runner::RunnerConfig;

use crate::support::{World, command, zip};

/// A world to attack; `None`, and said, where this host does not isolate as far as `level`.
async fn target(level: Level) -> Option<Target> {
    target_with(level, |_| {}).await
}

async fn target_with(level: Level, change: impl FnOnce(&mut RunnerConfig)) -> Option<Target> {
    let world =
        World::sandboxed(change).map_err(|why| skip(&format!("the runner does not start: {why}"))).ok()?;
    let isolation = world
        .server
        .until("a registration", |state| state.registered.first().map(|about| about.isolation.clone()))
        .await;
    if isolation.at_least() < level {
        skip(&format!("needs `{level}`, and this host has {isolation:?}"));
        world.stop().await;
        return None;
    }
    Some(Target { world, isolation })
}

/// Says past the capture of output, which is shown for failures only, that nothing was tested.
pub(crate) fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let is_required = std::env::var_os("WINDLASS_TEST_REQUIRE_SANDBOX").is_some_and(|value| value != "0");
    assert!(!is_required, "{name} cannot be tested here: {why}");
    let _ = writeln!(std::io::stderr(), "\n*** NOT TESTED: {name}: {why} ***\n");
}

/// Whom the tasks attack.
struct Target {
    world: World,
    isolation: Isolation,
}

impl Target {
    /// Whether this host has `what`; said where it has not.
    fn has(&self, what: &str) -> bool {
        let missing = self.isolation.missing.iter().find(|missing| missing.starts_with(what));
        missing.map(|missing| skip(&format!("this host lacks {missing}"))).is_none()
    }

    /// A revision that runs `script` with the system's Python.
    fn python(&self, script: &str) -> RevisionSpec {
        self.revision(&[("attack.py", script.as_bytes(), 0o644)], "/usr/bin/python3 attack.py")
    }

    /// A revision that runs `script` with `sh`.
    fn sh(&self, script: &str) -> RevisionSpec {
        self.revision(&[("attack.sh", script.as_bytes(), 0o644)], "sh attack.sh")
    }

    fn revision(&self, files: &[(&str, &[u8], u32)], line: &str) -> RevisionSpec {
        let server = &self.world.server;
        let mut revision = server.revision(Some(server.package(zip(files))), command(line));
        // A machine that fails a test must stay usable.
        revision.limits.memory_bytes = 256 << 20;
        revision.limits.disk_bytes = 64 << 20;
        revision.limits.processes = 64;
        revision
    }

    fn queue(&self, revision: &RevisionSpec) -> Held {
        self.world.server.queue(revision, |task| task.timeout_s = 30)
    }

    /// Runs it to its end: the report, and what it wrote.
    async fn run(&self, revision: &RevisionSpec) -> (Report, String) {
        self.end_of(self.queue(revision)).await
    }

    async fn end_of(&self, held: Held) -> (Report, String) {
        let report = self.world.server.report(held).await;
        (report, self.world.log(held))
    }

    /// Waits until the attempt has written something.
    async fn has_begun(&self, held: Held) {
        self.world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    }

    /// Processes of this world's tasks that are alive.
    fn processes(&self) -> Vec<String> {
        self.world.processes()
    }

    /// Afterwards the slots work as before, and nothing is left.
    async fn ends_unharmed(self) {
        for held in [self.queue(&self.sh("echo fine")), self.queue(&self.sh("echo fine"))] {
            let (report, log) = self.end_of(held).await;
            assert_eq!((report.exit, log.as_str()), (windlass_model::exit::Exit::Code(0), "fine\n"));
        }
        assert_eq!(self.processes(), [""; 0]);
        self.world.stop().await;
    }
}
