//! A container image in a file or a folder, as an upload carries it.

use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// The archive at `path` as a tar: a folder that is an OCI layout is packed, and a compressed tar decompressed. Its layers
/// stay as they are.
pub(super) fn read(path: &Path) -> io::Result<Bytes> {
    if path.is_dir() {
        let mut tar = tar::Builder::new(Vec::new());
        tar.follow_symlinks(false);
        tar.mode(tar::HeaderMode::Deterministic);
        append(&mut tar, path, Path::new(""))?;
        return Ok(tar.into_inner()?.into());
    }
    let bytes = std::fs::read(path)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut tar = Vec::new();
        MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut tar)?;
        return Ok(tar.into());
    }
    Ok(bytes.into())
}

/// Appends the folder `within` of `root` and all that is in it, in the order of names: the same layout is the same
/// archive.
fn append(tar: &mut tar::Builder<Vec<u8>>, root: &Path, within: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(root.join(within))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = within.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => append(tar, root, &name)?,
            false => tar.append_path_with_name(entry.path(), &name)?,
        }
    }
    Ok(())
}
