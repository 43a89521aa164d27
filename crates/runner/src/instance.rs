//! The identity of the place a runner runs from.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// A runner that was killed while it was starting a spawner leaves a child that holds copies of its files, this lock
/// too, until it has become the spawner: some milliseconds. So a lock that is taken is tried again for a moment.
const PATIENCE: Duration = Duration::from_millis(500);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// A work directory that is ours alone for as long as this lives.
#[derive(Debug)]
pub(crate) struct Instance {
    file: Flock<File>,
    id: String,
}

impl Instance {
    /// Takes the directory, and makes it if it is not there.
    pub(crate) fn lock(work_dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(work_dir)?;
        let path = work_dir.join("instance");
        let file =
            File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let mut file = lock_patiently(file).map_err(|errno| {
            let taken = errno == Errno::EAGAIN;
            let why = if taken { "another runner uses it".to_owned() } else { errno.to_string() };
            io::Error::other(format!("cannot take the work directory {}: {why}", work_dir.display()))
        })?;
        let mut id = String::new();
        file.read_to_string(&mut id)?;
        let mut instance = Self { file, id: id.trim().to_owned() };
        if instance.id.is_empty() {
            instance.write(fresh()?)?;
        }
        Ok(instance)
    }

    /// Names the place. Whoever takes the directory next says the same, which ends our session.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Takes a new name, so that a session under the old one goes on beside that under the new one.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        self.write(fresh()?)
    }

    fn write(&mut self, id: String) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(id.as_bytes())?;
        self.id = id;
        Ok(())
    }
}

fn lock_patiently(mut file: File) -> Result<Flock<File>, Errno> {
    let start = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((back, Errno::EAGAIN)) if start.elapsed() < PATIENCE => file = back,
            Err((_, errno)) => return Err(errno),
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
}

fn fresh() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_its_name_and_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Instance::lock(folder.path()).unwrap();
        let id = first.id().to_owned();
        let refused = Instance::lock(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("another runner uses it"), "{refused}");
        first.renew().unwrap();
        let renewed = first.id().to_owned();
        assert_ne!(renewed, id);
        drop(first);
        assert_eq!(Instance::lock(folder.path()).unwrap().id(), renewed);
    }
}
