//! A slot from the inside: what the spawner surrounds itself with, once, and every task of it inherits.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::sys::wait::waitpid;
use nix::unistd::{chdir, getegid, geteuid, pivot_root};

use windlass_model::limits::Limits;

use super::image::Shown;
use super::message::Step;
use super::sys;
use super::sys::fork::{self, Forked, Told};
use super::sys::mounts::{Denied, attach, copy_tree, deny, map_users};
use crate::sandbox::cgroup::{self, Controls, Gaps};
use crate::sandbox::confinement::Confinement;
use crate::sandbox::network::Connections;
use crate::sandbox::root::{CODE, EMPTY, Entry, PACKAGES};
use crate::sandbox::{InForce, Setup};

/// What the root itself may hold: copies of small files, and nothing that a task could fill.
const ROOT_OPTIONS: &str = "mode=755,size=16m,nr_inodes=4096";

/// A mount that is there becomes one where nothing can be changed.
const READ_ONLY: MsFlags = MsFlags::MS_REMOUNT
    .union(MsFlags::MS_BIND)
    .union(MsFlags::MS_RDONLY)
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NODEV);

/// How long the kernel is given to bury what was killed.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The surroundings of a slot's tasks.
pub(super) struct Slot {
    /// The user of tasks; none: ours.
    pub(super) user: Option<u32>,
    /// What tasks take from themselves.
    pub(super) confinement: Confinement,
    /// What the first process of a task tells us.
    pub(super) told: &'static Told,
    /// This process, so that a task's first process can tell whether it lives.
    pub(super) spawner: OwnedFd,
    /// The way of a result's descriptor from a task to us: our end, and that of the task's first process.
    pub(super) results: (OwnedFd, OwnedFd),
    /// What limits tasks.
    pub(super) groups: Option<Box<dyn Controls>>,
    /// Limits that do not hold for the task.
    pub(super) gaps: Gaps,
    /// The networks that are not ours: the host's, and that with nothing in it. None: we are in the host's.
    pub(super) networks: Option<Networks>,
    /// The folder of packages, which nobody else in this namespace can reach.
    pub(super) packages: OwnedFd,
    /// The image that is at [`IMAGE`](crate::sandbox::root::IMAGE).
    pub(super) image: Option<Shown>,
    /// The package that is at [`CODE`], and the folder it was then.
    code: Option<(CString, FileStat)>,
}

