//! The runner's side: asks the spawner for processes, and keeps a spawner there to ask.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpListener;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use super::message::{self, Contents, End, Exited, Left, Word};
use super::sys;
use crate::config::SpawnerCommand;
use crate::outlet::Outlet;
use crate::sandbox::cgroup::Gaps;
use crate::sandbox::network::{Network, SlotNetwork};
use crate::sandbox::root::Names;
use crate::sandbox::{self, InForce, Setup};
use crate::warm::{Door, INSIDE};

/// Most bytes of what a spawner says of its sandbox.
const MAX_ANSWER: usize = 64 * 1024;

/// Longest time that a sandbox takes to be made.
const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// A process to be started.
pub(crate) struct Order<'a> {
    /// Path of the program.
    pub(crate) program: &'a str,
    /// Its arguments, its own name first.
    pub(crate) argv: &'a [String],
    /// Its environment, `NAME=value`, all of it.
    pub(crate) env: &'a [String],
    /// Its working directory.
    pub(crate) cwd: &'a str,
    /// An entry of its environment that no other task has.
    pub(crate) mark: &'a str,
    /// What it finds in its sandbox; none: it runs without one. As the spawner was made for it.
    pub(crate) contents: Option<Contents<'a>>,
}

/// A spawner that runs nothing, for a process that is to have it to itself for as long as it lives.
pub(crate) struct Reserved {
    slot: usize,
    load: Load,
}

