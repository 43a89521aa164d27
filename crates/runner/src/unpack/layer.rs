//! Unpacking a layer of a container image: a tar that nobody vouches for, plain or compressed.
//!
//! A layer holds what packages do not: links, and marks that hide what is in the layers below. Links are kept, and
//! never followed on the way: a name that leads through one is refused, and a hard link leads to a file of the same
//! layer. Devices, pipes, owners and attributes are left out; of modes, whatever would make a file more than its owner's
//! to write. Counted is what comes out of the decoder and what is written, whatever the tar declares.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, futimens, mkdirat, mknodat};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::{UnpackError, unusable};
use crate::spawner::sys::mounts::make_opaque;

/// Most files, folders and links in a layer: several times what a whole distribution has.
const MAX_ENTRIES: usize = 500_000;

/// Longest name of an entry, and most folders that are within each other: so that the folder can be walked by paths.
const MAX_NAME: usize = 2048;
const MAX_DEPTH: usize = 128;

/// What begins the name of an entry that hides something of the layers below.
const MARK: &[u8] = b".wh.";
/// The mark that hides everything of its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other marks begin so: those of a file system that nobody uses any more.
const OLD_MARKS: &[u8] = b".wh..wh.";

/// A layer that was unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// Bytes of its files.
    pub(crate) size_bytes: u64,
    /// SHA-256 of the tar in hexadecimal.
    pub(crate) diff_id: String,
    /// What it hides of the layers below.
    pub(crate) hidden: Vec<Hidden>,
}

/// Something of the layers below that is not to be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hidden {
    /// Whatever has this path: its bytes in hexadecimal.
    Path(String),
    /// Whatever is in the folder that has this path.
    Within(String),
}

/// Unpacks `layer` into the empty folder `into`, `limit_bytes` at most. What it hides is only told: see [`hide`].
pub(super) fn fill(layer: File, into: &impl AsFd, limit_bytes: u64) -> Result<Layer, UnpackError> {
    let tar = Counted { from: decoder(layer)?, hash: Sha256::new(), left: limit_bytes, is_over: false };
    let mut archive = tar::Archive::new(tar);
    let mut writer = Writer {
        into: into.as_fd(),
        parent: None,
        left: limit_bytes,
        size_bytes: 0,
        hidden: Vec::new(),
        buffer: vec![0; 64 * 1024],
    };
    let filled = fill_all(&mut archive, &mut writer, limit_bytes);
    let mut tar = archive.into_inner();
    // Padding is part of what the digest is of.
    let read_all =
        filled.and_then(|()| io::copy(&mut tar, &mut io::sink()).map(drop).map_err(|e| broken(&e)));
    if tar.is_over {
        return Err(too_large(limit_bytes));
    }
    read_all?;
    Ok(Layer {
        size_bytes: writer.size_bytes,
        diff_id: hex::encode(tar.hash.finalize()),
        hidden: writer.hidden,
    })
}

fn fill_all<R: Read>(
    archive: &mut tar::Archive<R>,
    writer: &mut Writer<'_>,
    limit_bytes: u64,
) -> Result<(), UnpackError> {
    for (n, entry) in archive.entries().map_err(|e| broken(&e))?.enumerate() {
        if n == MAX_ENTRIES {
            return Err(unusable(format!("a layer has more than {MAX_ENTRIES} entries, which is the limit")));
        }
        let mut entry = entry.map_err(|e| broken(&e))?;
        writer.add(&mut entry, limit_bytes)?;
    }
    Ok(())
}

/// The tar in a file.
fn decoder(file: File) -> Result<Box<dyn Read>, UnpackError> {
    let mut file = BufReader::with_capacity(64 * 1024, file);
    let head = file.fill_buf()?;
    Ok(match head {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(Frames { at: Some(At::Border(file)) })
        }
        _ => Box::new(file),
    })
}

/// A file of Zstandard frames, one after another.
struct Frames {
    at: Option<At>,
}

enum At {
    Border(BufReader<File>),
    Frame(Box<ruzstd::decoding::StreamingDecoder<BufReader<File>, ruzstd::decoding::FrameDecoder>>),
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::StreamingDecoder;
        use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
        loop {
            match self.at.take() {
                Some(At::Border(mut file)) => {
                    if file.fill_buf()?.is_empty() {
                        self.at = Some(At::Border(file));
                        return Ok(0);
                    }
                    if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] = file.fill_buf()? {
                        let mut head = [0; 8];
                        file.read_exact(&mut head)?;
                        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
                        io::copy(&mut (&mut file).take(length.into()), &mut io::sink())?;
                        self.at = Some(At::Border(file));
                        continue;
                    }
                    match StreamingDecoder::new(file) {
                        Ok(frame) => self.at = Some(At::Frame(Box::new(frame))),
                        Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                            ..
                        })) => {
                            return Err(io::Error::other("a frame is of a kind that is not known"));
                        }
                        Err(error) => {
                            return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string()));
                        }
                    }
                }
                Some(At::Frame(mut frame)) => match frame.read(buffer)? {
                    0 if !buffer.is_empty() => self.at = Some(At::Border(frame.into_inner())),
                    read => {
                        self.at = Some(At::Frame(frame));
                        return Ok(read);
                    }
                },
                // It broke before.
                None => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// Counts and hashes what comes out of a decoder.
