//! One process per data directory: an exclusive lock on a file in it, which the system lets go with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::StoreError;

/// A process that was killed while it was starting another leaves a child that holds copies of its files, this lock
/// too, until it has become the other program: some milliseconds. So a lock that is taken is tried again for a moment.
const PATIENCE: Duration = Duration::from_millis(500);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// Holds the data directory until dropped.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the directory, or says which process has it.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let unusable =
            |e: std::io::Error| StoreError::Unusable { path: dir.to_owned(), reason: e.to_string() };
        let path = dir.join("lock");
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let mut file = open.map_err(unusable)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(BETWEEN_TRIES);
                }
                Err(TryLockError::WouldBlock) => {
                    let mut pid = String::new();
                    // The number is a courtesy: without it the message still holds.
                    let _ = file.read_to_string(&mut pid);
                    return Err(StoreError::InUse { path: dir.to_owned(), pid: pid.trim().parse().ok() });
                }
                Err(TryLockError::Error(e)) => return Err(unusable(e)),
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(unusable)?;
        // On a full disk the lock holds all the same.
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}
