//! A server of the runner protocol in memory: real JSON over the client's transport seam, no socket.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use windlass_client::Client;
use windlass_client::transport::{Body, BoxError, Transport, whole};
use windlass_model::bytes::Bytes;
use windlass_model::code::{BlobRef, Launch};
use windlass_model::id::{CodeId, ProjectId, RevisionId, RunnerId, Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::limits::{Limits, Network};
use windlass_model::log::LogChunk;
use windlass_model::runner::{
    Assignment, Claim, ClaimRequest, Finish, FinishAnswer, Heartbeat, HeartbeatAnswer, Held, LogAnswer,
    LogUpload, Register, Registered, Release, Report, RevisionSpec,
};
use windlass_model::warm::Keep;

/// Longest time a test waits for something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Server(Arc<Inner>);

/// The variable by which the processes of a world's tasks are known.
pub(crate) const MARK: &str = "TEST_WORLD";

struct Inner {
    mark: String,
    state: Mutex<State>,
    changed: Notify,
}

/// What the server knows; tests look at it and change it.
pub(crate) struct State {
    pub(crate) queue: VecDeque<(Assignment, RevisionSpec)>,
    pub(crate) packages: HashMap<String, Vec<u8>>,
    pub(crate) held: BTreeMap<Fence, (Assignment, RevisionSpec)>,
    pub(crate) chunks: BTreeMap<Fence, BTreeMap<u32, LogChunk>>,
    pub(crate) reports: Vec<Report>,
    /// Reports that were refused, as another had come before or the lease was lost.
    pub(crate) refused: Vec<Held>,
    pub(crate) released: Vec<Held>,
    pub(crate) registered: Vec<Register>,
    pub(crate) left: usize,
    pub(crate) calls: BTreeMap<&'static str, usize>,
    pub(crate) cancel: Vec<Held>,
    pub(crate) lost: Vec<Held>,
    /// No call gets through.
    pub(crate) is_away: bool,
    /// Claims and finishes do their work, but their answers are lost: as many of them as this says.
    pub(crate) lose_answers: usize,
    /// Sessions that are over.
    pub(crate) over: Vec<String>,
    pub(crate) heartbeat_ms: u64,
    next: i64,
}

/// A text that no other test uses.
pub(crate) fn unique() -> String {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}-{n}", std::process::id())
}

impl Server {
    pub(crate) fn start() -> Self {
        let state = State {
            queue: VecDeque::new(),
            packages: HashMap::new(),
            held: BTreeMap::new(),
            chunks: BTreeMap::new(),
            reports: Vec::new(),
            refused: Vec::new(),
            released: Vec::new(),
            registered: Vec::new(),
            left: 0,
            calls: BTreeMap::new(),
            cancel: Vec::new(),
            lost: Vec::new(),
            is_away: false,
            lose_answers: 0,
            over: Vec::new(),
            heartbeat_ms: 10_000,
            next: 1,
        };
        Server(Arc::new(Inner { mark: unique(), state: Mutex::new(state), changed: Notify::new() }))
    }

    /// What [`MARK`] is for the tasks of this server.
    pub(crate) fn mark(&self) -> &str {
        &self.0.mark
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(Arc::new(self.clone()), "runner-token", "")
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let result = f(&mut self.0.state.lock().unwrap());
        self.0.changed.notify_waiters();
        result
    }

