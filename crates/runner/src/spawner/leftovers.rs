//! What a task left in its namespaces, if another is to have them after it.
//!
//! Its processes are dead by then, so nobody comes between a look and what follows from it. What remains are names: of
//! files in the three folders that it could write to, and of messages. A little of that is removed; if then anything is
//! there that was not at the beginning, the namespaces are of no further use.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, fstat};

use super::sys::leftovers::{has_attributes, messages, names};
use super::sys::mounts::detached;

/// Most files and folders that are removed one by one: many are faster gone with their file system.
const FEW: u32 = 64;

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The places where something may be left, as they were at the beginning.
pub(super) struct Leftovers {
    /// What a task writes to: by its name, and without what shines through.
    folders: [(&'static str, OwnedFd); 3],
    /// Queues in their newer form.
    queues: OwnedFd,
    /// The task's directory itself, which is the task's to change.
    own: FileStat,
}

impl Leftovers {
    /// To be called while the file system in memory is at `/tmp`.
    pub(super) fn watch() -> Result<Self, Errno> {
        let folder = |path: &str| open(path, FOLDER, Mode::empty());
        let task = folder("/tmp/task")?;
        Ok(Self {
            own: fstat(&task)?,
            folders: [("/task", task), ("/tmp", folder("/tmp/tmp")?), ("/dev/shm", folder("/tmp/shm")?)],
            queues: openat(&detached(c"mqueue")?, ".", FOLDER, Mode::empty())?,
        })
    }

    /// Removes what there is, if it is little; whether all is as it was at the beginning.
    pub(super) fn remove(&self) -> bool {
        let mut budget = FEW;
        let mut is_emptied = |(path, folder): &(&str, OwnedFd)| empty(path, folder, &mut budget).is_ok();
        self.folders.iter().all(&mut is_emptied) && self.is_own_unchanged() && self.has_no_messages()
    }

    fn is_own_unchanged(&self) -> bool {
        let (_, folder) = &self.folders[0];
        let of = |stat: &FileStat| (stat.st_mode, stat.st_uid, stat.st_gid);
        fstat(folder).is_ok_and(|now| of(&now) == of(&self.own)) && !has_attributes(folder.as_fd())
    }

    fn has_no_messages(&self) -> bool {
        messages() == Ok(0) && names(self.queues.as_fd()).is_ok_and(|names| names.is_empty())
    }
}

/// Removes what is in the folder at `path`, of what does not shine through.
fn empty(path: &str, folder: &OwnedFd, budget: &mut u32) -> io::Result<()> {
    loop {
        let names = names(folder.as_fd())?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            remove(&Path::new(path).join(OsStr::from_bytes(name.as_bytes())), budget)?;
        }
    }
}

/// Removes a file or a folder with what is in it, within the budget.
fn remove(path: &Path, budget: &mut u32) -> io::Result<()> {
    *budget = budget.checked_sub(1).ok_or(io::ErrorKind::OutOfMemory)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            for entry in fs::read_dir(path)? {
                remove(&entry?.path(), budget)?;
            }
            fs::remove_dir(path)
        }
        done => done,
    }
}
