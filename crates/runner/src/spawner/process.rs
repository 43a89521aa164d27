//! The spawner's side: one thread that starts, signals and buries one process after another.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::init;
use super::message::{self, End, Exited, Inside, Left, Memory, Request, Step, Word};
use super::slot::{self, Slot};
use super::sys::fork::{self, Forked, Told};
use super::sys::{self, Arguments, Launch, Stack, Waited};
use crate::sandbox::cgroup::Gaps;

/// Most files a task may have open, if the host's own limit is not lower.
const OPEN_FILES: u64 = 65_536;

/// Room for requests, a step: most are far smaller.
const ROOM: usize = 64 * 1024;

/// How long the dead are waited for when everything ends. They are dead already; this is for the kernel to notice.
const LAST_RITES: Duration = Duration::from_secs(2);

/// Serves until the runner closes its end.
pub(super) fn serve() -> io::Result<()> {
    let mut spawner = Spawner::new()?;
    let served = spawner.run();
    // Also after an error: nothing must outlive us.
    spawner.end_all();
    served
}

struct Spawner {
    socket: OwnedFd,
    deaths: SignalFd,
    null: File,
    /// Our children as the kernel lists them, if it does.
    children: Option<File>,
    stack: Stack,
    /// The sandbox that we live in, and our tasks with us.
    slot: Option<Slot>,
    /// The process that runs.
    task: Option<Task>,
    /// Requests that wait for it to end: so that the next process starts then, not a round trip later.
    waiting: VecDeque<Waiting>,
    /// Answers that were not sent yet, and the descriptor that goes with the last of them.
    unsent: Vec<u8>,
    result: Option<OwnedFd>,
    /// What was read, as far as `unread` goes, and room for more. Never cleared: the first process of a task is a copy of
    /// us, so each page that we write to is copied anew for each task.
    buffer: Vec<u8>,
    unread: usize,
    fds: VecDeque<OwnedFd>,
}

/// A request to start a process, and the ends of its pipes.
struct Waiting {
    id: u64,
    frame: Vec<u8>,
    output: [OwnedFd; 2],
}

/// A process that was started and has not been buried with all it left.
struct Task {
    id: u64,
    leader: Pid,
    started: Instant,
    /// How the leader ended, once it has.
    end: Option<End>,
}

