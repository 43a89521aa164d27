//! Runs the task that finds out how far tasks are isolated, in the way that every task goes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use windlass_model::limits::Network;
use windlass_model::log::Stream;

use crate::host::{Host, NotStarted};
use crate::package::Package;
use crate::plan::{Plan, Program};
use crate::sandbox::probe::{CANARY, LIMITS, SCRIPT, Seen};
use crate::supervise::{Command, Ended, Output, supervise};

/// Longest time it may run; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the task of the probe saw on `host`.
pub(crate) async fn look(host: &Host) -> io::Result<Seen> {
    let argv = ["sh", "-c", SCRIPT].map(str::to_owned).to_vec();
    let canary = host.canary().to_string_lossy().into_owned();
    let mut plan = Plan {
        program: Program::Host("sh".to_owned()),
        argv,
        words: None,
        env: BTreeMap::from([(CANARY.to_owned(), canary)]),
        files: Vec::new(),
        executable: None,
        timeout: PATIENCE,
    };
    let dir = host.attempt_dir("self-test");
    let ground = host.ground(dir, Arc::new(Package::empty()), &mut plan, (Network::None, LIMITS)).await?;
    let mut child = host.start(&plan, &ground).await.map_err(|failure| match failure {
        NotStarted::NoProgram(why) => io::Error::other(why),
        NotStarted::Spawn(error) => io::Error::other(error),
    })?;
    let mut words = Words::default();
    let (_commands, mut commands) = watch::channel(Command::Run);
    let ended = supervise(&mut child, plan.timeout, Duration::ZERO, &mut commands, &mut words).await;
    host.clear(ground, None);
    match ended {
        Ended::Exited(exit, _) => Ok(Seen { exit, words: words.0 }),
        Ended::Failed(step, errno) => {
            Err(io::Error::other(format!("{step:?}: {}", io::Error::from_raw_os_error(errno))))
        }
        Ended::SpawnerLost | Ended::Stopped(_) => Err(io::Error::other("the spawner died")),
    }
}

#[derive(Default)]
struct Words(String);

impl Output for Words {
    fn write(&mut self, stream: Stream, _: u32, bytes: &[u8]) {
        if stream == Stream::Stdout {
            self.0.push_str(&String::from_utf8_lossy(bytes));
        }
    }

    fn flush_at(&self) -> Option<Instant> {
        None
    }

    fn flush(&mut self) {}
}