    /// Waits until `condition` gives something, as long as a test may wait.
    pub(crate) async fn until<T>(&self, what: &str, condition: impl Fn(&State) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = condition(&self.0.state.lock().unwrap()) {
                return found;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                let state = self.0.state.lock().unwrap();
                panic!(
                    "waited in vain for {what}; reports {:?}, held {:?}, released {:?}, calls {:?}",
                    state.reports, state.held, state.released, state.calls
                );
            }
        }
    }

    /// Keeps a package; returns its name.
    pub(crate) fn package(&self, zip: Vec<u8>) -> BlobRef {
        let blob = BlobRef { sha256: hex::encode(Sha256::digest(&zip)), size_bytes: zip.len() as u64 };
        self.with(|state| state.packages.insert(blob.sha256.clone(), zip));
        blob
    }

    /// A revision that runs `launch` on `package`.
    pub(crate) fn revision(&self, package: Option<BlobRef>, launch: Launch) -> RevisionSpec {
        let n = self.with(State::number);
        RevisionSpec {
            id: RevisionId::new(Seq(n), 7),
            code: CodeId::new(Seq(n), 8),
            code_name: "worker".to_owned(),
            rev: 3,
            package,
            launch,
            config: None,
            env_vars: BTreeMap::from([(MARK.to_owned(), self.0.mark.clone())]),
            limits: Limits::DEFAULT,
            network: Network::default(),
            keep: Keep::DEFAULT,
            login: None,
        }
    }

    /// Queues a task, after `change` was made to it.
    pub(crate) fn queue(&self, revision: &RevisionSpec, change: impl FnOnce(&mut Assignment)) -> Held {
        self.with(|state| state.add(revision, change))
    }

    pub(crate) async fn report(&self, held: Held) -> Report {
        self.until("a report", |state| state.reports.iter().find(|report| report.held == held).cloned()).await
    }

    async fn claim(&self, request: ClaimRequest) -> Claim {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(request.wait_ms);
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let claim = self.0.state.lock().unwrap().claim(request.want as usize);
            if !claim.tasks.is_empty() {
                self.0.changed.notify_waiters();
                return claim;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return claim;
            }
        }
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> HeartbeatAnswer {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(heartbeat.wait_ms);
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let answer = {
                let state = self.0.state.lock().unwrap();
                let among = |list: &[Held]| -> Vec<Held> {
                    list.iter().filter(|held| heartbeat.holds.contains(held)).copied().collect()
                };
                HeartbeatAnswer { lost: among(&state.lost), cancel: among(&state.cancel), drain: false }
            };
            if !answer.lost.is_empty()
                || !answer.cancel.is_empty()
                || tokio::time::timeout_at(deadline, changed).await.is_err()
            {
                return answer;
            }
        }
    }
}