impl Spawner {
    fn new() -> io::Result<Self> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        sys::reset_signals();
        SigSet::all().thread_block()?;
        // For all our tasks: none has a terminal, and a session each would cost each a scheduling group of the
        // kernel's, made and removed. An error means that we lead one already.
        let _ = nix::unistd::setsid();
        let deaths = SignalFd::with_flags(
            &SigSet::from(Signal::SIGCHLD),
            nix::sys::signalfd::SfdFlags::SFD_CLOEXEC | nix::sys::signalfd::SfdFlags::SFD_NONBLOCK,
        )?;
        nix::sys::prctl::set_child_subreaper(true)?;
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        // Limits are inherited, so they are set once, here, and only ever lowered.
        // Not 0, which a program that the host pipes dumps to would not mind: 1 is the kernel's word for none at all.
        // Who may have none at most keeps it so.
        let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
        setrlimit(Resource::RLIMIT_CORE, most.min(1), most.min(1))?;
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(OPEN_FILES), hard.min(OPEN_FILES))?;
        let me = std::process::id();
        Ok(Self {
            socket,
            deaths,
            null: File::open("/dev/null")?,
            children: File::open(format!("/proc/{me}/task/{me}/children")).ok(),
            stack: Stack::new(),
            slot: None,
            task: None,
            waiting: VecDeque::new(),
            unsent: Vec::new(),
            result: None,
            buffer: vec![0; ROOM],
            unread: 0,
            fds: VecDeque::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let mut ready = [
                PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [death, word] = ready.map(|fd| fd.any().unwrap_or(false));
            if death {
                while self.deaths.read_signal()?.is_some() {}
                self.bury()?;
            }
            if word && !self.listen()? {
                return Ok(());
            }
        }
    }

    /// Reads and does what the runner asks for; `false` once it has closed its end.
    fn listen(&mut self) -> io::Result<bool> {
        let start = self.unread;
        if self.buffer.len() == start {
            self.buffer.resize(start + ROOM, 0);
        }
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 16]);
        let mut room = [IoSliceMut::new(&mut self.buffer[start..])];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut room, Some(&mut space), flags);
        let read = match message {
            Ok(message) => {
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(fds) = control {
                        self.fds.extend(fds.into_iter().map(sys::own));
                    }
                }
                message.bytes
            }
            Err(Errno::EINTR) => return Ok(true),
            Err(Errno::ECONNRESET) => 0,
            Err(error) => return Err(error.into()),
        };
        if read == 0 {
            return Ok(false);
        }
        let end = start + read;
        let mut bytes = std::mem::take(&mut self.buffer);
        let mut at = 0;
        while let Some((frame, length)) = message::frame(&bytes[at..end]).map_err(garbled)? {
            match message::decode(frame).map_err(garbled)? {
                request @ Request::Spawn { .. } => self.accept(&request, frame)?,
                Request::Kill { id, signal } => self.kill(id, signal),
                Request::Setup(json) => {
                    if !self.enter_sandbox(json)? {
                        return Ok(false);
                    }
                }
            }
            at += length;
        }
        self.tell()?;
        bytes.copy_within(at..end, 0);
        self.unread = end - at;
        if bytes.len() > ROOM {
            bytes.truncate(self.unread.max(ROOM));
            bytes.shrink_to_fit();
        }
        self.buffer = bytes;
        Ok(true)
    }

    /// Makes the sandbox and says what came of it; `false`: it cannot be made.
    fn enter_sandbox(&mut self, json: &[u8]) -> io::Result<bool> {
        let networks = (self.fds.pop_front(), self.fds.pop_front());
        let made = Slot::enter(&serde_json::from_slice(json)?, networks);
        let (slot, answer) = match made {
            Ok((slot, in_force)) => (Some(slot), Ok(in_force)),
            Err(why) => (None, Err(why)),
        };
        self.unsent = message::encode_answer(&serde_json::to_vec(&answer)?);
        self.tell()?;
        self.slot = slot;
        Ok(self.slot.is_some())
    }

    /// Starts a process, or lets it wait.
    fn accept(&mut self, request: &Request<'_>, frame: &[u8]) -> io::Result<()> {
        let (Some(stdout), Some(stderr)) = (self.fds.pop_front(), self.fds.pop_front()) else {
            return Err(garbled(message::Garbled));
        };
        let output = [stdout, stderr];
        match request {
            Request::Spawn { id, .. } if self.task.is_some() => {
                self.waiting.push_back(Waiting { id: *id, frame: frame.to_vec(), output });
            }
            request => self.spawn(request, &output),
        }
        Ok(())
    }

    /// Starts the next process that waits, unless one runs.
    fn start_waiting(&mut self) -> io::Result<()> {
        while self.task.is_none()
            && let Some(next) = self.waiting.pop_front()
        {
            self.say(next.id, Word::Started { since_us: 0 });
            self.spawn(&message::decode(&next.frame).map_err(garbled)?, &next.output);
        }
        Ok(())
    }

    fn spawn(&mut self, request: &Request<'_>, [stdout, stderr]: &[OwnedFd; 2]) {
        let Request::Spawn { id, program, cwd, argv, env, inside } = request else { return };
        let launch = Launch {
            program,
            arguments: &Arguments::new(argv, env),
            env,
            cwd,
            stdin: self.null.as_fd(),
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            confinement: None,
        };
        let started = Instant::now();
        let spawned = match (&mut self.slot, inside) {
            (None, None) => sys::spawn(&launch, &mut self.stack),
            (Some(slot), Some(inside)) => spawn_inside(slot, &launch, inside, &mut self.stack),
            // The runner made the request for another spawner.
            _ => Err((Step::Prepare, Errno::EINVAL)),
        };
        match spawned {
            Ok(leader) => {
                self.task = Some(Task { id: *id, leader, started, end: None });
            }
            Err((step, errno)) => self.say(*id, Word::Ended(End::Failed { step, errno: errno as i32 })),
        }
    }

    fn kill(&mut self, id: u64, signal: i32) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.id == id) {
            self.waiting.remove(at);
            self.say(id, Word::Ended(End::Withdrawn));
        } else if let Some(task) = self.task.as_ref().filter(|task| task.id == id) {
            match Signal::try_from(signal) {
                // The first process of a sandbox passes it on, or takes all with it.
                Ok(signal) if self.slot.is_some() => drop(kill(task.leader, signal)),
                // The leader of a group may leave it for another of its session.
                Ok(signal) => drop(killpg(task.leader, signal).or_else(|_| kill(task.leader, signal))),
                Err(_) => self.say(id, Word::Started { since_us: micros(task.started) }),
            }
        }
    }

    /// Takes the dead off the process table; if the task is over with all it left, tells of it and starts the next.
    fn bury(&mut self) -> io::Result<()> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Ok(dead) = waitid(Id::All, flags) {
            let Some(pid) = dead.pid() else { break };
            let task = self.task.as_mut().filter(|task| task.leader == pid);
            if task.is_some() && self.slot.is_none() {
                // Before it is buried: until then nobody else can get its number.
                let _ = killpg(pid, Signal::SIGKILL);
            }
            let Some(waited) = sys::wait(pid, 0) else { break };
            if let Some(task) = task {
                task.end = Some(match &mut self.slot {
                    None => exited(task, &waited),
                    Some(slot) => ended_inside(task, &waited, slot),
                });
            }
        }
        if let Some(Task { id, leader, end: Some(end), .. }) = self.task
            && (self.slot.is_some() || self.leaves_nothing(leader))
        {
            self.task = None;
            if let End::Exited(Exited { result: Left::File, .. }) = end {
                // A descriptor goes with the last of the answers: those before it must be on their way.
                self.tell()?;
                self.result = self.slot.as_ref().and_then(Slot::take_result);
            }
            self.say(id, Word::Ended(end));
            if self.result.is_some() {
                self.tell()?;
            }
            self.start_waiting()?;
        }
        self.tell()
    }

    /// Whether nothing of the task is left whose leader was `leader` and is dead. What is left is killed; its death
    /// wakes us again.
    fn leaves_nothing(&self, leader: Pid) -> bool {
        let group_is_empty = killpg(leader, Signal::SIGKILL) == Err(Errno::ESRCH);
        let strays = self.children();
        for &stray in &strays {
            let _ = kill(stray, Signal::SIGKILL);
        }
        group_is_empty && strays.is_empty()
    }

    /// Our children, as far as the kernel lists them. Once the leader is dead they are processes that left its group,
    /// and that fell to us when their parents died.
    fn children(&self) -> Vec<Pid> {
        let mut buffer = [0; 4096];
        let Some(Ok(read)) = self.children.as_ref().map(|list| list.read_at(&mut buffer, 0)) else {
            return Vec::new();
        };
        // The list may be longer than the buffer: a number that is cut off names somebody else.
        let whole = buffer[..read].iter().rposition(|&b| b == b' ').unwrap_or(0);
        let pids = buffer[..whole].split(|&b| b == b' ');
        pids.filter_map(|pid| std::str::from_utf8(pid).ok()?.parse().ok()).map(Pid::from_raw).collect()
    }

    fn say(&mut self, id: u64, word: Word) {
        self.unsent.extend_from_slice(&message::encode_word(id, word));
    }

    /// Sends what is to be said, all at once: each time wakes the runner.
    fn tell(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            let fds: Vec<_> = self.result.iter().map(AsRawFd::as_raw_fd).collect();
            let rights = [ControlMessage::ScmRights(&fds)];
            let rights = if fds.is_empty() { &[][..] } else { &rights };
            let parts = [IoSlice::new(&self.unsent[sent..])];
            match sendmsg::<()>(self.socket.as_raw_fd(), &parts, rights, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(bytes) => {
                    sent += bytes;
                    self.result = None;
                }
                Err(Errno::EINTR) => {}
                // The runner is gone: reading will say so, and everything is ended then.
                Err(Errno::EPIPE | Errno::ECONNRESET) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.clear();
        Ok(())
    }

    /// Ends everything that was started, when nobody is left to tell.
    fn end_all(&mut self) {
        self.waiting.clear();
        if let Some(task) = &self.task {
            let _ = if self.slot.is_some() {
                kill(task.leader, Signal::SIGKILL)
            } else {
                killpg(task.leader, Signal::SIGKILL).or_else(|_| kill(task.leader, Signal::SIGKILL))
            };
        }
        // The dead wake us; the time is for those that the kernel has not yet handed to us.
        let deadline = Instant::now() + LAST_RITES;
        while self.task.is_some() && Instant::now() < deadline {
            let _ = poll(&mut [PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN)], PollTimeout::from(50u8));
            while matches!(self.deaths.read_signal(), Ok(Some(_))) {}
            // Nobody listens, so telling may fail: that must not keep us from the rest.
            let _ = self.bury();
        }
    }
}

