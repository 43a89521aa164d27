//! The first process of a task's namespaces: makes what is the task's own, starts it, passes on what it is told, and
//! buries whatever dies. When it ends, the kernel ends all that is left.
//!
//! Where tasks have a user of their own it stays who it was, and becomes that user only for files; so no task can do
//! anything to it, and it may live on for the next task if the one before has left nothing.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, IoSliceMut, Write as _};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, setfsgid, setfsuid, setgroups};

use windlass_model::limits::Network;

use super::image;
use super::kept::MAX_REQUEST;
use super::leftovers::Leftovers;
use super::message::{self, Inside, Request, Step, View};
use super::slot::Slot;
use super::sys::fork::{self, Told};
use super::sys::{self, Launch, Stack, Waited};
use crate::plan::RESULT_FILE;
use crate::sandbox::capabilities;
use crate::sandbox::confinement::Walls;
use crate::sandbox::network;
use crate::sandbox::root::{CODE, HOST_HOSTS, HOST_RESOLV, TASK, WRITABLE};

/// Files that are there before the task is: folders, payload, configuration.
const FIRST_FILES: u64 = 16;

/// Least bytes that are written for each file: so many files a task may have.
const BYTES_PER_FILE: u64 = 4096;

/// Everyone but us.
const ALL: Pid = Pid::from_raw(-1);

/// Lives the life of the first process. What comes of it is in `slot.told`.
pub(super) fn live(
    slot: &Slot,
    socket: &OwnedFd,
    launch: &Launch<'_>,
    inside: &Inside<'_>,
    stack: &mut Stack,
) -> ! {
    let lived = Init::make(slot, socket, inside).and_then(|init| init.serve(launch, inside, stack));
    if let Err((step, errno)) = lived {
        slot.told.errno.store(errno as i32, Relaxed);
        slot.told.step.store(step as i32 + 1, Relaxed);
    }
    fork::exit(i32::from(lived.is_err()))
}

/// What the first process has made, and starts tasks by.
struct Init<'a> {
    slot: &'a Slot,
    /// Leads to the spawner.
    socket: &'a OwnedFd,
    walls: Walls<'a>,
    open_files: Option<(u64, u64)>,
    /// None: there is to be one task only.
    leftovers: Option<Leftovers>,
}

/// What a task's processes have used.
#[derive(Default)]
struct Used {
    user_us: u64,
    system_us: u64,
    peak_memory_bytes: u64,
}

impl<'a> Init<'a> {
    fn make(slot: &'a Slot, socket: &'a OwnedFd, inside: &Inside<'_>) -> Result<Self, (Step, Errno)> {
        let at = |step: Step| move |errno: Errno| (step, errno);
        let prepare = at(Step::Prepare);
        fork::die_with_parent().map_err(prepare)?;
        // The spawner may have died before that; by its number it cannot be known from in here.
        let mut spawner = [PollFd::new(slot.spawner.as_fd(), PollFlags::POLLIN)];
        if poll(&mut spawner, PollTimeout::ZERO) != Ok(0) {
            return Err((Step::Prepare, Errno::ESRCH));
        }
        let leftovers = mounts(slot, inside).map_err(at(Step::Mount))?;
        // If memory runs out, tasks go first, not who starts them.
        std::fs::write("/proc/self/oom_score_adj", "1000").map_err(errno).map_err(prepare)?;
        if let Some(networks) = &slot.networks {
            let network = match inside.network {
                Network::Egress => None,
                Network::None => Some(&networks.none),
                Network::Host => Some(&networks.host),
            };
            if let Some(network) = network {
                setns(network, CloneFlags::CLONE_NEWNET).map_err(prepare)?;
            }
        } else if let Network::None = inside.network {
            // Its own, for want of one that is there already.
            network::enter_empty().map_err(errno).map_err(prepare)?;
        }
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(prepare)?;
        let most: u64 = inside.limits.open_files.into();
        let open_files = (most < hard).then_some((soft.min(most), most));
        if let Some(user) = slot.user {
            setgroups(&[]).map_err(prepare)?;
            // What it makes is the task's, and what the task cannot open it cannot either.
            setfsgid(Gid::from_raw(user));
            setfsuid(Uid::from_raw(user));
            capabilities::drop_all_but_starting().map_err(prepare)?;
            // The change of user has taken it back.
            fork::die_with_parent().map_err(prepare)?;
        }
        fork::hide().map_err(prepare)?;
        let walls = slot.confinement.within(c"/", &WRITABLE).map_err(at(Step::Confine))?;
        // From here on we make no call that a task may not make; and the task inherits that.
        walls.apply_filter().map_err(at(Step::Confine))?;
        Ok(Self { slot, socket, walls, open_files, leftovers })
    }

