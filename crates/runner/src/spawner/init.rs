//! The first process of a task's namespaces: makes what is the task's own, starts it, passes on what it is told, and
//! buries whatever dies. When it ends, the kernel ends all that is left.
//!
//! It is a copy of the spawner, so each page that it writes is copied and each that it runs is looked up anew, at some
//! microseconds a page. On the way of every task it therefore allocates nothing, formats nothing and calls the kernel
//! directly: what can be made ready is made by the spawner.

use std::borrow::Cow;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, chdir, chown, fchown, mkdir, read, write};

use windlass_model::limits::{Limits, Network};

use super::image;
use super::message::{Inside, Step, View};
use super::slot::Slot;
use super::sys::fork::{self, Told};
use super::sys::{self, Launch, Stack};
use crate::plan::RESULT_FILE;
use crate::sandbox::network;
use crate::sandbox::root::{CODE, HOST_HOSTS, HOST_RESOLV, TASK};

/// Files that are there before the task is: folders, payload, configuration.
const FIRST_FILES: u64 = 16;

/// Least bytes that are written for each file: so many files a task may have.
const BYTES_PER_FILE: u64 = 4096;

/// How the file system in memory is mounted that holds all that a task with these limits writes.
pub(super) fn storage(limits: &Limits) -> String {
    let disk = limits.disk_bytes;
    format!("mode=755,size={disk},nr_inodes={}", disk / BYTES_PER_FILE + FIRST_FILES)
}

/// Lives the life of the first process. What comes of it is in `slot.told`. The options of [`storage`] are those for the
/// task's limits.
pub(super) fn live(
    slot: &Slot,
    launch: &Launch<'_>,
    inside: &Inside<'_>,
    storage: &str,
    stack: &mut Stack,
) -> ! {
    let launch = &Launch { confinement: Some(&slot.confinement), ..*launch };
    let code = match prepare(slot, launch, inside, storage).and_then(|()| start(launch, inside, stack)) {
        Ok(main) => {
            close(launch.stdout);
            close(launch.stderr);
            serve(slot, main)
        }
        Err((step, errno)) => {
            slot.told.errno.store(errno as i32, Relaxed);
            slot.told.step.store(step as i32 + 1, Relaxed);
            Ok(())
        }
    };
    fork::exit(i32::from(code.is_err()))
}

fn start(launch: &Launch<'_>, inside: &Inside<'_>, stack: &mut Stack) -> Result<Pid, (Step, Errno)> {
    if inside.image.is_empty() {
        return sys::spawn(launch, stack);
    }
    let program = image::find(launch.program, launch.env, launch.cwd);
    let program = program.map_err(|errno| (Step::Exec, errno))?;
    sys::spawn(&Launch { program: &program, ..*launch }, stack)
}

fn close(fd: BorrowedFd<'_>) {
    // Ours alone: this is a copy of the process that will close it, too.
    let _ = nix::unistd::close(fd.as_raw_fd());
}

fn prepare(
    slot: &Slot,
    launch: &Launch<'_>,
    inside: &Inside<'_>,
    storage: &str,
) -> Result<(), (Step, Errno)> {
    let at = |step: Step| move |errno: Errno| (step, errno);
    fork::die_with_parent().map_err(at(Step::Prepare))?;
    // The spawner may have died before that; by its number it cannot be known from in here.
    let mut spawner = [PollFd::new(slot.spawner.as_fd(), PollFlags::POLLIN)];
    if poll(&mut spawner, PollTimeout::ZERO) != Ok(0) {
        return Err((Step::Prepare, Errno::ESRCH));
    }
    mounts(slot, inside, storage).map_err(at(Step::Mount))?;
    go_first().map_err(at(Step::Prepare))?;
    if let Some(networks) = &slot.networks {
        let network = match inside.network {
            Network::Egress => None,
            Network::None => Some(&networks.none),
            Network::Host => Some(&networks.host),
        };
        if let Some(network) = network {
            setns(network, CloneFlags::CLONE_NEWNET).map_err(at(Step::Prepare))?;
        }
    } else if let Network::None = inside.network {
        // Its own, for want of one that is there already.
        network::enter_empty().map_err(errno).map_err(at(Step::Prepare))?;
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(at(Step::Prepare))?;
    let most = inside.limits.open_files.into();
    if most < hard {
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(most), most).map_err(at(Step::Prepare))?;
    }
    if let Some(user) = slot.user {
        // So that `/dev/stdout` can be opened: a pipe is its maker's.
        for pipe in [launch.stdout, launch.stderr] {
            fchown(pipe, Some(Uid::from_raw(user)), Some(Gid::from_raw(user))).map_err(at(Step::Prepare))?;
        }
        fork::become_user(user, user).map_err(at(Step::Prepare))?;
        fork::die_with_parent().map_err(at(Step::Prepare))?;
    }
    fork::hide().map_err(at(Step::Prepare))?;
    chdir(TASK).map_err(at(Step::Enter))?;
    fill(inside).map_err(at(Step::Fill))
}

