//! One worker from its start to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use windlass_model::exit::Exit;
use windlass_model::id::ProjectId;
use windlass_model::limits::Network;
use windlass_model::log::Stream;
use windlass_model::runner::RevisionSpec;
use windlass_model::warm::Keep;

use super::crew::Crew;
use super::door::Door;
use super::endpoint::Endpoint;
use super::launch;
use super::pool::{Kept, Place};
use super::protocol::{Answer, Event, News};
use crate::ground::Ground;
use crate::host::{Host, NotStarted};
use crate::package::{Package, Packages};
use crate::plan::Plan;
use crate::run::{Stop, failed_start};
use crate::sandbox::cgroup::Gaps;
use crate::spawner::{Child, End, Exited, Reserved};
use crate::supervise::{Command, Output};

/// Longest time from a worker's start until it asks for a task, if the task itself may take that long.
const INIT_LIMIT: Duration = Duration::from_secs(120);

/// Longest time from a task's offer until a worker asks for it that has had one before.
const TAKE_LIMIT: Duration = Duration::from_secs(5);

/// How long a task runs before output is read as it comes; see `supervise`.
const LISTEN_AFTER: Duration = Duration::from_millis(3);

/// Longest time to wait for output and the end of what was killed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Most bytes of a worker's last words in a message.
const WORDS_BYTES: usize = 500;

/// A process that takes one task after another. To drop it ends it.
pub(crate) struct Worker {
    /// None once it is being ended.
    alive: Option<Alive>,
}

struct Alive {
    child: Child,
    endpoint: Arc<Endpoint>,
    /// Serves its endpoint.
    serving: AbortHandle,
    plan: Plan,
    ground: Ground,
    place: Option<Place<Worker>>,
    host: Arc<Host>,
    packages: Option<Arc<Packages>>,
    keep: Keep,
    started: Instant,
    idle_until: Instant,
    tasks: u32,
    is_listening: bool,
    /// It must not have another task.
    is_over: bool,
    /// Nothing of its process is left.
    has_ended: bool,
}

/// What a worker is started from.
pub(crate) struct Start<'a> {
    pub(crate) host: &'a Arc<Host>,
    pub(crate) packages: Option<&'a Arc<Packages>>,
    pub(crate) project: ProjectId,
    pub(crate) revision: &'a RevisionSpec,
    pub(crate) package: Arc<Package>,
    /// Its slot.
    pub(crate) reserved: Reserved,
    /// Its place; none where nobody else is.
    pub(crate) place: Option<Place<Worker>>,
}

/// What came of a task that a worker was to do.
pub(crate) enum Came {
    /// It was done, or failed by itself. The worker may have another if it [`Worker::is_good`].
    Ended(Answer),
    /// It ended with the worker: how, and how the worker's process ended if that is known.
    Broke(Exit),
    /// The worker came to its end, and the task was not begun.
    NotBegun,
    /// Its program could not be started.
    NotStarted(Stop),
    /// It must not go on here.
    Stopped(Command),
    /// The spawner died, and the worker with it.
    SpawnerLost,
}

impl Worker {
    /// Starts a worker. That its program cannot be run is told as the end of its first task.
    pub(crate) async fn start(start: Start<'_>) -> Result<Self, Stop> {
        static WORKERS: AtomicU64 = AtomicU64::new(0);
        let Start { host, packages, project, revision, package, reserved, place } = start;
        let door = door(host, revision.network)?;
        let path = host.attempt_dir(&format!("warm-{}", WORKERS.fetch_add(1, Ordering::Relaxed)));
        let task_dir = path.to_string_lossy().into_owned();
        let at = host.place(&task_dir, revision.network);
        let runtime_api = door.address().map_err(ours)?.to_string();
        let mut plan =
            launch::plan(project, revision, &*package, &at, &runtime_api).map_err(Stop::NotStarted)?;
        let permits = (revision.network, revision.limits);
        let ground = host.ground(path, package, &mut plan, permits).await;
        let ground = ground.map_err(|e| Stop::Ours(format!("cannot fill a worker's directory: {e}")))?;
        let started = host.start_kept(&plan, &ground, (reserved, &door)).await;
        let mut child = started.map_err(not_started)?;
        let door = match (door, child.door.take()) {
            (Door::Outside(door), _) | (Door::Inside(_), Some(door)) => door,
            (Door::Inside(_), None) => return Err(Stop::Ours("a slot has no network of its own".to_owned())),
        };
        let door = TcpListener::from_std(door).map_err(ours)?;
        let endpoint = Endpoint::new(host.limits.result_bytes, child.processes.take().map(Crew::new));
        let serving = tokio::spawn(endpoint.clone().serve(door)).abort_handle();
        let now = Instant::now();
        let alive = Alive {
            child,
            endpoint,
            serving,
            plan,
            ground,
            place,
            host: host.clone(),
            packages: packages.cloned(),
            keep: revision.keep,
            started: now,
            idle_until: now,
            tasks: 0,
            is_listening: false,
            is_over: false,
            has_ended: false,
        };
        Ok(Self { alive: Some(alive) })
    }