/// Starts a process in namespaces of its own. What of it fails, the copy of us that starts it tells when it ends.
fn spawn_inside(
    slot: &mut Slot,
    launch: &Launch<'_>,
    inside: &Inside<'_>,
    stack: &mut Stack,
) -> Result<Pid, (Step, Errno)> {
    const FRESH: i32 = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
    slot.show(inside.package)?;
    slot.show_image(&inside.image)?;
    slot.forget();
    slot.gaps = slot.groups.as_mut().map_or(Gaps::ALL, |groups| groups.apply(&inside.limits));
    let group = slot.groups.as_ref().and_then(|groups| groups.task_group());
    let storage = init::storage(&inside.limits);
    match fork::fork_into(FRESH, group).map_err(|errno| (Step::Fork, errno))? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => init::live(slot, launch, inside, &storage, stack),
    }
}

/// How a task ended whose first process told of it, unless it was killed before it could.
fn ended_inside(task: &Task, waited: &Waited, slot: &mut Slot) -> End {
    let mut memory = Memory::default();
    if let Some(groups) = &mut slot.groups {
        // Its namespace is gone, and everything with it. This holds also if that did not.
        groups.clear_but(nix::unistd::getpid(), slot::PATIENCE);
        memory.oom_kills = u32::try_from(groups.oom_kills()).unwrap_or(u32::MAX);
        memory.oom_peak_bytes = if memory.oom_kills > 0 { groups.peak_bytes() } else { 0 };
    }
    let (told, gaps) = (slot.told, slot.gaps);
    if let Some((step, errno)) = told.failure() {
        let step = Step::ALL.get(step).copied().unwrap_or(Step::Prepare);
        return End::Failed { step, errno };
    }
    match told.ending() {
        None => match exited(task, waited) {
            End::Exited(exited) => End::Exited(Exited { memory, gaps, ..exited }),
            end => end,
        },
        Some(ending) => End::Exited(Exited {
            status: ending.status,
            wall_us: micros(task.started),
            user_us: ending.user_us,
            system_us: ending.system_us,
            peak_memory_bytes: ending.peak_memory_bytes,
            result: match ending.result {
                0 => Left::Nothing,
                Told::SENT => Left::File,
                errno => Left::Unreadable(errno),
            },
            memory,
            gaps,
        }),
    }
}

fn exited(task: &Task, waited: &Waited) -> End {
    End::Exited(Exited {
        status: waited.status,
        wall_us: micros(task.started),
        user_us: waited.user_us,
        system_us: waited.system_us,
        peak_memory_bytes: waited.peak_memory_bytes,
        result: Left::Nothing,
        memory: Memory::default(),
        gaps: Gaps::ALL,
    })
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn garbled(_: message::Garbled) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the runner speaks another protocol")
}