struct Counted {
    from: Box<dyn Read>,
    hash: Sha256,
    left: u64,
    is_over: bool,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hash.update(&buffer[..read]);
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                self.is_over = true;
                return Err(io::Error::other("larger than the limit"));
            }
        }
        Ok(read)
    }
}

/// Writes entries below a folder.
struct Writer<'a> {
    into: BorrowedFd<'a>,
    /// The folder of the entry before, which is mostly that of the next.
    parent: Option<(PathBuf, OwnedFd)>,
    left: u64,
    size_bytes: u64,
    hidden: Vec<Hidden>,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn add<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, limit_bytes: u64) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        let path = path_of(&entry.path_bytes())?;
        let Some(name) = path.file_name() else { return Ok(()) };
        let parent_path = path.parent().unwrap_or(Path::new(""));
        if name.as_bytes().starts_with(MARK) {
            let hex = |path: &Path| hex::encode(path.as_os_str().as_bytes());
            match name.as_bytes() {
                OPAQUE => self.hidden.push(Hidden::Within(hex(parent_path))),
                old if old.starts_with(OLD_MARKS) => {}
                mark => {
                    let hidden = parent_path.join(std::ffi::OsStr::from_bytes(&mark[MARK.len()..]));
                    self.hidden.push(Hidden::Path(hex(&path_of(hidden.as_os_str().as_bytes())?)));
                }
            }
            return Ok(());
        }
        let mode = Mode::from_bits_truncate(entry.header().mode().map_err(|e| broken(&e))? & 0o755);
        self.enter(parent_path)?;
        let parent = self.parent.as_ref().map_or(self.into, |(_, folder)| folder.as_fd());
        match kind {
            EntryType::Directory => {
                folder(parent, Path::new(name)).map_err(|e| conflict(&path, e))?;
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let made = openat(parent, name, flags, Mode::empty()).map_err(|e| conflict(&path, e))?;
                fchmod(made, mode | Mode::S_IRWXU).map_err(io::Error::from)?;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                clear(parent, name).map_err(|e| conflict(&path, e))?;
                let flags =
                    OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let file = openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
                    .map_err(|e| conflict(&path, e))?;
                let mut file = File::from(file);
                let mtime = entry.header().mtime().unwrap_or(0);
                loop {
                    let read = entry.read(&mut self.buffer).map_err(|e| broken(&e))?;
                    if read == 0 {
                        break;
                    }
                    self.left = self.left.checked_sub(read as u64).ok_or_else(|| too_large(limit_bytes))?;
                    file.write_all(&self.buffer[..read])?;
                    self.size_bytes += read as u64;
                }
                fchmod(&file, mode | Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from)?;
                // Interpreters keep what they compiled by the time of the source.
                let time = TimeSpec::seconds(i64::try_from(mtime).unwrap_or(0));
                futimens(&file, &time, &time).map_err(io::Error::from)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default();
                clear(parent, name).map_err(|e| conflict(&path, e))?;
                symlinkat(&*target, parent, name).map_err(|e| conflict(&path, e))?;
            }
            EntryType::Link => {
                let target = path_of(&entry.link_name_bytes().unwrap_or_default())?;
                let Some(target_name) = target.file_name() else {
                    return Err(unusable(format!("`{}` is a link to no file", path.display())));
                };
                let is_missing = || {
                    let (path, target) = (path.display(), target.display());
                    unusable(format!("`{path}` is a hard link to `{target}`, which is no file of its layer"))
                };
                let target_folder = match target.parent() {
                    Some(folder) if !folder.as_os_str().is_empty() => {
                        Some(beneath(self.into, folder).map_err(|_| is_missing())?)
                    }
                    _ => None,
                };
                let target_folder = target_folder.as_ref().map_or(self.into, AsFd::as_fd);
                if target != path {
                    clear(parent, name).map_err(|e| conflict(&path, e))?;
                }
                match linkat(target_folder, target_name, parent, name, AtFlags::empty()) {
                    Ok(()) => {}
                    Err(Errno::EEXIST) if target == path => {}
                    Err(Errno::ENOENT | Errno::EPERM | Errno::ENOTDIR) => return Err(is_missing()),
                    Err(error) => return Err(conflict(&path, error)),
                }
            }
            // Whatever is none of a file's business: devices, pipes, what is said of the whole archive.
            _ => {}
        }
        Ok(())
    }

    /// Opens the folder that the next entry is in, and makes it if it is not there.
    fn enter(&mut self, path: &Path) -> Result<(), UnpackError> {
        if path.as_os_str().is_empty() {
            self.parent = None;
            return Ok(());
        }
        if self.parent.as_ref().is_some_and(|(known, _)| known == path) {
            return Ok(());
        }
        self.parent = Some((path.to_owned(), make_beneath(self.into, path).map_err(|e| conflict(path, e))?));
        Ok(())
    }
}