    /// Has it do a task, however that ends. What it writes meanwhile, and what it has written since its last task, goes
    /// to `output`.
    pub(crate) async fn run(
        &mut self,
        event: Event,
        time: Duration,
        commands: &mut watch::Receiver<Command>,
        output: &mut impl Output,
    ) -> Came {
        let Some(alive) = &mut self.alive else { return Came::NotBegun };
        let began = Instant::now();
        let came = alive.run(event, time, commands, output).await;
        alive.tasks += 1;
        let now = Instant::now();
        alive.idle_until = now + Duration::from_secs(alive.keep.idle_timeout_s.into());
        alive.is_over |= !matches!(came, Came::Ended(_));
        if !alive.is_over && alive.endpoint.has_grown() {
            alive.is_over = true;
            let note = b"[windlass: it left processes behind, so its worker is replaced]\n";
            output.write(Stream::System, now.duration_since(began).as_millis() as u32, note);
        }
        came
    }

    /// Whether it may have another task.
    pub(crate) fn is_good(&self) -> bool {
        self.alive.as_ref().is_some_and(|alive| {
            !alive.is_over
                && alive.endpoint.protocol().breach().is_none()
                && alive.tasks < alive.keep.max_tasks
                && alive.started.elapsed() < Duration::from_secs(alive.keep.max_age_s.into())
        })
    }

    /// Ends it; nothing of it is left then.
    pub(crate) async fn end(mut self) {
        if let Some(alive) = self.alive.take() {
            alive.serving.abort();
            bury(alive).await;
        }
    }

    /// Limits that did not hold for its tasks.
    pub(crate) fn gaps(&self) -> Gaps {
        self.alive.as_ref().map_or(Gaps::default(), |alive| alive.child.gaps)
    }
}

impl Kept for Worker {
    fn place(&self) -> &Place<Self> {
        let place = self.alive.as_ref().and_then(|alive| alive.place.as_ref());
        place.expect("a worker of a pool has its place until it is dropped")
    }

    fn idle_until(&self) -> Instant {
        self.alive.as_ref().map_or_else(Instant::now, |alive| alive.idle_until)
    }

    fn min_warm(&self) -> usize {
        self.alive.as_ref().map_or(0, |alive| alive.keep.min_warm as usize)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("tasks", &self.alive.as_ref().map(|alive| alive.tasks)).finish()
    }
}

/// Why a worker was not started.
pub(crate) fn not_started(failure: NotStarted) -> Stop {
    match failure {
        NotStarted::NoProgram(why) => Stop::NotStarted(why),
        NotStarted::Spawn(error) => Stop::Ours(error.to_string()),
    }
}

