//! Unpacking a zip that nobody vouches for.
//!
//! Refused are: too many entries or bytes (counted while inflating, whatever the zip declares), links and special
//! files, names that are absolute, climb up, hold backslashes, or come twice. Modes are not taken over: a file is
//! 0644, or 0755 if its mode in the zip, or its first bytes, say that it is a program, or if it lies at the top; many
//! tools lose the modes.

pub(crate) mod apart;
pub(crate) mod layer;

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use windlass_model::package::{MAX_ENTRIES, path_of};
use zip::ZipArchive;
use zip::result::ZipError;

/// Why a zip was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The zip breaks a rule: its owner's to mend.
    #[error("the package cannot be used: {0}")]
    Unusable(String),
    /// This host could not do it.
    #[error("cannot unpack the package: {0}")]
    Io(#[from] io::Error),
}

/// A file that was unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Its name below the folder, with slashes.
    pub name: String,
    /// Its length.
    pub size_bytes: u64,
    /// Whether it is a program.
    pub is_executable: bool,
}

impl Unpacked {
    /// Whether the worker may run it. Zips lose modes, so whatever lies at the top may be run, by whatever starts it.
    pub(crate) fn may_run(&self) -> bool {
        self.is_executable || !self.name.contains('/')
    }
}

/// Unpacks `zip` into the new folder `into`, `limit_bytes` at most. Returns its files in the order of their names.
///
/// After an error the folder may hold a part of it.
pub fn unpack(zip: &File, into: &Path, limit_bytes: u64) -> Result<Vec<Unpacked>, UnpackError> {
    fs::create_dir(into)?;
    fill(zip, into, limit_bytes)
}

/// The same into the empty folder `into`.
fn fill(zip: &File, into: &Path, limit_bytes: u64) -> Result<Vec<Unpacked>, UnpackError> {
    let declared = declared_entries(zip)?;
    let mut archive = ZipArchive::new(io::BufReader::new(zip)).map_err(refused)?;
    if archive.len() > MAX_ENTRIES {
        return Err(unusable(format!("it has {} entries, and {MAX_ENTRIES} is the limit", archive.len())));
    }
    // The reader keeps the last of entries with the same name; others keep the first. Neither is to be relied on.
    if let Some(declared) = declared
        && declared != archive.len()
    {
        return Err(unusable(format!("it has {declared} entries with {} names", archive.len())));
    }
    let mut left = limit_bytes;
    let mut files = Vec::with_capacity(archive.len());
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(refused)?;
        let name = match std::str::from_utf8(entry.name_raw()) {
            Ok(name) => name.to_owned(),
            Err(_) => entry.name().map_err(refused)?.into_owned(),
        };
        let relative = path_of(&name).map_err(|fault| unusable(format!("the name {name:?} {fault}")))?;
        let mode = entry.unix_mode().unwrap_or(0);
        match mode & 0o170_000 {
            0o120_000 => return Err(unusable(format!("`{name}` is a link; a package holds files only"))),
            0 | 0o100_000 | 0o040_000 => {}
            _ => return Err(unusable(format!("`{name}` is a special file; a package holds files only"))),
        }
        let path = into.join(&relative);
        let conflict = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                unusable(format!("it has two entries for `{name}`"))
            }
            io::ErrorKind::InvalidFilename => unusable(format!("a name is too long: `{name}`")),
            _ => UnpackError::Io(e),
        };
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(conflict)?;
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(conflict)?;
        }
        let mut first = [0; 4];
        let got = read_up_to(&mut entry, &mut first).map_err(|e| broken(&name, &e))?;
        let is_executable = mode & 0o111 != 0 || first.starts_with(b"#!") || first == *b"\x7fELF";
        let unpacked = Unpacked { name: relative, size_bytes: 0, is_executable };
        let mode = if unpacked.may_run() { 0o755 } else { 0o644 };
        let mut file =
            File::options().write(true).create_new(true).mode(mode).open(&path).map_err(conflict)?;
        // The mask of this process must not take from the mode.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(&first[..got])?;
        let size_bytes = got as u64 + copy(&name, &mut entry, &mut file, left.saturating_sub(got as u64))?;
        left = left.checked_sub(size_bytes).ok_or_else(|| {
            unusable(format!("unpacked it is larger than {} MiB, which is the limit", limit_bytes >> 20))
        })?;
        files.push(Unpacked { size_bytes, ..unpacked });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The number of entries that the end of the zip declares; `None` where it is written elsewhere, or nowhere.
fn declared_entries(zip: &File) -> io::Result<Option<usize>> {
    const END_BYTES: usize = 22;
    let length = zip.metadata()?.len();
    let start = length.saturating_sub((END_BYTES + usize::from(u16::MAX)) as u64);
    let mut tail = vec![0; (length - start) as usize];
    zip.read_exact_at(&mut tail, start)?;
    let end = tail.windows(END_BYTES).rfind(|window| window.starts_with(b"PK\x05\x06"));
    let count = end.map(|end| u16::from_le_bytes([end[10], end[11]]));
    Ok(count.filter(|&count| count != u16::MAX).map(usize::from))
}

/// Copies one byte more than `limit` at most. The reader's errors are the package's, the writer's are ours.
fn copy(name: &str, from: &mut impl Read, to: &mut File, limit: u64) -> Result<u64, UnpackError> {
    let mut buffer = vec![0; 64 * 1024];
    let mut copied = 0;
    while copied <= limit {
        let most = buffer.len().min(usize::try_from(limit - copied + 1).unwrap_or(usize::MAX));
        let read = from.read(&mut buffer[..most]).map_err(|e| broken(name, &e))?;
        if read == 0 {
            break;
        }
        to.write_all(&buffer[..read])?;
        copied += read as u64;
    }
    Ok(copied)
}

fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match from.read(&mut buffer[got..])? {
            0 => break,
            read => got += read,
        }
    }
    Ok(got)
}

fn broken(name: &str, error: &io::Error) -> UnpackError {
    unusable(format!("`{name}` is damaged: {error}"))
}

fn refused(error: ZipError) -> UnpackError {
    match error {
        ZipError::Io(e)
            if e.kind() != io::ErrorKind::UnexpectedEof && e.kind() != io::ErrorKind::InvalidData =>
        {
            UnpackError::Io(e)
        }
        error => unusable(format!("it is no good zip: {error}")),
    }
}

fn unusable(why: String) -> UnpackError {
    UnpackError::Unusable(why)
}

#[cfg(test)]
mod tests;
