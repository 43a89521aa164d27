//! What happened, as a list that is kept and can be judged later.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// One thing that happened, or that the database said afterwards. Instants are milliseconds since 1970; a task goes by
/// the first 16 digits of its id, as a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The service is ready, and the producer begins.
    Began { at: i64, seed: u64 },
    /// A schedule was made, whose first instant is `start_at`.
    Scheduled { schedule: String, start_at: i64, every_s: Option<u32> },
    /// Tasks were acknowledged under this key.
    Queued { at: i64, key: String, tasks: Vec<i64> },
    /// Nobody ever answered whether tasks were queued under this key, of which there were to be so many.
    Doubtful { key: String, wanted: usize },
    /// A cancel was acknowledged.
    Cancelled { at: i64, task: i64 },
    /// Something was broken, until it was healed.
    Fault { at: i64, what: String },
    /// The last faults were healed.
    Healed { at: i64 },
    /// Nothing is broken and nothing queued from here on.
    Calm { at: i64 },
    /// A worker began, or ended its work, by its own word.
    Ran { at: i64, task: i64, attempt: u32, is_end: bool },
    /// The database was read.
    Looked { at: i64 },
    /// There is a task.
    Task { task: i64, label: Option<String>, schedule: Option<String>, created: i64 },
    /// It has ended, with an attempt or without.
    Ended { task: i64, status: u8, attempts: u32, started: Option<i64>, ended: i64, fence: Option<i64> },
    /// An attempt that was not its last.
    Attempt { task: i64, n: u32, fence: i64, started: i64, ended: i64 },
    /// It may be claimed from that instant on.
    Waiting { task: i64, run_at: i64 },
    /// A runner holds it, if there is a lease.
    Running { task: i64, fence: i64, lease_until: Option<i64> },
    /// Something is not as it must be: tables do not agree, or a call was refused that was right.
    Unsound { problem: String },
}

/// Now, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(since.as_millis()).expect("it is earlier than the year 292277026")
}

/// The history as it grows: in memory, and as JSON lines in a file.
#[derive(Clone)]
pub(crate) struct History {
    shared: Arc<Mutex<(Vec<Event>, File)>>,
    path: PathBuf,
}

impl History {
    pub(crate) fn in_file(path: &Path) -> Self {
        let file = File::create(path).unwrap();
        Self { shared: Arc::new(Mutex::new((Vec::new(), file))), path: path.to_owned() }
    }

    pub(crate) fn add(&self, event: Event) {
        let mut line = serde_json::to_vec(&event).unwrap();
        line.push(b'\n');
        let mut shared = self.shared.lock().unwrap();
        shared.1.write_all(&line).unwrap();
        shared.0.push(event);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.shared.lock().unwrap().0.clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A history that was kept.
pub(crate) fn read(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