/// Why a process was not started, for a reason that is not the task's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// There is no spawner, or it died.
    #[error("the spawner cannot be used: {0}")]
    Spawner(#[source] io::Error),
    /// The pipes could not be made.
    #[error("cannot make pipes for the output: {0}")]
    Pipes(#[source] io::Error),
    /// The process could not have been reached.
    #[error("cannot listen in the network of a slot: {0}")]
    Door(#[source] io::Error),
}

/// Starts processes. One per runner; shared by its slots.
///
/// A spawner runs one process at a time, and there are as many as are needed at once: while a program is being loaded,
/// its spawner can do nothing else; and whatever falls to a spawner is certainly of the one process that it ran.
pub(crate) struct Spawner {
    command: SpawnerCommand,
    sandbox: Option<sandbox::Plan>,
    /// The networks of the slots; none: tasks are in the host's.
    networks: Option<Network>,
    /// What was found in force in all slots when they were made: what tasks can count on.
    promised: OnceLock<InForce>,
    spawners: Box<[One]>,
    ids: AtomicU64,
}

#[derive(Default)]
struct One {
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// Processes that it has or is to have.
    load: Arc<Processes>,
    /// It was started anew and its tasks would have less than was promised: it gets none.
    is_out: AtomicBool,
}

#[derive(Default)]
struct Processes {
    count: AtomicUsize,
    /// One has ended.
    fewer: Notify,
}

/// Added to the load of a slot that is out of service, so that every other one is before it.
const OUT_OF_SERVICE: usize = 1 << 32;

/// A process that was started, or is about to be.
pub(crate) struct Child {
    id: u64,
    connection: Arc<Connection>,
    load: Load,
    /// Its standard output.
    pub(crate) stdout: Outlet,
    /// Its standard error.
    pub(crate) stderr: Outlet,
    /// Since when it runs: told of one that had to wait, and where asked by signal 0.
    pub(crate) start: oneshot::Receiver<Instant>,
    /// How it ended, once nothing of it is left. An error: its spawner died, and it was killed.
    pub(crate) end: oneshot::Receiver<End>,
    /// The memory that it may use; none: there is no limit.
    pub(crate) memory_limit: Option<u64>,
    /// Limits that did not hold for it, once it has ended.
    pub(crate) gaps: Gaps,
    /// The door that was opened for it in the network of its slot.
    pub(crate) door: Option<TcpListener>,
    /// The list of the processes in its groups, if it has them to itself.
    pub(crate) processes: Option<PathBuf>,
    /// The result that it left in its sandbox, there before its end is told.
    result: oneshot::Receiver<LeftBehind>,
}

/// A result as a descriptor, or why it cannot be read.
type LeftBehind = Result<OwnedFd, Errno>;

/// Counts a process as one of its spawner's for as long as it lives.
struct Load {
    of: Arc<Processes>,
    before: usize,
    own: usize,
}

impl Load {
    fn add(of: &Arc<Processes>, own: usize) -> Self {
        Self { before: of.count.fetch_add(own, Ordering::Relaxed), of: of.clone(), own }
    }

    /// Waits until those before it have ended, with all that they left.
    async fn alone(&mut self) {
        loop {
            let fewer = self.of.fewer.notified();
            tokio::pin!(fewer);
            fewer.as_mut().enable();
            if self.of.count.load(Ordering::Relaxed) % OUT_OF_SERVICE <= self.own {
                self.before = 0;
                return;
            }
            fewer.await;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.of.count.fetch_sub(self.own, Ordering::Relaxed);
        self.of.fewer.notify_waiters();
    }
}

/// What a process counts for that has its spawner to itself: others go wherever else they can.
const ALL_OF_IT: usize = 1 << 20;

struct Connection {
    socket: UnixStream,
    /// What is in force in the spawner's sandbox; none: it has none.
    in_force: Option<InForce>,
    /// Held while a frame is being written.
    writing: tokio::sync::Mutex<()>,
    /// Who waits for which process; none once the spawner is gone.
    waiting: Mutex<Option<HashMap<u64, Listener>>>,
}

/// Who wants to know of a process.
struct Listener {
    mark: String,
    start: Option<oneshot::Sender<Instant>>,
    result: oneshot::Sender<LeftBehind>,
    end: oneshot::Sender<End>,
}

impl Spawner {
    /// A handle that starts a spawner when one is needed, and anew whenever one died.
    ///
    /// `slots` processes run at once; others wait for one to end. Each spawner lives in a sandbox of the plan, if there
    /// is one.
    pub(crate) fn new(command: SpawnerCommand, slots: usize, sandbox: Option<sandbox::Plan>) -> Self {
        let spawners = (0..slots).map(|_| One::default()).collect();
        Self { command, sandbox, networks: None, promised: OnceLock::new(), spawners, ids: AtomicU64::new(1) }
    }

    /// Starts all spawners, and with them makes all sandboxes. Returns what is in force in each of them; none if there is
    /// to be no sandbox. A slot that is made anew later and has less of it is out of service.
    pub(crate) async fn prepare(&self) -> io::Result<Option<InForce>> {
        let mut in_force: Option<InForce> = None;
        // At once, as most of it is waiting: for control groups above all.
        let connections = (0..self.spawners.len()).map(|slot| self.connect(slot));
        for connection in try_join_all(connections).await? {
            let of_slot = connection.in_force.clone();
            in_force = match (in_force, of_slot) {
                (Some(before), Some(of_slot)) => Some(before.common(of_slot)),
                (before, of_slot) => before.or(of_slot),
            };
        }
        Ok(in_force.map(|in_force| self.promised.get_or_init(|| in_force).clone()))
    }

    /// Has spawners that are started from now on live in control groups.
    pub(crate) fn use_groups(&mut self, work_dir: &Path) -> io::Result<()> {
        self.sandbox.as_mut().map_or(Ok(()), |plan| plan.use_groups(work_dir))
    }

    /// Has spawners that are started from now on live in these networks.
    pub(crate) fn use_networks(&mut self, networks: Network, names: Names) {
        self.networks = Some(networks);
        if let Some(plan) = &mut self.sandbox {
            plan.name(names);
        }
    }

    /// Makes no more sandboxes: for a host that cannot, before anything was started.
    pub(crate) fn leave_sandbox(&mut self) {
        (self.sandbox, self.networks) = (None, None);
        self.spawners = self.spawners.iter().map(|_| One::default()).collect();
    }

    /// Starts a process. That its program cannot be run is told as its end.
    pub(crate) async fn spawn(&self, order: &Order<'_>) -> Result<Child, SpawnError> {
        let (slot, one) = self.least()?;
        self.spawn_in(slot, Load::add(&one.load, 1), order).await
    }

    /// Waits until a spawner runs nothing, and keeps it from others. May be dropped.
    pub(crate) async fn reserve(&self) -> Result<Reserved, SpawnError> {
        let (slot, one) = self.least()?;
        let mut load = Load::add(&one.load, ALL_OF_IT);
        load.alone().await;
        Ok(Reserved { slot, load })
    }

    /// Starts a process that has its spawner to itself, and finds us at this door.
    pub(crate) async fn spawn_kept(
        &self,
        reserved: Reserved,
        order: &Order<'_>,
        door: &Door,
    ) -> Result<Child, SpawnError> {
        let Reserved { slot, load } = reserved;
        // Not before the slot is empty: whoever is in that network could open it.
        let open = match door {
            Door::Inside(network) => {
                let networks = self.networks.as_ref().and_then(|networks| networks.slot(slot));
                networks.map(|slot| slot.listen(*network, INSIDE)).transpose().map_err(SpawnError::Door)?
            }
            Door::Outside(_) => None,
        };
        let mut child = self.spawn_in(slot, load, order).await?;
        child.door = open;
        let groups = self.sandbox.as_ref().and_then(|plan| plan.groups(slot));
        child.processes = groups.and_then(|groups| groups.processes());
        Ok(child)
    }

    /// The spawner that has least to do.
    fn least(&self) -> Result<(usize, &One), SpawnError> {
        let load_of = |one: &One| one.load.count.load(Ordering::Relaxed);
        let least = self.spawners.iter().enumerate().min_by_key(|(_, one)| load_of(one));
        least.ok_or_else(|| SpawnError::Spawner(io::Error::other("the runner has no slots")))
    }

    async fn spawn_in(&self, slot: usize, load: Load, order: &Order<'_>) -> Result<Child, SpawnError> {
        let connection = self.connect(slot).await.map_err(SpawnError::Spawner)?;
        let (stdout, stdout_end) = output_pipe().map_err(SpawnError::Pipes)?;
        let (stderr, stderr_end) = output_pipe().map_err(SpawnError::Pipes)?;
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let contents = order.contents.as_ref();
        let frame = message::encode_spawn(id, order.program, order.cwd, order.argv, order.env, contents);
        let ((start, started), (end, ended), (result, left)) =
            (oneshot::channel(), oneshot::channel(), oneshot::channel());
        let listener = Listener { mark: order.mark.to_owned(), start: Some(start), result, end };
        connection
            .expect(id, listener)
            .ok_or_else(|| SpawnError::Spawner(io::ErrorKind::BrokenPipe.into()))?;
        connection.send(&frame, &[stdout_end, stderr_end]).await.map_err(SpawnError::Spawner)?;
        Ok(Child {
            id,
            connection,
            load,
            stdout,
            stderr,
            start: started,
            end: ended,
            memory_limit: contents.map(|contents| contents.limits.memory_bytes),
            gaps: Gaps::default(),
            door: None,
            processes: None,
            result: left,
        })
    }

    /// The connection to a spawner that is alive.
    async fn connect(&self, slot: usize) -> io::Result<Arc<Connection>> {
        let mut current = self.spawners[slot].connection.lock().await;
        if let Some(connection) = current.as_ref().filter(|c| c.is_alive()) {
            return Ok(connection.clone());
        }
        if current.take().is_some() {
            warn!("a spawner died; starting another");
        }
        let networks = self.networks.as_ref().and_then(|networks| networks.slot(slot));
        let setup = self.sandbox.as_ref().map(|plan| (plan.setup(slot), networks));
        let connection = Connection::open(&self.command, setup).await?;
        self.admit(slot, connection.in_force.as_ref())?;
        *current = Some(connection.clone());
        Ok(connection)
    }

    /// Takes a slot into service, or out of it: where less is in force than was promised.
    fn admit(&self, slot: usize, in_force: Option<&InForce>) -> io::Result<()> {
        let (Some(promised), Some(in_force)) = (self.promised.get(), in_force) else { return Ok(()) };
        let one = &self.spawners[slot];
        let lost = in_force.short_of(promised);
        if lost.is_empty() {
            if one.is_out.swap(false, Ordering::Relaxed) {
                one.load.count.fetch_sub(OUT_OF_SERVICE, Ordering::Relaxed);
            }
            return Ok(());
        }
        let mut why = lost.join(", ");
        if let Some(cause) = &in_force.without_groups {
            why += &format!(" ({cause})");
        }
        if !one.is_out.swap(true, Ordering::Relaxed) {
            one.load.count.fetch_add(OUT_OF_SERVICE, Ordering::Relaxed);
            error!("slot {slot} is out of service: made anew, it lacks what its tasks were promised: {why}");
        }
        Err(io::Error::other(format!("slot {slot} lacks what its tasks were promised: {why}")))
    }
}

impl Child {
    /// Whether it starts at once; otherwise it may wait for one before it. A process is no longer counted when we know
    /// that it ended, which is after its spawner knew.
    pub(crate) fn starts_at_once(&self) -> bool {
        self.load.before == 0
    }

    /// Sends a signal to its whole group; withdraws it if it waits; nothing happens if it is over. Signal 0 asks whether
    /// it has started, and withdraws it if not.
    pub(crate) async fn kill(&self, signal: i32) {
        // A failure means that the spawner is gone, and so is the process; `end` tells.
        let _ = self.connection.send(&message::encode_kill(self.id, signal), &[] as &[OwnedFd]).await;
    }

    /// The result that it left in its sandbox, once its end was told.
    pub(crate) fn result(&mut self) -> Option<LeftBehind> {
        self.result.try_recv().ok()
    }
}

impl Connection {
    async fn open(
        command: &SpawnerCommand,
        setup: Option<(Setup, Option<&SlotNetwork>)>,
    ) -> io::Result<Arc<Self>> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        let mut process = Command::new(&command.program)
            .args(&command.args)
            .envs(command.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", command.program.display())))?;
        let ours = std::os::unix::net::UnixStream::from(ours);
        ours.set_nonblocking(true)?;
        std::thread::Builder::new().name("spawner-wait".to_owned()).stack_size(64 * 1024).spawn(
            move || match process.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => error!("the spawner ended: {status}"),
                Err(error) => error!("cannot wait for the spawner: {error}"),
            },
        )?;
        let mut connection = Connection {
            socket: UnixStream::from_std(ours)?,
            in_force: None,
            writing: tokio::sync::Mutex::default(),
            waiting: Mutex::new(Some(HashMap::new())),
        };
        if let Some((setup, networks)) = setup {
            let made = timeout(SETUP_LIMIT, connection.set_up(&setup, networks));
            connection.in_force = Some(made.await??);
        }
        let connection = Arc::new(connection);
        // Weak in effect: the reader holds the connection only while it reads, so that the socket closes, and the
        // spawner ends, when the runner is dropped.
        tokio::spawn(read_words(
            Arc::downgrade(&connection),
            connection.socket.as_fd().try_clone_to_owned()?,
        ));
        Ok(connection)
    }

    /// Has the spawner make its sandbox, before anything else is said to it.
    async fn set_up(&mut self, setup: &Setup, networks: Option<&SlotNetwork>) -> io::Result<InForce> {
        let fds = networks.map(|networks| [networks.egress(), networks.none()]);
        let frame = message::encode_setup(&serde_json::to_vec(setup)?);
        self.send(&frame, fds.as_ref().map_or(&[], |fds| &fds[..])).await?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).await?;
        let length = u32::from_ne_bytes(length) as usize;
        if length > MAX_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut answer = vec![0; length];
        self.socket.read_exact(&mut answer).await?;
        serde_json::from_slice::<Result<InForce, String>>(&answer)?.map_err(io::Error::other)
    }

    fn is_alive(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Registers somebody who wants to know of process `id`; `None`: the spawner is gone.
    fn expect(&self, id: u64, listener: Listener) -> Option<()> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.insert(id, listener);
        Some(())
    }

    /// Passes on what the spawner says; the descriptors that came with it, too. Nobody listens any more if the attempt
    /// was dropped.
    fn tell(&self, id: u64, word: Word, fds: &mut VecDeque<OwnedFd>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = waiting.as_mut() else { return };
        match word {
            Word::Started { since_us } => {
                if let Some(start) = waiting.get_mut(&id).and_then(|listener| listener.start.take()) {
                    let now = Instant::now();
                    let _ = start.send(now.checked_sub(Duration::from_micros(since_us)).unwrap_or(now));
                }
            }
            Word::Ended(end) => {
                let left = match end {
                    End::Exited(Exited { result: Left::File, .. }) => fds.pop_front().map(Ok),
                    End::Exited(Exited { result: Left::Unreadable(errno), .. }) => {
                        Some(Err(Errno::from_raw(errno)))
                    }
                    _ => None,
                };
                if let Some(listener) = waiting.remove(&id) {
                    if let Some(left) = left {
                        let _ = listener.result.send(left);
                    }
                    let _ = listener.end.send(end);
                }
            }
        }
    }

    /// Sends a frame, the descriptors with its first byte.
    async fn send(&self, frame: &[u8], fds: &[impl AsRawFd]) -> io::Result<()> {
        let _turn = self.writing.lock().await;
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let mut sent = 0;
        while sent < frame.len() {
            let rights = [ControlMessage::ScmRights(&raw)];
            let controls = if sent == 0 && !raw.is_empty() { &rights[..] } else { &[] };
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            let parts = [IoSlice::new(&frame[sent..])];
            match sendmsg::<()>(self.socket.as_raw_fd(), &parts, controls, flags, None) {
                Ok(bytes) => sent += bytes,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    // Clears what the runtime remembers of the socket's readiness, then waits for more.
                    let _ = self.socket.try_io(Interest::WRITABLE, || {
                        Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock))
                    });
                    self.socket.writable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Passes on what the spawner says, until the spawner is gone.
async fn read_words(connection: std::sync::Weak<Connection>, socket: OwnedFd) {
    let socket = std::os::unix::net::UnixStream::from(socket);
    let Ok(socket) = UnixStream::from_std(socket) else { return };
    let (mut words, mut length, mut fds) = ([0; 16 * message::RECORD], 0, VecDeque::new());
    loop {
        let received =
            socket.async_io(Interest::READABLE, || receive(&socket, &mut words[length..], &mut fds));
        match received.await {
            Ok(0) | Err(_) => break,
            Ok(read) => length += read,
        }
        let Some(connection) = connection.upgrade() else { return };
        let (records, _) = words[..length].as_chunks::<{ message::RECORD }>();
        let told = size_of_val(records);
        for record in records {
            let (id, word) = message::decode_word(record);
            connection.tell(id, word, &mut fds);
        }
        words.copy_within(told..length, 0);
        length -= told;
    }
    let Some(connection) = connection.upgrade() else { return };
    let mut waiting = connection.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(lost) = waiting.take().filter(|lost| !lost.is_empty()) {
        // Their leaders died with the spawner, what they had started may live. Before anybody is told.
        let marks: Vec<_> = lost.values().map(|listener| listener.mark.as_bytes()).collect();
        if marks.iter().any(|mark| !mark.is_empty()) {
            kill_marked(|entry| !entry.is_empty() && marks.contains(&entry));
        }
    }
}

/// Reads what there is, and the descriptors that came with it.
fn receive(socket: &UnixStream, into: &mut [u8], fds: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 4]);
    let mut buffer = [IoSliceMut::new(into)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut buffer, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            fds.extend(received.into_iter().map(sys::own));
        }
    }
    Ok(message.bytes)
}

impl Drop for Spawner {
    /// Ends the spawners, and with them the groups that they live in.
    fn drop(&mut self) {
        let Some(plan) = &self.sandbox else { return };
        for (slot, one) in self.spawners.iter_mut().enumerate() {
            if one.connection.get_mut().take().is_some()
                && let Some(groups) = plan.groups(slot)
            {
                groups.remove();
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The reader has the socket, too: closing ours would not tell the spawner that we are gone.
        let _ = nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
    }
}

/// A pipe whose end for the process is as a program expects it, and whose other end never makes us wait.
fn output_pipe() -> io::Result<(Outlet, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((Outlet::new(read), write))
}

/// Kills every process that has an entry in its environment which `is_ours`.
///
/// For the time after a spawner or a runner was killed.
pub(crate) fn kill_marked(is_ours: impl Fn(&[u8]) -> bool) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environment.split(|&b| b == 0).any(&is_ours) {
            warn!("process {pid} outlived its attempt; killing it");
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        }
    }
}