/// Where a worker with this network is to find its runner.
fn door(host: &Host, network: Network) -> Result<Door, Stop> {
    match network {
        Network::Egress | Network::None if host.has_networks() => Ok(Door::Inside(network)),
        Network::None if host.is_sandboxed() => Err(Stop::NotStarted(
            "a warm worker with the network none needs a runner that is root: this one cannot reach into it"
                .to_owned(),
        )),
        _ => Door::outside().map_err(ours),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over errors")]
fn ours(error: std::io::Error) -> Stop {
    Stop::Ours(format!("cannot make the endpoint of a worker: {error}"))
}

/// Why a worker is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    TimedOut,
    /// It does not begin.
    Init,
    Broke(&'static str),
    Told(Command),
}

impl Alive {
    async fn run(
        &mut self,
        event: Event,
        time: Duration,
        commands: &mut watch::Receiver<Command>,
        output: &mut impl Output,
    ) -> Came {
        let mut output = LastWords { output, end: Vec::new() };
        let began = Instant::now();
        let at_ms = move || u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
        let is_first = !self.endpoint.protocol().has_begun();
        self.endpoint.offer(event);
        let wait = if is_first { INIT_LIMIT.min(time) } else { TAKE_LIMIT.min(time) };
        let (deadline, listen) = (sleep_until(began + wait), sleep_until(began + LISTEN_AFTER));
        tokio::pin!(deadline, listen);
        let mut has_commander = true;
        let why = loop {
            tokio::select! {
                biased;
                news = self.endpoint.news() => {
                    self.drain(&mut output, at_ms());
                    match news {
                        News::Answered(answer) => return Came::Ended(answer),
                        // That was before it took this task.
                        News::Broke(_) if self.endpoint.protocol().withdraw().is_some() => {
                            return Came::NotBegun;
                        }
                        News::Broke(how) => break Why::Broke(how),
                        News::InitFailed(class, msg) => {
                            self.kill(libc::SIGKILL, &mut output).await;
                            return Came::Broke(Exit::Error { class, msg });
                        }
                    }
                }
                end = &mut self.child.end => {
                    self.has_ended = true;
                    self.drain(&mut output, at_ms());
                    let is_begun = self.endpoint.protocol().withdraw().is_none();
                    return self.ended(end.ok(), is_first, is_begun, &output.end);
                }
                changed = commands.changed(), if has_commander => {
                    has_commander = changed.is_ok();
                    let command = *commands.borrow_and_update();
                    if command > Command::Run {
                        break Why::Told(command);
                    }
                }
                () = &mut deadline => match self.endpoint.taken_at() {
                    // From then on it has all of its time.
                    Some(at) if at + time > Instant::now() => deadline.as_mut().reset(at + time),
                    Some(_) => break Why::TimedOut,
                    None if is_first => break Why::Init,
                    None => {
                        // It may have taken it this very moment.
                        if self.endpoint.protocol().withdraw().is_some() {
                            return Came::NotBegun;
                        }
                    }
                },
                () = &mut listen, if !self.is_listening => {
                    self.is_listening = true;
                    self.child.stdout.listen();
                    self.child.stderr.listen();
                }
                () = self.child.stdout.more(), if self.is_listening && self.child.stdout.is_open() => {
                    self.child.stdout.pass(|bytes| output.write(Stream::Stdout, at_ms(), bytes));
                }
                () = self.child.stderr.more(), if self.is_listening && self.child.stderr.is_open() => {
                    self.child.stderr.pass(|bytes| output.write(Stream::Stderr, at_ms(), bytes));
                }
                () = sleep_until(output.flush_at().unwrap_or(began)), if output.flush_at().is_some() => output.flush(),
            }
        };
        let grace = self.host.limits.grace;
        let is_gentle = matches!(why, Why::TimedOut | Why::Told(Command::Cancel | Command::GiveBack));
        let end = self.end(if is_gentle { grace } else { Duration::ZERO }, &mut output).await;
        self.drain(&mut output, at_ms());
        let oom = end.and_then(|end| out_of_memory(&end, self.child.memory_limit));
        match (why, oom) {
            (Why::Told(Command::Cancel), _) => Came::Broke(Exit::Cancelled),
            (Why::Told(command), _) => Came::Stopped(command),
            (_, Some(oom)) => Came::Broke(oom),
            (Why::TimedOut, None) => Came::Broke(Exit::TimedOut),
            (Why::Init, None) => {
                let within = wait.as_secs();
                Came::Broke(error(
                    "Init Timeout",
                    format!("the worker did not ask for a task within {within} s of its start"),
                ))
            }
            (Why::Broke(how), None) => Came::Broke(error("Protocol Error", format!("the worker {how}"))),
        }
    }

    /// What it means for the task that the worker came to its end by itself.
    fn ended(&mut self, end: Option<End>, is_first: bool, is_begun: bool, words: &[u8]) -> Came {
        if !is_begun && !is_first {
            return Came::NotBegun;
        }
        let exited = match end {
            Some(End::Exited(exited)) => exited,
            Some(End::Failed { step, errno }) => {
                return Came::NotStarted(failed_start(step, errno, &self.plan));
            }
            Some(End::Withdrawn) => return Came::NotBegun,
            None => return Came::SpawnerLost,
        };
        self.child.gaps = exited.gaps;
        if let Some(oom) = out_of_memory(&exited, self.child.memory_limit) {
            return Came::Broke(oom);
        }
        let status = exited.status;
        let (how, exit) = match (libc::WIFSIGNALED(status), libc::WEXITSTATUS(status)) {
            (true, _) => {
                let signal = libc::WTERMSIG(status);
                (format!("signal {signal}"), Some(Exit::Signal(signal)))
            }
            (false, 0) => ("exit code 0".to_owned(), None),
            (false, code) => (format!("exit code {code}"), Some(Exit::Code(code))),
        };
        Came::Broke(match exit {
            Some(exit) if is_begun => exit,
            _ if is_begun => {
                error("Worker Exit 0", "the worker ended (exit code 0) without an answer".to_owned())
            }
            _ => error(
                "Init Error",
                format!("the worker ended before it asked for a task ({how}){}", last_words(words)),
            ),
        })
    }

    /// Ends it: at once, or by asking first and giving it a time of grace.
    async fn end(&mut self, grace: Duration, output: &mut LastWords<'_, impl Output>) -> Option<Exited> {
        if !grace.is_zero() {
            self.child.kill(libc::SIGTERM).await;
            if let Ok(end) = timeout(grace, &mut self.child.end).await {
                self.has_ended = true;
                return exited(end.ok());
            }
        }
        self.kill(libc::SIGKILL, output).await
    }

    async fn kill(&mut self, signal: i32, output: &mut LastWords<'_, impl Output>) -> Option<Exited> {
        loop {
            self.child.kill(signal).await;
            // Again and again: a process that cannot be killed now may be later.
            if let Ok(end) = timeout_at(Instant::now() + LAST_WORDS, &mut self.child.end).await {
                self.has_ended = true;
                self.drain(output, 0);
                return exited(end.ok());
            }
        }
    }

    /// Reads what it has written so far.
    fn drain(&mut self, output: &mut impl Output, at_ms: u32) {
        self.child.stdout.pass(|bytes| output.write(Stream::Stdout, at_ms, bytes));
        self.child.stderr.pass(|bytes| output.write(Stream::Stderr, at_ms, bytes));
        self.child.stdout.drain(|bytes| output.write(Stream::Stdout, at_ms, bytes));
        self.child.stderr.drain(|bytes| output.write(Stream::Stderr, at_ms, bytes));
    }
}

fn exited(end: Option<End>) -> Option<Exited> {
    match end {
        Some(End::Exited(exited)) => Some(exited),
        _ => None,
    }
}

fn out_of_memory(exited: &Exited, limit: Option<u64>) -> Option<Exit> {
    let memory = &exited.memory;
    (memory.oom_kills > 0).then(|| Exit::OutOfMemory {
        limit_bytes: limit.unwrap_or(memory.oom_peak_bytes),
        peak_bytes: memory.oom_peak_bytes,
    })
}

fn error(class: &str, msg: String) -> Exit {
    Exit::Error { class: class.to_owned(), msg }
}

/// The last line of what a worker wrote to standard error, to go behind a message.
fn last_words(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    text.trim_end().lines().next_back().map_or_else(String::new, |line| format!(": {}", line.trim()))
}

/// Passes output on, and remembers the end of standard error.
struct LastWords<'a, O> {
    output: &'a mut O,
    end: Vec<u8>,
}

impl<O: Output> Output for LastWords<'_, O> {
    fn write(&mut self, stream: Stream, at_ms: u32, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if stream == Stream::Stderr {
            let end = &bytes[bytes.len().saturating_sub(WORDS_BYTES)..];
            let excess = (self.end.len() + end.len()).saturating_sub(WORDS_BYTES);
            self.end.drain(..excess);
            self.end.extend_from_slice(end);
        }
        self.output.write(stream, at_ms, bytes);
    }

    fn flush_at(&self) -> Option<Instant> {
        self.output.flush_at()
    }

    fn flush(&mut self) {
        self.output.flush();
    }
}

impl Drop for Worker {
    /// Ends it behind our back; its slot is taken until then.
    fn drop(&mut self) {
        let Some(alive) = self.alive.take() else { return };
        alive.serving.abort();
        // Without a runtime the runner is at its end, and its spawners end what is theirs.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(bury(alive));
    }
}

/// Ends what is alive of a worker, and frees its slot.
async fn bury(mut alive: Alive) {
    let mut nobody = Nobody;
    let mut output = LastWords { output: &mut nobody, end: Vec::new() };
    if !alive.has_ended {
        alive.kill(libc::SIGKILL, &mut output).await;
    }
    let Alive { host, packages, ground, child, place, .. } = alive;
    host.clear(ground, packages.as_deref());
    // The spawner's slot first, then our account of it.
    drop(child);
    drop(place);
}

/// Nobody to hear of it.
struct Nobody;

impl Output for Nobody {
    fn write(&mut self, _: Stream, _: u32, _: &[u8]) {}

    fn flush_at(&self) -> Option<Instant> {
        None
    }

    fn flush(&mut self) {}
}
