//! Empty directories that wait for the next attempt.
//!
//! Making a directory and removing it costs 47 µs on ext4, where most hosts have their disk; moving one that is there
//! costs 2. So one that an attempt left as empty as it was found is kept.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::workdir::sweep;

/// Who may do what in the directory of an attempt.
const MODE: u32 = 0o700;

/// Most directories that wait.
const MOST: usize = 64;

/// The directories that wait.
#[derive(Debug)]
pub(crate) struct Spares {
    folder: PathBuf,
    free: Mutex<Vec<PathBuf>>,
    made: AtomicU64,
}

impl Spares {
    /// Keeps them in `folder`, which is emptied.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        sweep(&folder)?;
        Ok(Self { folder, free: Mutex::default(), made: AtomicU64::new(0) })
    }

    /// Makes an empty directory at `path`, for nobody else to look into.
    pub(crate) fn make(&self, path: &Path) -> io::Result<()> {
        let spare = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match spare {
            // Whatever became of it, it can be made anew.
            Some(spare) if fs::rename(&spare, path).is_ok() => Ok(()),
            _ => fs::DirBuilder::new().mode(MODE).create(path),
        }
    }

    /// Takes the directory at `path` away to be used again, if nothing is in it but the files `known`, and it is
    /// otherwise as it was made; `false`: it is still there, for somebody to remove.
    ///
    /// For a directory whose attempt ended by itself: what was ended may have told others of it, such as a daemon that
    /// still writes there.
    pub(crate) fn keep(&self, path: &Path, known: &[PathBuf]) -> bool {
        // First of all: a worker may have put a link in its place, and then the files are not ours to remove.
        let is_ours = |meta: fs::Metadata| {
            meta.is_dir() && meta.mode() & 0o7777 == MODE && meta.uid() == nix::unistd::geteuid().as_raw()
        };
        if !fs::symlink_metadata(path).is_ok_and(is_ours) {
            return false;
        }
        for file in known {
            // One that cannot be removed is found next.
            let _ = fs::remove_file(file);
        }
        if !fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) {
            return false;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() >= MOST {
            return false;
        }
        let spare = self.folder.join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        let is_moved = fs::rename(path, &spare).is_ok();
        if is_moved {
            free.push(spare);
        }
        is_moved
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_a_directory_as_it_was_made_is_used_again() {
        let world = tempfile::tempdir().unwrap();
        let spares = Spares::open(world.path().join("spares")).unwrap();
        let path = world.path().join("attempt");
        let inode = || fs::metadata(&path).unwrap().ino();

        spares.make(&path).unwrap();
        let first = inode();
        fs::write(path.join("ours"), "").unwrap();
        assert!(spares.keep(&path, &[path.join("ours"), path.join("gone")]) && !path.exists());
        spares.make(&path).unwrap();
        assert_eq!(inode(), first);

        fs::write(path.join("left"), "").unwrap();
        assert!(!spares.keep(&path, &[]));
        fs::remove_file(path.join("left")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!spares.keep(&path, &[]));

        fs::remove_dir(&path).unwrap();
        let other = world.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("ours"), "").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(!spares.keep(&path, &[path.join("ours")]) && other.join("ours").exists());
    }
}
