//! The directory of one attempt: private, fresh, with the files of the package in it, gone afterwards.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::warn;

use crate::package::Package;
use crate::plan::{Plan, RESULT_FILE};
use crate::spares::Spares;
use crate::unpack::Unpacked;

/// Programs from this size on are linked instead of copied.
///
/// Measured on ext4 with the file in memory, making and removing, medians of 41: a link costs 3 to 4 µs, a copy 32 µs
/// for 16 KiB, 60 µs for 256 KiB, 200 µs for 1 MiB, which is about a fifth of starting a process; 4 MiB cost 0.8 ms at
/// best. Whatever else is in the package is copied, however large: a worker may change its own files, a database that
/// it brings for one, and whoever changes a linked file changes the package itself.
const LINK_BYTES: u64 = 1024 * 1024;

/// What is prepared without leaving the thread: handing it to another costs more.
const INLINE_BYTES: u64 = 512 * 1024;
const INLINE_FILES: usize = 64;

/// Most files that are removed by their names, to have the directory empty; beyond that, all of it is removed.
const KNOWN_FILES: usize = 16;

/// The directory of an attempt. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct WorkDir {
    path: PathBuf,
    package: Arc<Package>,
    spares: Arc<Spares>,
    /// The files that were put into it, if they are few and all at its top.
    known: Option<Vec<PathBuf>>,
    is_reusable: bool,
    /// Files of the package that are linked, with the time of their last change.
    linked: Vec<(PathBuf, SystemTime)>,
}

impl WorkDir {
    /// Makes the directory `path` and puts the package and the plan's files into it.
    pub(crate) async fn create(
        spares: Arc<Spares>,
        path: PathBuf,
        package: Arc<Package>,
        plan: &mut Plan,
    ) -> io::Result<Self> {
        let files = std::mem::take(&mut plan.files);
        let executable = plan.executable.take();
        let copied = package.files().iter().filter(|file| !is_linked(file));
        let is_small = package.files().len() <= INLINE_FILES
            && copied.map(|file| file.size_bytes).sum::<u64>() <= INLINE_BYTES;
        let fill = move || {
            let (known, linked) = (Some(Vec::new()), Vec::new());
            let mut dir = WorkDir { path, package, spares, known, is_reusable: false, linked };
            dir.fill(&files, executable.as_deref())?;
            Ok(dir)
        };
        if is_small { fill() } else { tokio::task::spawn_blocking(fill).await.map_err(io::Error::other)? }
    }

    fn fill(&mut self, files: &[(&'static str, Vec<u8>)], executable: Option<&str>) -> io::Result<()> {
        self.spares.make(&self.path)?;
        // A package that brings something by these names, a folder even, must not be in the way.
        let is_taken = |name: &str| name == RESULT_FILE || files.iter().any(|(taken, _)| *taken == name);
        let mut folder = "";
        for file in self.package.files() {
            if is_taken(file.name.split('/').next().unwrap_or_default()) {
                continue;
            }
            // Sorted by name, so a folder is made once for all its files.
            if let Some((parent, _)) = file.name.rsplit_once('/')
                && parent != folder
            {
                fs::create_dir_all(self.path.join(parent))?;
                folder = parent;
                self.known = None;
            }
            let (from, to) = (self.package.folder().join(&file.name), self.path.join(&file.name));
            let may_run = file.may_run() || executable == Some(&file.name);
            if is_linked(file) && fs::hard_link(&from, &to).is_ok() {
                let changed_at = fs::metadata(&from)?.modified()?;
                self.linked.push((from, changed_at));
            } else {
                copy(&from, &to, may_run)?;
            }
            note(&mut self.known, to);
        }
        for (name, content) in files {
            let path = self.path.join(name);
            File::options().write(true).create_new(true).mode(0o600).open(&path)?.write_all(content)?;
            note(&mut self.known, path);
        }
        Ok(())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The package in it.
    pub(crate) fn package(&self) -> &Package {
        &self.package
    }

    /// What the worker left in its result file. `Err` holds why it is not kept, in words.
    ///
    /// More than `limit` is not kept at all: half a result is worth nothing, and may look like a whole one.
    pub(crate) fn result(&mut self, limit: usize) -> Result<Option<Vec<u8>>, String> {
        // Without following links or waiting for a pipe's other end: the worker made the file.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let path = self.path.join(RESULT_FILE);
        let file = match File::options().read(true).custom_flags(flags).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unreadable(&e)),
        };
        let content = keep(&file, limit);
        if file.metadata().is_ok_and(|meta| meta.is_file()) {
            note(&mut self.known, path);
        }
        content.map(Some)
    }

    /// Whether a linked file of the package was changed, which nothing but good manners keeps a worker from.
    pub(crate) fn has_changed_package(&self) -> bool {
        let is_same = |(path, at): &(PathBuf, SystemTime)| {
            fs::metadata(path).and_then(|meta| meta.modified()).is_ok_and(|now| now == *at)
        };
        !self.linked.iter().all(is_same)
    }

    /// The attempt ended by itself: the directory may serve another if nothing but ours is left in it.
    pub(crate) fn ended_by_itself(&mut self) {
        self.is_reusable = true;
    }

    /// Keeps it for another attempt, if it is fit for that.
    fn reuse(&self) -> bool {
        let Some(known) = self.known.as_ref().filter(|_| self.is_reusable) else { return false };
        self.spares.keep(&self.path, known)
    }
}

/// The content of a result file that a worker left, or why it is not kept, in words.
pub(crate) fn keep(mut file: &File, limit: usize) -> Result<Vec<u8>, String> {
    if !file.metadata().map_err(|e| unreadable(&e))?.is_file() {
        return Err("the result is not kept: it is not a plain file".to_owned());
    }
    let mut content = Vec::new();
    (&mut file).take(limit as u64 + 1).read_to_end(&mut content).map_err(|e| unreadable(&e))?;
    if content.len() > limit {
        return Err(format!("the result is not kept: it is larger than {} KiB", limit / 1024));
    }
    Ok(content)
}

/// Why a result is not kept that is there.
pub(crate) fn unreadable(error: &io::Error) -> String {
    format!("the result cannot be read: {error}")
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if !self.reuse()
            && let Err(error) = remove(&self.path)
        {
            warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Notes a file that is to be removed by its name.
fn note(known: &mut Option<Vec<PathBuf>>, path: PathBuf) {
    match known {
        Some(paths) if paths.len() < KNOWN_FILES => paths.push(path),
        _ => *known = None,
    }
}

/// Makes `folder`, for nobody else to look into, and removes what is in it.
pub(crate) fn sweep(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for entry in fs::read_dir(folder)? {
        remove(&entry?.path())?;
    }
    Ok(())
}

/// Whether the file is linked rather than copied.
fn is_linked(file: &Unpacked) -> bool {
    file.size_bytes >= LINK_BYTES && file.is_executable
}

/// A copy that the worker may change.
fn copy(from: &Path, to: &Path, is_executable: bool) -> io::Result<()> {
    let mode = if is_executable { 0o755 } else { 0o644 };
    let mut target = File::options().write(true).create_new(true).mode(mode).open(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    Ok(())
}

/// Removes a directory with all that is in it, also where the worker has taken away its own rights.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
