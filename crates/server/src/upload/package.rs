//! What is checked of a zip before it is taken: that it can be unpacked, and that unpacking it is safe.
//!
//! First what the zip says of itself, then whether that is so, by decompressing it into nothing: what it says may be a
//! lie, and its owner should hear of it now, not from the first task. Runners check again while they unpack.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};

use memchr::memmem;
use windlass_model::package::{Paths, path_of};
use zip::{CompressionMethod, ZipArchive};

use crate::config::PackageLimits;

/// Why a zip is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong: `file`, or `file_name`.
    pub field: &'static str,
    /// In words, with the entry and the limit.
    pub why: String,
    /// Whether it is for its size.
    pub is_too_large: bool,
}

impl Refused {
    fn because(why: impl Into<String>) -> Self {
        Self { field: "file", why: why.into(), is_too_large: false }
    }

    fn too_large(why: impl Into<String>) -> Self {
        Self { field: "file", why: why.into(), is_too_large: true }
    }

    /// It cannot be read back.
    pub fn unreadable(error: &std::io::Error) -> Self {
        Self::because(format!("the zip cannot be read: {error}"))
    }
}

const TYPE_MASK: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// Checks the zip of `size` bytes; `file_name`, if not empty, must be a file in it.
pub fn check(file: &File, size: u64, limits: &PackageLimits, file_name: &str) -> Result<(), Refused> {
    // Before the directory is read into memory: its length is the sender's to choose.
    let claimed = claimed_entries(file, size).map_err(|e| Refused::unreadable(&e))?;
    check_count(claimed.unwrap_or(0), limits)?;
    let reader = BufReader::new(file);
    let mut archive =
        ZipArchive::new(reader).map_err(|e| Refused::because(format!("it is not a readable zip: {e}")))?;
    check_count(archive.len() as u64, limits)?;
    // The reader keeps the last of entries with the same name; others keep the first. Neither is to be relied on.
    if let Some(claimed) = claimed
        && claimed != archive.len() as u64
    {
        return Err(Refused::because(format!("the zip has {claimed} entries with {} names", archive.len())));
    }
    let wanted = file_name.trim_start_matches("./");
    let mut is_found = wanted.is_empty();
    let (mut unpacked, mut packed) = (0u64, 0u64);
    let mut paths = Paths::default();
    for n in 0..archive.len() {
        let entry = archive.by_index_raw(n).map_err(|e| damaged(n, &e))?;
        let name = match std::str::from_utf8(entry.name_raw()) {
            Ok(name) => name.to_owned(),
            Err(_) => entry.name().map_err(|e| damaged(n, &e))?.into_owned(),
        };
        let path = check_name(&name, limits)?;
        check_kind(&name, entry.unix_mode())?;
        if entry.encrypted() {
            return Err(Refused::because(format!("entry {name:?} is encrypted")));
        }
        if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            let method = entry.compression();
            return Err(Refused::because(format!("entry {name:?} is compressed with {method}; use deflate")));
        }
        packed = packed.saturating_add(entry.compressed_size());
        unpacked = unpacked.saturating_add(entry.size());
        if unpacked > limits.unpacked_bytes {
            let limit = limits.unpacked_bytes;
            return Err(Refused::too_large(format!(
                "the zip unpacks to more than the limit of {limit} bytes, with entry {name:?}"
            )));
        }
        if packed > size {
            return Err(Refused::because(format!(
                "entry {name:?} shares its bytes with others, as zip bombs do"
            )));
        }
        paths.add(&path, entry.is_file());
        is_found |= entry.is_file() && name.trim_start_matches("./") == wanted;
    }
    if let Some(path) = paths.conflict() {
        return Err(Refused::because(format!("the zip has two entries for {path:?}")));
    }
    if !is_found {
        let why = format!("there is no file {file_name:?} in the zip");
        return Err(Refused { field: "file_name", why, is_too_large: false });
    }
    decompress(&mut archive)
}