    /// Runs the task that it was made for, and then one after another, until something is left of one.
    fn serve(
        &self,
        launch: &Launch<'_>,
        inside: &Inside<'_>,
        stack: &mut Stack,
    ) -> Result<(), (Step, Errno)> {
        // Copies of the spawner's, which closes its own.
        let close = |fd: BorrowedFd<'_>| {
            let _ = nix::unistd::close(fd.as_raw_fd());
        };
        let main = self.start(launch, inside, stack)?;
        close(launch.stdout);
        close(launch.stderr);
        let mut request = Vec::new();
        let mut stays = self.follow(main);
        while stays {
            request.resize(MAX_REQUEST, 0);
            // An error means that the spawner is gone.
            let Ok((length, [stdout, stderr])) = receive(self.socket, &mut request) else { break };
            let garbled = |_| (Step::Prepare, Errno::EBADMSG);
            let Request::Spawn { program, cwd, argv, env, inside: Some(inside), .. } =
                message::decode(&request[..length]).map_err(garbled)?
            else {
                return Err((Step::Prepare, Errno::EBADMSG));
            };
            let (argv, env) = (&argv[..], &env[..]);
            let (stdout, stderr) = (stdout.as_fd(), stderr.as_fd());
            let next = Launch { program, argv, env, cwd, stdout, stderr, ..*launch };
            let main = self.start(&next, &inside, stack)?;
            stays = self.follow(main);
        }
        Ok(())
    }

    fn start(
        &self,
        launch: &Launch<'_>,
        inside: &Inside<'_>,
        stack: &mut Stack,
    ) -> Result<Pid, (Step, Errno)> {
        fill(inside).map_err(|error| (Step::Fill, errno(error)))?;
        let (user, open_files, walls) = (self.slot.user, self.open_files, Some(&self.walls));
        let launch = &Launch { user, open_files, walls, ..*launch };
        if inside.image.is_empty() {
            return sys::spawn(launch, stack);
        }
        let program = image::find(launch.program, launch.env, launch.cwd);
        let program = program.map_err(|errno| (Step::Exec, errno))?;
        sys::spawn(&Launch { program: &program, ..*launch }, stack)
    }

    /// Follows a task to its end and tells of it; whether another may come after it.
    fn follow(&self, main: Pid) -> bool {
        let mut used = Used::default();
        // An error means that nobody can be waited for: whatever there is ends with us.
        let Ok((status, is_told)) = wait_for(main, &mut used) else { return false };
        let leftovers = self.leftovers.as_ref().filter(|_| !is_told && end_all(&mut used));
        let result = take_result();
        let Told { user_us, system_us, peak_memory_bytes, .. } = self.slot.told;
        user_us.store(used.user_us, Relaxed);
        system_us.store(used.system_us, Relaxed);
        peak_memory_bytes.store(used.peak_memory_bytes, Relaxed);
        let left = match &result {
            Ok(None) => 0,
            Ok(Some(_)) => Told::SENT,
            Err(errno) => *errno as i32,
        };
        self.slot.told.result.store(left, Relaxed);
        self.slot.told.status.store(status, Relaxed);
        self.slot.told.has_ended.store(1, Relaxed);
        let stays = leftovers.is_some_and(Leftovers::remove);
        self.slot.told.stays.store(i32::from(stays), Relaxed);
        let result = result.ok().flatten();
        if stays || result.is_some() {
            let fds: Vec<_> = result.iter().map(AsRawFd::as_raw_fd).collect();
            let rights = [ControlMessage::ScmRights(&fds)];
            let rights = if fds.is_empty() { &[][..] } else { &rights };
            let byte = [io::IoSlice::new(&[1])];
            if let Err(errno) =
                sendmsg::<()>(self.socket.as_raw_fd(), &byte, rights, MsgFlags::MSG_DONTWAIT, None)
            {
                self.slot.told.stays.store(0, Relaxed);
                if !fds.is_empty() {
                    self.slot.told.result.store(errno as i32, Relaxed);
                }
                return false;
            }
        }
        stays
    }
}