impl State {
    fn number(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    /// Queues a task, after `change` was made to it.
    pub(crate) fn add(&mut self, revision: &RevisionSpec, change: impl FnOnce(&mut Assignment)) -> Held {
        let n = self.number();
        let mut task = Assignment {
            task: TaskId::new(Seq(n), 1),
            fence: Fence(n),
            attempt: 1,
            project: ProjectId::new(Seq(1), 2),
            revision: revision.id,
            schedule: None,
            trace: None,
            payload: Bytes::default(),
            timeout_s: 60,
            token: "attempt-token".to_owned(),
        };
        change(&mut task);
        let held = Held { task: task.task, fence: task.fence };
        self.queue.push_back((task, revision.clone()));
        held
    }

    fn claim(&mut self, want: usize) -> Claim {
        let mut claim = Claim::default();
        for (task, revision) in self.queue.drain(..want.min(self.queue.len())) {
            if !claim.revisions.contains(&revision) {
                claim.revisions.push(revision.clone());
            }
            self.held.insert(task.fence, (task.clone(), revision));
            claim.tasks.push(task);
        }
        claim
    }

    fn finish(&mut self, report: Report) -> bool {
        let is_ours = self.held.contains_key(&report.held.fence) && !self.lost.contains(&report.held);
        if is_ours {
            self.held.remove(&report.held.fence);
            self.add_chunks(report.held, report.log.clone());
            self.reports.push(report);
        } else {
            self.refused.push(report.held);
        }
        is_ours
    }

    fn add_chunks(&mut self, held: Held, chunks: Vec<LogChunk>) {
        let log = self.chunks.entry(held.fence).or_default();
        for chunk in chunks {
            let n = chunk.n;
            let kept = log.entry(n).or_insert_with(|| chunk.clone());
            assert_eq!(*kept, chunk, "chunk {n} came twice and differs");
        }
    }

    fn release(&mut self, release: &Release) {
        let all: Vec<Fence> = self.held.keys().copied().collect();
        let holds: Vec<Fence> = release.holds.iter().map(|held| held.fence).collect();
        for fence in all.into_iter().filter(|fence| release.leave || holds.contains(fence)) {
            let (mut task, revision) = self.held.remove(&fence).unwrap();
            self.released.push(Held { task: task.task, fence });
            task.fence = Fence(self.number());
            self.queue.push_back((task, revision));
        }
        self.left += usize::from(release.leave);
    }

    /// The log of an attempt.
    pub(crate) fn log(&self, held: Held) -> Vec<LogChunk> {
        self.chunks.get(&held.fence).map(|log| log.values().cloned().collect()).unwrap_or_default()
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> T {
    serde_json::from_slice(body).unwrap()
}

fn write(answer: &impl Serialize) -> http::Response<Body> {
    http::Response::new(whole(serde_json::to_vec(answer).unwrap()))
}

fn refuse(status: u16, msg: &str) -> http::Response<Body> {
    let body = serde_json::json!({ "msg": msg }).to_string();
    http::Response::builder().status(status).body(whole(body)).unwrap()
}

#[async_trait]
impl Transport for Server {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, BoxError> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        if self.with(|state| state.is_away) {
            return Err("the server is away".into());
        }
        if path == "/2/runners" {
            let about: Register = read(&body);
            let runner = self.with(|state| {
                state.registered.push(about);
                RunnerId::new(Seq(state.registered.len() as i64), 0)
            });
            let heartbeat_ms = self.with(|state| state.heartbeat_ms);
            return Ok(write(&Registered { runner, lease_ms: 30_000, heartbeat_ms }));
        }
        if let Some(sha256) = path.strip_prefix("/2/runners/packages/") {
            self.with(|state| *state.calls.entry("package").or_default() += 1);
            return Ok(match self.with(|state| state.packages.get(sha256).cloned()) {
                Some(zip) => http::Response::new(whole(zip)),
                None => refuse(404, "Not found"),
            });
        }
        let (session, verb) = path.strip_prefix("/2/runners/").unwrap().split_once('/').unwrap();
        if self.with(|state| state.over.iter().any(|over| over == session)) {
            return Ok(refuse(404, "This runner session is over"));
        }
        let name =
            ["claim", "heartbeat", "log", "finish", "release"].into_iter().find(|v| *v == verb).unwrap();
        self.with(|state| *state.calls.entry(name).or_default() += 1);
        let answer = match verb {
            "claim" => write(&self.claim(read(&body)).await),
            "heartbeat" => write(&self.heartbeat(read(&body)).await),
            "log" => {
                let upload: LogUpload = read(&body);
                let lost = self.with(|state| {
                    let mut lost = Vec::new();
                    for log in upload.logs {
                        if state.lost.contains(&log.held) || !state.held.contains_key(&log.held.fence) {
                            lost.push(log.held);
                        } else {
                            state.add_chunks(log.held, log.chunks);
                        }
                    }
                    lost
                });
                write(&LogAnswer { lost })
            }
            "finish" => {
                let finish: Finish = read(&body);
                let mut lost = Vec::new();
                for report in finish.reports {
                    let held = report.held;
                    if !self.with(|state| state.finish(report)) {
                        lost.push(held);
                    }
                }
                let claim = match finish.claim {
                    Some(request) => self.claim(request).await,
                    None => Claim::default(),
                };
                write(&FinishAnswer { lost, claim })
            }
            _ => {
                self.with(|state| state.release(&read(&body)));
                write(&serde_json::json!({ "msg": "Released" }))
            }
        };
        let is_lost = self.with(|state| {
            let is_lost = state.lose_answers > 0 && matches!(verb, "claim" | "finish");
            state.lose_answers -= usize::from(is_lost);
            is_lost || state.is_away
        });
        if is_lost { Err("the connection broke".into()) } else { Ok(answer) }
    }

    fn url(&self) -> &str {
        "http://127.0.0.1:8080"
    }
}