impl Slot {
    /// Makes the slot around this process. After an error, in words, the process is of no further use.
    ///
    /// The networks are the slot's own: that with the internet, and that with nothing.
    pub(super) fn enter(
        setup: &Setup,
        networks: (Option<OwnedFd>, Option<OwnedFd>),
    ) -> Result<(Self, InForce), String> {
        // First, as afterwards the groups are out of sight.
        let joined = setup.groups.as_ref().map(join);
        let (mut groups, without_groups) = match joined {
            Some(Ok(groups)) => (Some(groups), None),
            Some(Err(why)) => (None, Some(why.to_string())),
            None => (None, None),
        };
        let gaps = groups.as_mut().map_or(Gaps::ALL, |groups| groups.apply(&Limits::DEFAULT));
        let networks = match networks {
            (Some(egress), Some(none)) => {
                Some(Networks::enter(&egress, none).map_err(|e| format!("cannot enter its network: {e}"))?)
            }
            _ => None,
        };
        enter_namespaces(setup).map_err(|e| format!("cannot make namespaces: {e}"))?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .map_err(|e| format!("cannot take mounts apart from the host's: {e}"))?;
        let base = &setup.base;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("root"), base, Some("tmpfs"), flags, Some(ROOT_OPTIONS))
            .map_err(|e| format!("cannot mount a root over {}: {e}", base.display()))?;
        for entry in &setup.root {
            make(base, entry).map_err(|(at, e)| format!("cannot make {}: {e}", at.display()))?;
        }
        if setup.user.is_none() {
            // A user namespace may mount a process list of its own only where it already sees a whole one.
            bind(base, Path::new("/proc"), Path::new("/proc"), None)
                .map_err(|e| format!("cannot show /proc: {e}"))?;
        }
        let maps_users = bind_packages(base, setup)
            .map_err(|e| format!("cannot bind {}: {e}", setup.packages.display()))?;
        let packages = move_in(base).map_err(|e| format!("cannot move into the new root: {e}"))?;
        let overlays = maps_users && try_overlay().is_ok();
        hide(PACKAGES).map_err(|e| format!("cannot hide packages: {e}"))?;
        let kind = SockType::Datagram;
        let results = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|e| format!("cannot make a socket pair: {e}"))?;
        let told = fork::share().map_err(|e| format!("cannot share memory: {e}"))?;
        let spawner = fork::own_handle().map_err(|e| format!("cannot be waited for: {e}"))?;
        let confinement = Confinement::prepare().map_err(|e| format!("cannot give up capabilities: {e}"))?;
        let in_force = InForce {
            own_user: setup.user.is_some(),
            own_networks: networks.is_some(),
            forgets_connections: networks.as_ref().is_none_or(|networks| networks.connections.is_some()),
            groups: setup.groups.as_ref().filter(|_| groups.is_some()).map(cgroup::Slot::level),
            without_groups,
            gaps,
            overlays,
        };
        let slot = Self {
            user: setup.user,
            confinement,
            groups,
            gaps,
            told,
            spawner,
            results,
            networks,
            packages,
            image: None,
            code: None,
        };
        Ok((slot, in_force))
    }

    /// Puts the package `name` at [`CODE`], or nothing. Costs nothing while it is the one of the task before.
    pub(super) fn show(&mut self, name: &std::ffi::CStr) -> Result<(), (Step, Errno)> {
        let at = |errno| (Step::Mount, errno);
        if name.is_empty() {
            return self.hide().map_err(at);
        }
        let folder = fstatat(&self.packages, name, AtFlags::empty()).map_err(at)?;
        // By its inode, too: it may have been dropped and fetched anew.
        let is_shown = self.code.as_ref().is_some_and(|(shown, then)| {
            **shown == *name && (then.st_dev, then.st_ino) == (folder.st_dev, folder.st_ino)
        });
        if !is_shown {
            self.hide().map_err(at)?;
            let tree = copy_tree(self.packages.as_fd(), name).map_err(at)?;
            attach(tree.as_fd(), AT_FDCWD, &c_path(Path::new(CODE))).map_err(at)?;
            self.code = Some((name.to_owned(), folder));
        }
        Ok(())
    }

    /// Forgets what was told and sent of the task before. Its result, too: a first process that was killed right after it
    /// had sent one told nobody of it, and the next task must not be taken for its owner. And its connections.
    pub(super) fn forget(&mut self) {
        self.told.forget();
        while self.take_result().is_some() {}
        if let Some(Networks { connections: Some(connections), .. }) = &mut self.networks {
            // It worked before; what can fail now is memory of the kernel's, and the worst is what a host does that cannot.
            let _ = connections.forget();
        }
    }

    /// The descriptor of a result that the task's first process has sent.
    pub(super) fn take_result(&self) -> Option<OwnedFd> {
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let mut byte = [0];
        let mut buffer = [io::IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(self.results.0.as_raw_fd(), &mut buffer, Some(&mut space), flags).ok()?;
        message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied().map(sys::own),
            _ => None,
        })
    }

    fn hide(&mut self) -> Result<(), Errno> {
        if self.code.take().is_some() {
            umount2(CODE, MntFlags::MNT_DETACH)?;
        }
        Ok(())
    }
}

/// Moves this process into the groups, and ends what a spawner before it left there.
fn join(groups: &cgroup::Slot) -> io::Result<Box<dyn Controls>> {
    groups.join()?;
    let mut controls = groups.controls()?;
    controls.clear_but(nix::unistd::getpid(), PATIENCE);
    Ok(controls)
}

/// The networks that a slot's tasks are in only where they ask for it.
pub(super) struct Networks {
    pub(super) host: OwnedFd,
    pub(super) none: OwnedFd,
    /// None: the host does not let them be forgotten.
    connections: Option<Connections>,
}

impl Networks {
    /// Moves this process into `egress`, so that most tasks need not move.
    fn enter(egress: &OwnedFd, none: OwnedFd) -> io::Result<Self> {
        let host = File::open("/proc/self/ns/net")?.into();
        let connections = Connections::enter(egress.as_fd())?;
        Ok(Self { host, none, connections })
    }
}