/// Hides what a layer says is to be hidden of those below it, in the form that the file system has for it which joins
/// them. `root` is the unpacked layer, which nobody else may have access to any more.
pub(super) fn hide(root: &impl AsFd, hidden: &[Hidden]) -> Result<(), UnpackError> {
    let path = |hex: &str| {
        let bytes = hex::decode(hex).map_err(|e| unusable(e.to_string()))?;
        path_of(&bytes)
    };
    let root = root.as_fd();
    for hidden in hidden {
        match hidden {
            Hidden::Within(folder) => within(root, &path(folder)?)?,
            Hidden::Path(hex) => {
                let path = path(hex)?;
                let Some(name) = path.file_name() else { continue };
                let parent = path.parent().unwrap_or(Path::new(""));
                let parent = make_beneath(root, parent).map_err(|e| conflict(&path, e))?;
                match mknodat(&parent, name, SFlag::S_IFCHR, Mode::empty(), 0) {
                    Ok(()) => {}
                    // The layer has something else there. A file hides by itself; of a folder that was made anew,
                    // what was in it before.
                    Err(Errno::EEXIST) => {
                        let there =
                            fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
                        if there.st_mode & libc::S_IFMT == libc::S_IFDIR {
                            within(root, &path)?;
                        }
                    }
                    Err(error) => return Err(io::Error::from(error).into()),
                }
            }
        }
    }
    Ok(())
}

fn within(root: BorrowedFd<'_>, path: &Path) -> Result<(), UnpackError> {
    let folder = make_beneath(root, path).map_err(|e| conflict(path, e))?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = openat(&folder, ".", flags, Mode::empty()).map_err(io::Error::from)?;
    make_opaque(folder.as_fd()).map_err(|error| match error {
        Errno::EOPNOTSUPP => UnpackError::Io(io::Error::other(
            "the file system of the work directory keeps no attributes of files, which images need",
        )),
        error => UnpackError::Io(error.into()),
    })
}

/// The folder `path` below `root`, by no link on the way.
fn beneath(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(root, path, how)
}

/// The same, and whatever is missing of it is made.
fn make_beneath(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    match beneath(root, path) {
        Err(Errno::ENOENT) => {}
        found => return found,
    }
    let parent = make_beneath(root, path.parent().unwrap_or(Path::new("")))?;
    folder(parent.as_fd(), Path::new(path.file_name().unwrap_or_default()))?;
    beneath(root, path)
}

/// Makes a folder, unless it is there.
fn folder(parent: BorrowedFd<'_>, name: &Path) -> Result<(), Errno> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) => Ok(()),
        Err(Errno::EEXIST) => {
            // Something else of this name was there, and gives way, as to a file.
            if fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_mode & libc::S_IFMT == libc::S_IFDIR {
                return Ok(());
            }
            unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?;
            mkdirat(parent, name, Mode::from_bits_truncate(0o755))
        }
        Err(error) => Err(error),
    }
}

/// Takes away what an earlier entry put there, as the last of several holds. A folder must be empty.
fn clear(parent: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<(), Errno> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EISDIR) => unlinkat(parent, name, UnlinkatFlags::RemoveDir),
        Err(error) => Err(error),
    }
}

/// The path below the layer's folder that a name stands for; empty for the folder itself.
fn path_of(name: &[u8]) -> Result<PathBuf, UnpackError> {
    let shown = || String::from_utf8_lossy(&name[..name.len().min(100)]).into_owned();
    if name.contains(&0) {
        return Err(unusable(format!("the name `{}` holds a zero byte", shown())));
    }
    let parts: Vec<_> = name.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err(unusable(format!("the name `{}` leads out of the image", shown())));
    }
    if name.len() > MAX_NAME || parts.len() > MAX_DEPTH || parts.iter().any(|part| part.len() > 255) {
        return Err(unusable(format!("a name is too long: `{}…`", shown())));
    }
    Ok(parts.iter().map(|part| std::ffi::OsStr::from_bytes(part)).collect())
}

fn conflict(path: &Path, error: Errno) -> UnpackError {
    let path = path.display();
    match error {
        Errno::ELOOP | Errno::EXDEV => unusable(format!("`{path}` leads through a link")),
        Errno::ENOTDIR => unusable(format!("`{path}` leads through something that is no folder")),
        Errno::EEXIST | Errno::ENOTEMPTY | Errno::EISDIR => {
            unusable(format!("a layer has two entries for `{path}` that do not go together"))
        }
        Errno::ENAMETOOLONG => unusable(format!("a name is too long: `{path}`")),
        Errno::ENOENT | Errno::EINVAL => unusable(format!("`{path}` cannot be made: {error}")),
        error => UnpackError::Io(error.into()),
    }
}

fn broken(error: &io::Error) -> UnpackError {
    unusable(format!("a layer is damaged: {error}"))
}

fn too_large(limit_bytes: u64) -> UnpackError {
    unusable(format!("unpacked it is larger than {} MiB, which is the limit", limit_bytes >> 20))
}

#[cfg(test)]
mod tests;
