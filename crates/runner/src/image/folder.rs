//! The files of an archive that was unpacked, read without leaving it: it may hold links to anywhere.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use sha2::{Digest as _, Sha256};
use windlass_model::image::{Digest, MAX_DOCUMENT, archive};

/// A folder whose files are read.
pub(crate) struct Folder(File);

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// The file by this name, by links within the folder if need be; `None`: there is none.
    pub(crate) fn file(&self, name: &str) -> Result<Option<File>, String> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = match openat2(&self.0, name, how) {
            Ok(file) => File::from(file),
            Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => return Ok(None),
            Err(error) => return Err(format!("`{name}` cannot be read: {error}")),
        };
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok(Some(file)),
            _ => Err(format!("`{name}` is no file")),
        }
    }
}

impl archive::Files for Folder {
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| format!("`{name}` cannot be read: {e}"))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(format!("`{name}` is larger than {} MiB, which is the limit", MAX_DOCUMENT >> 20));
        }
        Ok(Some(bytes))
    }

    fn digest(&self, bytes: &[u8]) -> Digest {
        digest(Sha256::digest(bytes).as_slice())
    }
}

/// The digest of what is in a file, from where it is read next.
pub(crate) fn digest_of(mut file: &File) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash)?;
    Ok(digest(hash.finalize().as_slice()))
}

fn digest(hash: &[u8]) -> Digest {
    Digest::of_hex(&hex::encode(hash)).expect("a hash is a digest")
}
