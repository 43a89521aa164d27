//! What a package was when it was unpacked, as one hash: so that one that is not whole any more is not run.
//!
//! A runner that starts again finds packages of before. A disk that fails, a power failure, or somebody's hands may have
//! changed them since.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::unpack::Unpacked;

/// What the file with the imprint of the package `name` is called, beside the package.
pub(crate) fn file_of(name: &str) -> String {
    format!("{name}{ENDING}")
}

/// The name of the package whose imprint is in a file of this name.
pub(crate) fn package_of(file: &str) -> Option<&str> {
    file.strip_suffix(ENDING)
}

const ENDING: &str = ".imprint";

/// The imprint of `files`, in the order of their names, which are in `folder`: names, what may be run, and contents.
pub(crate) fn take(folder: &Path, files: &[Unpacked]) -> io::Result<String> {
    let mut imprint = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    for file in files {
        // Names end where no name can go on, and contents have their length before them: no two packages read the same.
        imprint.update(file.name.as_bytes());
        imprint.update([0, u8::from(file.may_run())]);
        imprint.update(file.size_bytes.to_le_bytes());
        let mut content = fs::File::open(folder.join(&file.name))?;
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                read => imprint.update(&buffer[..read]),
            }
        }
    }
    Ok(hex::encode(imprint.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_in_a_package_changes_its_imprint() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
        let file = |name: &str, size_bytes, is_executable| Unpacked {
            name: name.to_owned(),
            size_bytes,
            is_executable,
        };
        fs::create_dir(folder.path().join("in")).unwrap();
        put("a", "one");
        put("in/b", "two");
        let whole = || take(folder.path(), &[file("a", 3, false), file("in/b", 3, false)]).unwrap();
        let before = whole();
        assert_eq!(whole(), before);
        assert_ne!(take(folder.path(), &[file("a", 3, false), file("in/b", 3, true)]).unwrap(), before);
        assert_ne!(take(folder.path(), &[file("a", 3, false)]).unwrap(), before);
        put("in/b", "tvo");
        assert_ne!(whole(), before);
        fs::remove_file(folder.path().join("in/b")).unwrap();
        assert!(take(folder.path(), &[file("a", 3, false), file("in/b", 3, false)]).is_err());
    }
}
