//! A program of one file, made into the zip that a package is.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Whether the file is a zip, also an empty one, by its first bytes.
pub fn is_zip(file: &mut File) -> io::Result<bool> {
    let mut magic = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    (&mut *file).take(4).read_to_end(&mut magic)?;
    Ok(matches!(magic.as_slice(), b"PK\x03\x04" | b"PK\x05\x06"))
}

/// The last part of the name that a browser gave a file; empty if it is no name for a file in a package.
pub fn plain_name(given: &str) -> &str {
    let name = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_odd = name.starts_with('.') || name.chars().any(char::is_control);
    if is_odd { "" } else { name }
}

/// A zip in `folder`, nameless, with the file in it as an executable called `name`.
pub fn wrap(mut file: File, name: &str, folder: &Path) -> io::Result<File> {
    file.seek(SeekFrom::Start(0))?;
    let mut zip = ZipWriter::new(tempfile::tempfile_in(folder)?);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .unix_permissions(0o755)
        .large_file(true);
    zip.start_file(name, options)?;
    io::copy(&mut file, &mut zip)?;
    Ok(zip.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_program_of_one_file_becomes_a_package() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = tempfile::tempfile_in(folder.path()).unwrap();
        program.write_all(b"#!/bin/sh\necho hello\n").unwrap();
        assert!(!is_zip(&mut program).unwrap());
        let mut zip = wrap(program, "hello.sh", folder.path()).unwrap();
        assert!(is_zip(&mut zip).unwrap());
        let mut archive = zip::ZipArchive::new(zip).unwrap();
        let mut text = String::new();
        let mut entry = archive.by_name("hello.sh").unwrap();
        assert_eq!(entry.unix_mode().unwrap() & 0o777, 0o755);
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(text, "#!/bin/sh\necho hello\n");
    }

    #[test]
    fn only_the_last_part_of_a_name_counts() {
        let names = ["hello.py", "C:\\work\\hello.py", "../../hello.py", "..", ".bashrc", "a\u{7}b", ""];
        assert_eq!(names.map(plain_name), ["hello.py", "hello.py", "hello.py", "", "", "", ""]);
    }
}