/// Whether every entry is what it is said to be: its length, and its checksum. The reader stops at the length, so no
/// more is decompressed than was said in all.
fn decompress(archive: &mut ZipArchive<BufReader<&File>>) -> Result<(), Refused> {
    let mut buffer = vec![0; 64 * 1024];
    for n in 0..archive.len() {
        let mut entry = archive.by_index(n).map_err(|e| damaged(n, &e))?;
        let mut left = entry.size();
        loop {
            let why = match entry.read(&mut buffer) {
                Ok(0) if left == 0 => break,
                Ok(read) if read > 0 && read as u64 <= left => {
                    left -= read as u64;
                    continue;
                }
                Ok(_) => format!("it has not the {} bytes that it says", entry.size()),
                Err(error) => error.to_string(),
            };
            let name = String::from_utf8_lossy(entry.name_raw());
            return Err(Refused::because(format!("entry {name:?} is damaged: {why}")));
        }
    }
    Ok(())
}

fn damaged(n: usize, error: &zip::result::ZipError) -> Refused {
    Refused::because(format!("entry {} of the zip is damaged: {error}", n + 1))
}

fn check_count(entries: u64, limits: &PackageLimits) -> Result<(), Refused> {
    if entries > limits.entries as u64 {
        let limit = limits.entries;
        return Err(Refused::too_large(format!("the zip has {entries} entries, the limit is {limit}")));
    }
    Ok(())
}

/// The path that a name stands for.
fn check_name(name: &str, limits: &PackageLimits) -> Result<String, Refused> {
    if name.len() > limits.path_bytes {
        let start: String = name.chars().take(60).collect();
        let limit = limits.path_bytes;
        return Err(Refused::too_large(format!(
            "entry {start:?}… has a path of {} bytes, the limit is {limit}",
            name.len()
        )));
    }
    path_of(name).map_err(|fault| Refused::because(format!("entry {name:?} {fault}")))
}

fn check_kind(name: &str, mode: Option<u32>) -> Result<(), Refused> {
    match mode.unwrap_or(0) & TYPE_MASK {
        // Many tools leave the kind out.
        0 | REGULAR | DIRECTORY => Ok(()),
        LINK => Err(Refused::because(format!("entry {name:?} is a symbolic link; zip the file itself"))),
        _ => Err(Refused::because(format!("entry {name:?} is neither a file nor a folder"))),
    }
}

/// The number of entries that the end of the zip claims; `None` if there is no such end.
fn claimed_entries(mut file: &File, size: u64) -> std::io::Result<Option<u64>> {
    const END: usize = 22;
    const LOCATOR: usize = 20;
    let tail_size = size.min((END + LOCATOR + usize::from(u16::MAX)) as u64);
    let mut tail = vec![0; tail_size as usize];
    file.seek(SeekFrom::Start(size - tail_size))?;
    file.read_exact(&mut tail)?;
    let Some(at) = memmem::rfind(&tail, b"PK\x05\x06").filter(|at| at + END <= tail.len()) else {
        return Ok(None);
    };
    let short = u64::from(u16::from_le_bytes([tail[at + 10], tail[at + 11]]));
    let locator =
        at.checked_sub(LOCATOR).map(|from| &tail[from..at]).filter(|l| l.starts_with(b"PK\x06\x07"));
    let Some(locator) = locator else { return Ok(Some(short)) };
    let offset = u64::from_le_bytes(locator[8..16].try_into().expect("eight bytes"));
    let mut long = [0; 40];
    file.seek(SeekFrom::Start(offset.min(size)))?;
    match file.read_exact(&mut long) {
        Ok(()) if long.starts_with(b"PK\x06\x06") => {
            let long = u64::from_le_bytes(long[32..40].try_into().expect("eight bytes"));
            // All ones in the short field mean: see the long one.
            Ok(Some(if short == u64::from(u16::MAX) { long } else { short.max(long) }))
        }
        _ => Ok(Some(short)),
    }
}
