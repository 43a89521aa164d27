//! The runner protocol: what runners and servers say to each other, as JSON over HTTP under `/2/runners`.
//!
//! `POST /2/runners` [`Register`] -> [`Registered`]; then, under `/2/runners/{id}`: `POST claim` [`ClaimRequest`] ->
//! [`Claim`]; `POST heartbeat` [`Heartbeat`] -> [`HeartbeatAnswer`]; `POST log` [`LogUpload`] -> [`LogAnswer`];
//! `POST finish` [`Finish`] -> [`FinishAnswer`]; `POST release` [`Release`]. Packages are at
//! `GET /2/runners/packages/{sha256}`. Every instant is in milliseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::code::{BlobRef, Launch};
use crate::exit::{Exit, Usage};
use crate::id::{CodeId, ProjectId, RevisionId, RunnerId, ScheduleId, TaskId};
pub use crate::isolation::Isolation;
use crate::isolation::Level;
use crate::lease::Fence;
use crate::limits::{Limits, Network};
use crate::log::LogChunk;
use crate::time::Timestamp;
use crate::trace::TraceParent;
use crate::warm::Keep;

/// A runner introduces itself. One session; a runner that starts again registers again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// What people call it; by default the host's name.
    pub name: String,
    /// Names the place it runs from: the runner holds an exclusive lock on it. A new session from the same place is
    /// proof that the sessions before are over, so what they held is queued again at once.
    pub instance: String,
    /// The tasks it takes.
    pub cluster: String,
    /// Tasks it runs at once.
    pub slots: u32,
    /// Free text, `key=value` by habit.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Version of its binary.
    pub version: String,
    /// How it isolates.
    pub isolation: Isolation,
}

/// The server took it in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Names this session in every further call.
    pub runner: RunnerId,
    /// How long its leases last after a heartbeat.
    pub lease_ms: u64,
    /// How often it must send one.
    pub heartbeat_ms: u64,
}

/// A runner session as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerRecord {
    /// Names the session.
    pub id: RunnerId,
    /// What it said of itself.
    pub about: Register,
    /// When it registered.
    pub started_at: Timestamp,
    /// When it was last heard.
    pub seen_at: Timestamp,
    /// Asked to take no more tasks.
    pub is_draining: bool,
    /// When it said good-bye, or was found silent for longer than its lease.
    pub gone_at: Option<Timestamp>,
}

/// Asks for up to `want` tasks; waits up to `wait_ms` for the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// Most tasks to hand out.
    pub want: u32,
    /// Longest time to wait when nothing is due.
    pub wait_ms: u64,
    /// The runner holds nothing: whatever was handed to it some time ago has not arrived.
    #[serde(default)]
    pub is_idle: bool,
    /// How busy its host is; a claim that waits says so, as a runner that holds nothing sends no heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<HostLoad>,
}

/// Tasks handed to a runner, with everything needed to run them but the packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The revisions that the tasks name, each once.
    pub revisions: Vec<RevisionSpec>,
    /// The tasks, in the order they are to be started.
    pub tasks: Vec<Assignment>,
    /// Whether an operator asked this runner to take no more.
    #[serde(default)]
    pub drain: bool,
}

/// What a runner needs of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionSpec {
    /// Its id.
    pub id: RevisionId,
    /// The package.
    pub code: CodeId,
    /// Name of the package.
    pub code_name: String,
    /// Number of the revision.
    pub rev: u32,
    /// The zip; none for a bare image.
    pub package: Option<BlobRef>,
    /// How it is started.
    pub launch: Launch,
    /// Given to the worker as a file.
    pub config: Option<String>,
    /// Environment of the worker.
    pub env_vars: BTreeMap<String, String>,
    /// What its image is pulled with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// What one attempt may take; the runner may give less.
    #[serde(default)]
    pub limits: Limits,
    /// Whom the worker may talk to.
    #[serde(default)]
    pub network: Network,
    /// For how long its warm workers are kept.
    #[serde(default)]
    pub keep: Keep,
}

