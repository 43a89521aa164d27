//! The folders that a container may write to: `/task` and `/tmp`, a file system in memory no larger than the task's disk.
//!
//! The runner makes it, not the engine, as what the runner puts in and takes out is there before the container starts and
//! after it has ended. A runner that may not mount one has them on its disk, and says that they are not limited.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{Gid, Uid, chown};
use tracing::warn;

use super::container::User;
use crate::package::Package;
use crate::plan::{Plan, RESULT_FILE};
use crate::workdir;

/// The least number of files that a task may have, whatever its disk.
const LEAST_FILES: u64 = 1024;

/// The folders of one container. They are gone when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    is_mounted: bool,
    user: User,
}

impl Room {
    /// Makes the folder `path` of at most `disk_bytes`, if that `is_capped`, with the package's files and the plan's in it.
    pub(super) fn make(
        path: PathBuf,
        package: &Package,
        plan: &mut Plan,
        (is_capped, disk_bytes, user): (bool, u64, User),
    ) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).create(&path)?;
        let mut room = Self { path, is_mounted: false, user };
        if is_capped {
            mount_memory(&room.path, disk_bytes)?;
            room.is_mounted = true;
        }
        room.folder(&room.tmp(), 0o1777)?;
        room.folder(&room.task(), 0o700)?;
        room.fill(package, &std::mem::take(&mut plan.files), plan.executable.take().as_deref())?;
        Ok(room)
    }

    /// What the container sees as its task's folder.
    pub(super) fn task(&self) -> PathBuf {
        self.path.join("task")
    }

    /// What it sees as `/tmp`.
    pub(super) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// What the worker left in its result file, once nothing of it runs. `Err` holds why it is not kept, in words.
    pub(super) fn result(&self, limit: usize) -> Result<Option<Vec<u8>>, String> {
        // Without following links or waiting for a pipe's other end: the worker made the file, and may have put anything
        // in the place of its folder.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        match OpenOptions::new().read(true).custom_flags(flags).open(self.task().join(RESULT_FILE)) {
            Ok(file) => workdir::keep(&file, limit).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(workdir::unreadable(&e)),
        }
    }

    fn fill(
        &self,
        package: &Package,
        files: &[(&'static str, Vec<u8>)],
        executable: Option<&str>,
    ) -> io::Result<()> {
        let task = self.task();
        // A package that brings something by these names, a folder even, must not be in the way.
        let is_taken = |name: &str| name == RESULT_FILE || files.iter().any(|(taken, _)| *taken == name);
        for file in package.files() {
            if is_taken(file.name.split('/').next().unwrap_or_default()) {
                continue;
            }
            let mut folder = task.clone();
            let (parents, name) = file.name.rsplit_once('/').unwrap_or(("", &file.name));
            for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
                folder.push(parent);
                match self.folder(&folder, 0o755) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                    _ => {}
                }
            }
            let may_run = file.may_run() || executable == Some(&file.name);
            let mut source = File::open(package.folder().join(&file.name))?;
            let mut target = self.file(&folder.join(name), if may_run { 0o755 } else { 0o644 })?;
            io::copy(&mut source, &mut target)?;
        }
        for (name, content) in files {
            self.file(&task.join(name), 0o600)?.write_all(content)?;
        }
        Ok(())
    }

    fn folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().mode(mode).create(path)?;
        // Whatever the mask of new files is.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        self.give(path)
    }

    fn file(&self, path: &Path, mode: u32) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        self.give(path)?;
        Ok(file)
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        let Some(user) = self.user.outside else { return Ok(()) };
        Ok(chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))?)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.is_mounted {
            unmount(&self.path);
        }
        if let Err(error) = workdir::remove(&self.path) {
            warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Whether folders below `rooms` can be limited, found out by making one.
pub(super) fn is_capped(rooms: &Path) -> io::Result<bool> {
    DirBuilder::new().recursive(true).mode(0o700).create(rooms)?;
    sweep(rooms)?;
    let trial = rooms.join("trial");
    DirBuilder::new().mode(0o700).create(&trial)?;
    let is_capped = mount_memory(&trial, 64 << 10).is_ok();
    if is_capped {
        unmount(&trial);
    }
    fs::remove_dir(&trial)?;
    Ok(is_capped)
}

/// Removes what a runner that crashed left there.
pub(super) fn sweep(rooms: &Path) -> io::Result<()> {
    for entry in fs::read_dir(rooms)? {
        // One that is no mount is none, and removed as it is.
        let _ = umount2(&entry?.path(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
    workdir::sweep(rooms)
}

fn mount_memory(path: &Path, bytes: u64) -> io::Result<()> {
    let options = format!("size={bytes},nr_inodes={},mode=0711", (bytes / 4096).max(LEAST_FILES));
    mount(
        Some("windlass"),
        path,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options.as_str()),
    )?;
    Ok(())
}

fn unmount(path: &Path) {
    // A container that is still being taken down may hold it for a moment.
    if let Err(errno) = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        warn!("cannot unmount {}: {errno}", path.display());
    }
}