fn enter_namespaces(setup: &Setup) -> io::Result<()> {
    // The host's name is nobody's business, and a task cannot change ours: so one name for all tasks.
    let mine = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    if setup.user.is_some() {
        unshare(mine)?;
    } else {
        let (uid, gid) = (geteuid(), getegid());
        unshare(CloneFlags::CLONE_NEWUSER | mine)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    nix::unistd::sethostname("task")?;
    Ok(())
}

/// Makes one entry of the root below `base`; an error names the place.
fn make(base: &Path, entry: &Entry) -> Result<(), (PathBuf, io::Error)> {
    match entry {
        Entry::Folder { at, mode } => folder(base, at, *mode).map_err(|e| (at.clone(), e)),
        Entry::Link { at, to } => {
            parent(base, at).and_then(|()| symlink(to, inside(base, at))).map_err(|e| (at.clone(), e))
        }
        Entry::File { at, content } => {
            parent(base, at).and_then(|()| fs::write(inside(base, at), content)).map_err(|e| (at.clone(), e))
        }
        Entry::Copy { from, at } => copy(base, from, at).map_err(|e| (at.clone(), e)),
        Entry::Bind { from, at } => bind(base, from, at, Some(Denied::WRITES)).map_err(|e| (at.clone(), e)),
        Entry::Device { at } => bind(base, at, at, Some(Denied::SETUID)).map_err(|e| (at.clone(), e)),
    }
}

fn inside(base: &Path, at: &Path) -> PathBuf {
    base.join(at.strip_prefix("/").unwrap_or(at))
}

fn parent(base: &Path, at: &Path) -> io::Result<()> {
    let parent = at.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(inside(base, parent))
}

fn folder(base: &Path, at: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(inside(base, at))?;
    fs::set_permissions(inside(base, at), fs::Permissions::from_mode(mode))
}

/// Copies a file that everybody may read; one that not everybody may is left out.
fn copy(base: &Path, from: &Path, at: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    if source.metadata()?.permissions().mode() & 0o004 == 0 {
        return Ok(());
    }
    parent(base, at)?;
    io::copy(&mut source, &mut File::create_new(inside(base, at))?)?;
    Ok(())
}

fn bind(base: &Path, from: &Path, at: &Path, denied: Option<Denied>) -> io::Result<()> {
    let target = inside(base, at);
    if from.is_dir() {
        fs::create_dir_all(&target)?;
    } else {
        parent(base, at)?;
        File::create(&target)?;
    }
    let tree = copy_tree(AT_FDCWD, &c_path(from))?;
    if let Some(denied) = denied {
        deny(tree.as_fd(), denied)?;
    }
    attach(tree.as_fd(), AT_FDCWD, &c_path(&target))?;
    Ok(())
}

/// Binds the packages, so that their files are those of tasks, to be changed and read by them. Whether they are.
fn bind_packages(base: &Path, setup: &Setup) -> io::Result<bool> {
    let tree = copy_tree(AT_FDCWD, &c_path(&setup.packages))?;
    deny(tree.as_fd(), Denied::WRITES)?;
    let are_theirs = match setup.user {
        None => true,
        // Not every file system can show its files as those of others.
        Some(user) => user_mapping(user).and_then(|map| Ok(map_users(tree.as_fd(), map.as_fd())?)).is_ok(),
    };
    let target = inside(base, Path::new(PACKAGES));
    fs::create_dir_all(&target)?;
    attach(tree.as_fd(), AT_FDCWD, &c_path(&target))?;
    Ok(are_theirs)
}

/// A user namespace in which `user` is who we are outside.
fn user_mapping(user: u32) -> io::Result<OwnedFd> {
    match fork::fork_into(libc::CLONE_NEWUSER, None)? {
        Forked::Child => {
            if fork::die_with_parent().is_ok() {
                nix::unistd::pause();
            }
            fork::exit(0)
        }
        Forked::Parent(holder) => {
            let map = |kind: &str, own: u32| {
                fs::write(format!("/proc/{holder}/{kind}_map"), format!("{own} {user} 1"))
            };
            let mapped = map("uid", geteuid().as_raw()).and_then(|()| map("gid", getegid().as_raw()));
            let namespace = mapped.and_then(|()| File::open(format!("/proc/{holder}/ns/user")));
            let _ = kill(holder, Signal::SIGKILL);
            let _ = waitpid(holder, None);
            namespace.map(OwnedFd::from)
        }
    }
}

/// Whether packages can be seen through what a task writes: tried, and undone.
fn try_overlay() -> nix::Result<()> {
    mount(Some("trial"), "/tmp", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let options = format!("lowerdir={PACKAGES},upperdir=/tmp/up,workdir=/tmp/work");
    let tried = nix::unistd::mkdir("/tmp/up", Mode::S_IRWXU)
        .and_then(|()| nix::unistd::mkdir("/tmp/work", Mode::S_IRWXU))
        .and_then(|()| mount(Some("trial"), "/task", Some("overlay"), MsFlags::empty(), Some(&*options)))
        .and_then(|()| umount2("/task", MntFlags::MNT_DETACH));
    umount2("/tmp", MntFlags::MNT_DETACH)?;
    tried
}

/// Puts nothing over a folder. A task can take nothing off; and unlike taking the folder away, it costs a task nothing.
fn hide(folder: &str) -> nix::Result<()> {
    mount(Some(EMPTY), folder, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    mount(None::<&str>, folder, None::<&str>, READ_ONLY, None::<&str>)
}

/// Makes `base` the root, for ever, and what was the root is gone. Returns the folder of packages, which nobody finds
/// by its name from here on.
fn move_in(base: &Path) -> nix::Result<OwnedFd> {
    chdir(base)?;
    // Over itself: the old root then lies on top of the new one, and is taken off.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    let packages = open(PACKAGES, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    mount(None::<&str>, "/", None::<&str>, READ_ONLY, None::<&str>)?;
    Ok(packages)
}

pub(super) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path of the setup holds no zero byte")
}