/// A login to a registry of container images.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Who.
    pub username: String,
    /// A password, or a token in its place.
    pub password: String,
}

/// Without the password.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.username)
    }
}

/// One attempt of one task, to be run now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The task.
    pub task: TaskId,
    /// Shown with everything that is written for this attempt.
    pub fence: Fence,
    /// 1 for the first.
    pub attempt: u32,
    /// Who owns it.
    pub project: ProjectId,
    /// What it runs: one of [`Claim::revisions`].
    pub revision: RevisionId,
    /// The schedule that made it.
    pub schedule: Option<ScheduleId>,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
    /// What the worker gets.
    pub payload: Bytes,
    /// Longest time it may run.
    pub timeout_s: u32,
    /// A token that is good for this attempt: to queue, schedule and report progress in its project.
    pub token: String,
}

/// A runner is there and holds these attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Every attempt it holds.
    pub holds: Vec<Held>,
    /// Longest time to hold the answer back while there is nothing to tell. The lease is extended at once.
    #[serde(default)]
    pub wait_ms: u64,
    /// How busy its host is; none: it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<HostLoad>,
}

/// How busy a runner's host is, with everything that runs on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLoad {
    /// Processes that ran or waited for a processor or a disk, on average over a minute, in thousandths.
    pub load_millis: u32,
    /// Processors that are on.
    pub processors: u32,
    /// Memory that could not be had without taking it from somebody.
    pub memory_used_bytes: u64,
    /// All memory.
    pub memory_bytes: u64,
}

/// An attempt that a runner holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub fence: Fence,
}

/// What the runner must know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// Attempts that are no longer its own: to be ended, nothing to be reported.
    pub lost: Vec<Held>,
    /// Attempts whose task somebody asked to cancel: to be ended and reported.
    pub cancel: Vec<Held>,
    /// Whether an operator asked this runner to take no more.
    pub drain: bool,
}

/// Chunks of output of running attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogUpload {
    /// The chunks by attempt.
    pub logs: Vec<AttemptLog>,
}

/// Chunks of output of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptLog {
    /// The attempt.
    pub held: Held,
    /// Its chunks, ascending; numbers that are already there are ignored.
    pub chunks: Vec<LogChunk>,
}

/// Attempts whose log was not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAnswer {
    /// No longer the runner's own.
    pub lost: Vec<Held>,
}

/// Reports ended attempts and, in the same call, asks for the next ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// What ended.
    pub reports: Vec<Report>,
    /// Asks for more work; the wait begins after the reports are written.
    #[serde(default)]
    pub claim: Option<ClaimRequest>,
}

/// The end of one attempt. Facts only; the server decides what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The attempt.
    pub held: Held,
    /// How it ended.
    pub exit: Exit,
    /// What it used.
    pub usage: Usage,
    /// How it was isolated.
    pub isolation: Isolation,
    /// Chunks of its log that were not uploaded yet.
    #[serde(default)]
    pub log: Vec<LogChunk>,
    /// The end of what it wrote to standard error, at most 4 KiB.
    #[serde(default)]
    pub stderr_tail: Bytes,
    /// What it left in its result file.
    #[serde(default)]
    pub result: Option<Bytes>,
}

impl Report {
    /// The end of an attempt that was never begun.
    pub fn not_started(held: Held, why: String) -> Self {
        Self {
            held,
            exit: Exit::NotStarted(why),
            usage: Usage::default(),
            isolation: Isolation::new(Level::default(), Vec::new()),
            log: Vec::new(),
            stderr_tail: Bytes::default(),
            result: None,
        }
    }
}

/// What became of the reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishAnswer {
    /// Reports that were refused because their lease had passed to another.
    pub lost: Vec<Held>,
    /// New work, if it was asked for.
    #[serde(default)]
    pub claim: Claim,
}

/// Gives attempts back unfinished, as a runner does that must stop; they are queued again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The attempts.
    pub holds: Vec<Held>,
    /// Whether the runner ends its session with this.
    #[serde(default)]
    pub leave: bool,
}