/// If memory runs out, tasks go first, not who starts them.
fn go_first() -> Result<(), Errno> {
    let score = open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write_all(&score, b"1000")
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over errors")]
fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Mounts what is the task's own: one file system in memory for all that it writes, so that one limit holds for all,
/// and the list of its processes.
fn mounts(slot: &Slot, inside: &Inside<'_>, storage: &str) -> Result<(), Errno> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some(c"task"), c"/tmp", Some(c"tmpfs"), flags, Some(storage))?;
    let (private, public) = (Mode::S_IRWXU, Mode::from_bits_retain(0o1777));
    // Our mask of modes would take the right to write from others; it is the task's, too, so it comes back.
    let mask = umask(Mode::empty());
    mkdir(c"/tmp/task", private)?;
    mkdir(c"/tmp/shm", public)?;
    mkdir(c"/tmp/tmp", public)?;
    umask(mask);
    if let Some(user) = slot.user {
        chown(c"/tmp/task", Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))?;
    }
    // Where the task finds a path: in the image, if it has one.
    let is_image = !inside.image.is_empty();
    let at = |path: &'static str| -> Cow<'_, str> {
        if is_image { image::inside(path).into() } else { path.into() }
    };
    let bind = |from, to| mount(Some(from), at(to).as_ref(), None::<&str>, MsFlags::MS_BIND, None::<&str>);
    if let View::Overlay = inside.view {
        mkdir(c"/tmp/work", private)?;
        let options = format!("lowerdir={CODE},upperdir=/tmp/task,workdir=/tmp/work");
        mount(Some("task"), at(TASK).as_ref(), Some("overlay"), flags, Some(options.as_str()))?;
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
    mount(Some("proc"), at("/proc").as_ref(), Some("proc"), flags, Some("hidepid=2"))?;
    if is_image {
        if !inside.package.is_empty() {
            image::bind_code()?;
        }
        image::move_in()?;
    }
    Ok(())
}

/// Puts the task's files into its directory, where we are, as its user.
fn fill(inside: &Inside<'_>) -> Result<(), Errno> {
    if let View::Copy(files) = &inside.view {
        let mut folder = None;
        let code = open(CODE, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        for &(name, mode) in files {
            // Sorted by name, so a folder is made once for all its files.
            let parent = parent(name);
            if parent.is_some() && parent != folder {
                let path = parent.and_then(|parent| std::str::from_utf8(parent).ok()).ok_or(Errno::EILSEQ)?;
                std::fs::create_dir_all(path).map_err(errno)?;
                folder = parent;
            }
            let source = openat(&code, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
            copy(&source, &create(name, mode)?)?;
        }
    } else if let Some(name) = inside.executable {
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(text(name)?, executable).map_err(errno)?;
    }
    for &(name, content) in &inside.files {
        if let View::Overlay = inside.view {
            clear(Path::new(text(name)?)).map_err(errno)?;
        }
        write_all(&create(name, 0o600)?, content)?;
    }
    if let View::Overlay = inside.view {
        clear(Path::new(RESULT_FILE)).map_err(errno)?;
    }
    Ok(())
}

/// The folder that a file of a package is in, unless that is the package.
fn parent(name: &CStr) -> Option<&[u8]> {
    let name = name.to_bytes();
    name.iter().rposition(|&byte| byte == b'/').map(|end| &name[..end])
}

/// A new file where we are.
fn create(name: &CStr, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    open(name, flags, Mode::from_bits_truncate(mode))
}

/// Copies a small file.
fn copy(source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    let mut buffer = [0; 4096];
    loop {
        match read(source, &mut buffer)? {
            0 => return Ok(()),
            length => write_all(target, &buffer[..length])?,
        }
    }
}

fn write_all(file: &impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        bytes = &bytes[write(file, bytes)?..];
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

fn text(name: &CStr) -> Result<&str, Errno> {
    name.to_str().map_err(|_| Errno::EILSEQ)
}

/// Buries the dead and passes on what we are told from outside, until the main process has ended.
fn serve(slot: &Slot, main: Pid) -> Result<(), Errno> {
    let signals = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM]);
    loop {
        let signalled = match fork::wait_for_signal(&signals) {
            // Whoever stops and continues us from outside, such as a freezer, has nothing to say.
            Err(Errno::EINTR) => continue,
            signalled => signalled?,
        };
        if signalled.signal == libc::SIGCHLD {
            if let Some(status) = bury(main) {
                end(slot, status);
                return Ok(());
            }
        } else if signalled.is_from_outside {
            // An error means that nothing of the group is left.
            let _ = killpg(main, Signal::SIGTERM);
        }
    }
}

/// Takes the dead off the process table; the status of the main process if it is among them.
fn bury(main: Pid) -> Option<i32> {
    let mut status = None;
    while let Some((pid, how)) = sys::wait_any(libc::WNOHANG) {
        if pid == main {
            status = Some(how);
        }
    }
    status
}

/// Tells how it ended, and hands over its result.
fn end(slot: &Slot, status: i32) {
    let Told { result, .. } = slot.told;
    // Without following links or waiting for a pipe's other end: the worker made the file.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match open(RESULT_FILE, flags, Mode::empty()) {
        Ok(file) => {
            let fds = [file.as_raw_fd()];
            let byte = [io::IoSlice::new(&[1])];
            let rights = [ControlMessage::ScmRights(&fds)];
            let sent = sendmsg::<()>(
                slot.results.1.as_fd().as_raw_fd(),
                &byte,
                &rights,
                MsgFlags::MSG_DONTWAIT,
                None,
            );
            result.store(sent.map_or_else(|errno| errno as i32, |_| Told::SENT), Relaxed);
        }
        Err(Errno::ENOENT) => {}
        Err(errno) => result.store(errno as i32, Relaxed),
    }
    let (user_us, system_us, peak_memory_bytes) = fork::children_usage();
    slot.told.user_us.store(user_us, Relaxed);
    slot.told.system_us.store(system_us, Relaxed);
    slot.told.peak_memory_bytes.store(peak_memory_bytes, Relaxed);
    slot.told.status.store(status, Relaxed);
    slot.told.has_ended.store(1, Relaxed);
}
