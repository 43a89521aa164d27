//! What is checked of a container image that is uploaded as an archive: that there is one image in it, and that its
//! parts are what their digests say. Nothing is unpacked: runners do that, and check again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};

use sha2::{Digest as _, Sha256};
use windlass_model::image::archive::{self, Found};
use windlass_model::image::{Digest, MAX_DOCUMENT};

use super::package::Refused;

/// Files in an archive: layers and a few documents.
const MAX_FILES: usize = 10_000;

/// An image that may be kept.
#[derive(Debug)]
pub struct Named {
    /// What it is called: as the archive says, or by its digest.
    pub name: String,
}

/// Checks the archive in `file`.
pub fn check(file: &File) -> Result<Named, Refused> {
    let index = Index::read(file).map_err(|e| refused(&format!("it is no tar that can be read: {e}")))??;
    let found = archive::find(&index, None).map_err(|why| refused(&why))?;
    let Found { name, id, layers, .. } = found;
    for layer in &layers {
        match index.files.get(&layer.path) {
            None => return Err(refused(&format!("its layer {} is not in it", layer.path))),
            // A link to another layer, as older archives have it: runners follow it.
            Some(Entry::Other) => {}
            Some(&Entry::File { at, size }) => {
                let own = index.hash(at, size).map_err(|e| Refused::unreadable(&e))?;
                if layer.digest.as_ref().is_some_and(|said| *said != own) {
                    let path = &layer.path;
                    return Err(refused(&format!("its layer {path} is something else than its digest says")));
                }
            }
        }
    }
    Ok(Named { name: name.unwrap_or_else(|| id.to_string()) })
}

fn refused(why: &str) -> Refused {
    Refused { field: "image_archive", why: format!("the image cannot be used: {why}"), is_too_large: false }
}

/// Where the files of an archive are in it.
struct Index<'a> {
    file: &'a File,
    files: HashMap<String, Entry>,
}

enum Entry {
    File { at: u64, size: u64 },
    Other,
}

impl<'a> Index<'a> {
    fn read(file: &'a File) -> io::Result<Result<Self, Refused>> {
        let mut files = HashMap::new();
        let mut tar = tar::Archive::new(BufReader::new(file));
        for entry in tar.entries_with_seek()? {
            if files.len() == MAX_FILES {
                return Ok(Err(refused(&format!("it holds more than {MAX_FILES} files"))));
            }
            let entry = entry?;
            let Ok(path) = String::from_utf8(entry.path_bytes().into_owned()) else { continue };
            let path = path.trim_start_matches("./").to_owned();
            let kind = entry.header().entry_type();
            if kind.is_file() {
                files.insert(path, Entry::File { at: entry.raw_file_position(), size: entry.size() });
            } else if !kind.is_dir() {
                files.insert(path, Entry::Other);
            }
        }
        Ok(Ok(Self { file, files }))
    }

    fn content(&self, at: u64, size: u64) -> io::Result<io::Take<&'a File>> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(at))?;
        Ok(file.take(size))
    }

    fn hash(&self, at: u64, size: u64) -> io::Result<Digest> {
        let mut hash = Sha256::new();
        if io::copy(&mut self.content(at, size)?, &mut hash)? < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(digest(&hash.finalize()))
    }
}

impl archive::Files for Index<'_> {
    fn document(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(&Entry::File { at, size }) = self.files.get(path) else { return Ok(None) };
        if size > MAX_DOCUMENT {
            return Err(format!("`{path}` is larger than {} MiB, which is the limit", MAX_DOCUMENT >> 20));
        }
        let mut bytes = Vec::new();
        let read = self.content(at, size).and_then(|mut content| content.read_to_end(&mut bytes));
        read.map_err(|e| format!("`{path}` cannot be read: {e}"))?;
        Ok(Some(bytes))
    }

    fn digest(&self, bytes: &[u8]) -> Digest {
        digest(&Sha256::digest(bytes))
    }
}

fn digest(hash: &[u8]) -> Digest {
    Digest::of_hex(&hex::encode(hash)).expect("a hash is a digest")
}