/// The next request and the ends of its pipes.
fn receive(socket: &OwnedFd, into: &mut [u8]) -> Result<(usize, [OwnedFd; 2]), Errno> {
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 2]);
    let mut buffer = [IoSliceMut::new(into)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut buffer, Some(&mut space), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            fds.extend(received.into_iter().map(sys::own));
        }
    }
    Ok((message.bytes, fds.try_into().map_err(|_| Errno::EBADMSG)?))
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over errors")]
fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Mounts what is the task's own: one file system in memory for all that it writes, so that one limit holds for all,
/// and the list of its processes. Returns what may be left there if another task is to have it afterwards.
fn mounts(slot: &Slot, inside: &Inside<'_>) -> Result<Option<Leftovers>, Errno> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let disk = inside.limits.disk_bytes;
    let options = format!("mode=755,size={disk},nr_inodes={}", disk / BYTES_PER_FILE + FIRST_FILES);
    mount(Some("task"), "/tmp", Some("tmpfs"), flags, Some(&*options))?;
    let folder = |path: &str, mode: u32| std::fs::DirBuilder::new().mode(mode).create(path).map_err(errno);
    // Our mask of modes would take the right to write from others; it is the task's, too, so it comes back.
    let mask = umask(Mode::empty());
    folder("/tmp/task", 0o700)?;
    folder("/tmp/shm", 0o1777)?;
    folder("/tmp/tmp", 0o1777)?;
    umask(mask);
    if let Some(user) = slot.user {
        nix::unistd::chown("/tmp/task", Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))?;
    }
    // Where it is the same user, it could change us.
    let may_stay = slot.user.is_some() && !inside.kin.is_empty() && inside.image.is_empty();
    // An error means that this kernel has no queues to look at: then each task has its own.
    let leftovers = may_stay.then(Leftovers::watch).and_then(Result::ok);
    // Where the task finds a path: in the image, if it has one.
    let is_image = !inside.image.is_empty();
    let at = |path: &str| if is_image { image::inside(path) } else { path.to_owned() };
    let bind =
        |from, to: &str| mount(Some(from), at(to).as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>);
    if let View::Overlay = inside.view {
        folder("/tmp/work", 0o700)?;
        let options = format!("lowerdir={CODE},upperdir=/tmp/task,workdir=/tmp/work");
        mount(Some("task"), at(TASK).as_str(), Some("overlay"), flags, Some(options.as_str()))?;
    } else {
        bind("/tmp/task", TASK)?;
    }
    bind("/tmp/shm", "/dev/shm")?;
    if let Network::Host = inside.network
        && slot.networks.is_some()
    {
        // What is there otherwise leads to services that only the slot's own network has.
        bind(HOST_HOSTS, "/etc/hosts")?;
        bind(HOST_RESOLV, "/etc/resolv.conf")?;
    }
    // Over the file system's own root, which is out of reach from here on.
    bind("/tmp/tmp", "/tmp")?;
    let flags = flags | MsFlags::MS_NOEXEC;
    mount(Some("proc"), at("/proc").as_str(), Some("proc"), flags, Some("hidepid=2"))?;
    if is_image {
        if !inside.package.is_empty() {
            image::bind_code()?;
        }
        image::move_in()?;
    }
    Ok(leftovers)
}

