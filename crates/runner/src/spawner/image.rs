//! The root of a container image, for tasks that are to see it instead of the host's programs.
//!
//! The slot joins the layers of an image, once for all tasks of it that follow each other, with a layer of its own on
//! top: the folders that a task's file systems are mounted on, and the files that say who and where it is. Nothing of it
//! can be written. A task's first process makes it the root of its namespace, so that nothing of the host's is left.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::unistd::{chdir, pivot_root};

use super::message::Step;
use super::slot::{Slot, c_path};
use super::sys::mounts::{attach, copy_tree};
use crate::sandbox::root::{CODE, IMAGE, TASK, TOP};

/// What the layer on top may hold: copies of two files of the image.
const TOP_OPTIONS: &str = "mode=755,size=8m,nr_inodes=1024";

/// Most bytes of a list of users that are copied; of a longer one the rest is not there.
const MAX_LIST: u64 = 1 << 20;

/// Folders that are there in every image.
const FOLDERS: [&str; 7] = ["dev", "etc", "proc", "sys", "task", "code", "tmp"];

/// Files of the slot's own root that every image has, too.
const FILES: [&str; 4] = ["etc/hosts", "etc/hostname", "etc/resolv.conf", "windlass/api-ca.pem"];

/// Where programs are looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The image that is shown: its layers, and the folders they were then.
pub(super) struct Shown(Vec<(CString, FileStat)>);

impl Slot {
    /// Puts the image of these layers, the highest first, at [`IMAGE`], or nothing. Costs little
    /// while it is the one of the task before.
    pub(super) fn show_image(&mut self, layers: &[&CStr]) -> Result<(), (Step, Errno)> {
        let at = |errno| (Step::Mount, errno);
        let now = layers.iter().map(|&layer| {
            let folder = fstatat(&self.packages, layer, AtFlags::empty())?;
            Ok((layer.to_owned(), folder))
        });
        let now: Vec<_> = now.collect::<Result<_, Errno>>().map_err(at)?;
        // By their inodes, too: they may have been dropped and fetched anew.
        let is = |a: &FileStat, b: &FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        let is_same = |shown: &Shown| {
            shown.0.len() == now.len()
                && shown.0.iter().zip(&now).all(|((a, then), (b, now))| a == b && is(then, now))
        };
        if self.image.as_ref().map_or(now.is_empty(), is_same) {
            return Ok(());
        }
        if self.image.take().is_some() {
            umount2(IMAGE, MntFlags::MNT_DETACH).map_err(at)?;
        }
        if !now.is_empty() {
            let made = self.join(&now);
            // What joins the layers holds on to them by itself.
            let cleared = chdir("/").and_then(|()| umount2(TOP, MntFlags::MNT_DETACH));
            made.and(cleared).map_err(at)?;
            self.image = Some(Shown(now));
        }
        Ok(())
    }

    fn join(&self, layers: &[(CString, FileStat)]) -> Result<(), Errno> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("own"), TOP, Some("tmpfs"), flags, Some(TOP_OPTIONS))?;
        let own = Path::new(TOP);
        let top = own.join("top");
        fs::create_dir(&top).map_err(errno)?;
        // By short names, as the kernel takes no more than a page of them. One by one: a copy of the folder of all
        // packages would bring along what hides it.
        let mut names = "lowerdir=top".to_owned();
        for (n, (layer, _)) in layers.iter().enumerate() {
            let tree = copy_tree(self.packages.as_fd(), layer)?;
            let at = own.join(n.to_string());
            fs::create_dir(&at).map_err(errno)?;
            attach(tree.as_fd(), AT_FDCWD, &c_path(&at))?;
            names.push_str(&format!(":{n}"));
        }
        names.push_str(",userxattr");
        chdir(own)?;
        let join = || {
            let flags = flags | MsFlags::MS_RDONLY;
            mount(Some("image"), IMAGE, Some("overlay"), flags, Some(names.as_str()))
        };
        // Once to read what is then written over it.
        join()?;
        let (users, groups) = (read("etc/passwd"), read("etc/group"));
        umount2(IMAGE, MntFlags::MNT_DETACH)?;
        self.fill(&top, users, groups).map_err(errno)?;
        join()?;
        let devices = copy_tree(AT_FDCWD, c"/dev")?;
        attach(devices.as_fd(), AT_FDCWD, &c_path(&Path::new(IMAGE).join("dev")))
    }

    /// Fills the layer on top.
    fn fill(&self, top: &Path, users: Vec<u8>, groups: Vec<u8>) -> io::Result<()> {
        for folder in FOLDERS {
            fs::create_dir(top.join(folder))?;
        }
        fs::set_permissions(top.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        for file in FILES {
            let from = Path::new("/").join(file);
            if from.exists() {
                let to = top.join(file);
                fs::create_dir_all(to.parent().unwrap_or(top))?;
                fs::write(to, fs::read(from)?)?;
            }
        }
        // The image's own users have names, and so has the task's.
        let uid = self.user.unwrap_or_else(|| nix::unistd::geteuid().as_raw());
        let gid = self.user.unwrap_or_else(|| nix::unistd::getegid().as_raw());
        fs::write(
            top.join("etc/passwd"),
            with(users, &format!("task:x:{uid}:{gid}:a task:{TASK}:/bin/sh\n")),
        )?;
        fs::write(top.join("etc/group"), with(groups, &format!("task:x:{gid}:\n")))
    }
}

/// A list with one more line.
fn with(mut list: Vec<u8>, line: &str) -> Vec<u8> {
    if !list.is_empty() && !list.ends_with(b"\n") {
        list.push(b'\n');
    }
    list.extend_from_slice(line.as_bytes());
    list
}

/// A file of the image, wherever in it the links lead; empty if there is none.
fn read(name: &str) -> Vec<u8> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let image = open(IMAGE, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let mut bytes = Vec::new();
    if let Ok(file) = image.and_then(|image| openat2(&image, name, how)).map(File::from)
        && file.metadata().is_ok_and(|meta| meta.is_file())
        && file.take(MAX_LIST).read_to_end(&mut bytes).is_err()
    {
        bytes.clear();
    }
    bytes
}

/// Makes the image the root of this namespace, for ever: what was the root is gone.
pub(super) fn move_in() -> Result<(), Errno> {
    chdir(IMAGE)?;
    // Over itself: the old root then lies on top of the new one, and is taken off.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}

/// The program `name` of an image, as a shell would find it. To be called where the image is the root, by whoever may do
/// what the task may.
pub(super) fn find(name: &CStr, env: &[&CStr], cwd: &CStr) -> Result<CString, Errno> {
    let bytes = name.to_bytes();
    if bytes.contains(&b'/') {
        return Ok(name.to_owned());
    }
    let path = env.iter().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let path = path.unwrap_or(DEFAULT_PATH.as_bytes());
    let cwd = Path::new(OsStr::from_bytes(cwd.to_bytes()));
    let places = path.split(|&b| b == b':').map(|folder| Path::new(OsStr::from_bytes(folder)));
    let mut found = places.map(|folder| -> PathBuf { cwd.join(folder).join(OsStr::from_bytes(bytes)) });
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    found.find(is_program).map(|path| c_path(&path)).ok_or(Errno::ENOENT)
}

/// Where something is before the image is the root.
pub(super) fn inside(path: &str) -> String {
    format!("{IMAGE}{path}")
}

/// Shows a task's package in its image.
pub(super) fn bind_code() -> Result<(), Errno> {
    mount(Some(CODE), inside(CODE).as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over errors")]
fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