/// Puts the task's files into its directory, as its user.
fn fill(inside: &Inside<'_>) -> io::Result<()> {
    let (code, task) = (Path::new(CODE), Path::new(TASK));
    if let View::Copy(files) = &inside.view {
        let mut folder = None;
        for (name, mode) in files {
            let name = Path::new(text(name)?);
            // Sorted by name, so a folder is made once for all its files.
            let parent = name.parent().filter(|parent| !parent.as_os_str().is_empty());
            if parent.is_some() && parent != folder {
                std::fs::create_dir_all(task.join(name).parent().unwrap_or(task))?;
                folder = parent;
            }
            let mut target =
                File::options().write(true).create_new(true).mode(*mode).open(task.join(name))?;
            io::copy(&mut File::open(code.join(name))?, &mut target)?;
        }
    } else if let Some(name) = inside.executable {
        std::fs::set_permissions(task.join(text(name)?), std::fs::Permissions::from_mode(0o755))?;
    }
    for (name, content) in &inside.files {
        let path = task.join(text(name)?);
        if let View::Overlay = inside.view {
            clear(&path)?;
        }
        File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)?;
    }
    if let View::Overlay = inside.view {
        clear(&task.join(RESULT_FILE))?;
    }
    Ok(())
}

/// Takes away what a package brings by a name that is ours, a folder even.
fn clear(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn text(name: &CStr) -> io::Result<&str> {
    name.to_str().map_err(io::Error::other)
}

/// Buries the dead and passes on what we are told from outside, until the main process has ended: how it did, and
/// whether we were told anything.
fn wait_for(main: Pid, used: &mut Used) -> Result<(i32, bool), Errno> {
    let signals = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM]);
    let mut is_told = false;
    loop {
        let signalled = match fork::wait_for_signal(&signals) {
            // Whoever stops and continues us from outside, such as a freezer, has nothing to say.
            Err(Errno::EINTR) => continue,
            signalled => signalled?,
        };
        if signalled.signal == libc::SIGCHLD {
            if let Some(status) = bury(main, used) {
                return Ok((status, is_told));
            }
        } else if signalled.is_from_outside {
            is_told = true;
            // An error means that nothing of the group is left.
            let _ = killpg(main, Signal::SIGTERM);
        }
    }
}

/// Takes the dead off the process table; the status of the main process if it is among them.
fn bury(main: Pid, used: &mut Used) -> Option<i32> {
    let mut status = None;
    while let Some((pid, how)) = sys::wait_any(libc::WNOHANG) {
        used.add(&how);
        if pid == main {
            status = Some(how.status);
        }
    }
    status
}

/// Ends all that the main process has left; whether there is nobody any more. The kernel signals all at once, so that
/// nobody can be born meanwhile, and hands us the children of those that die.
fn end_all(used: &mut Used) -> bool {
    while kill(ALL, Signal::SIGKILL).is_ok() {
        let Some((_, how)) = sys::wait_any(0) else { return false };
        used.add(&how);
    }
    sys::wait_any(libc::WNOHANG).is_none() && kill(ALL, None) == Err(Errno::ESRCH)
}

impl Used {
    /// What a child used that is dead, and the children that it had waited for.
    fn add(&mut self, waited: &Waited) {
        self.user_us += waited.user_us;
        self.system_us += waited.system_us;
        self.peak_memory_bytes = self.peak_memory_bytes.max(waited.peak_memory_bytes);
    }
}

/// The result that the task has left; none if there is none.
fn take_result() -> Result<Option<File>, Errno> {
    // Without following links or waiting for a pipe's other end: the worker made the file.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let path = Path::new(TASK).join(RESULT_FILE);
    match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(errno(error)),
    }
}
