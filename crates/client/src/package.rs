//! Makes the zip that an upload carries.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use zip::write::SimpleFileOptions;

/// Why no package could be made.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// A file cannot be part of a package.
    #[error("{path} cannot be packaged: {reason}")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// There is nothing in it.
    #[error("{0} has no files to package")]
    Empty(PathBuf),
}

/// Collects files for a zip. The same files make the same bytes, so an unchanged package is stored once.
///
/// Of a folder, `.git`, credentials (`iron.json`, `.iron.json`) and a server's own `windlass-data` stay out:
/// a worker gets a token of its own in its environment.
#[derive(Clone, Debug, Default)]
pub struct Package {
    files: BTreeMap<String, PathBuf>,
    left_out: Vec<String>,
}

const LEFT_OUT: [&str; 4] = [".git", "iron.json", ".iron.json", "windlass-data"];

impl Package {
    /// An empty package.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything below `folder`, under its path within it. Links to files are followed, and so become files.
    ///
    /// # Errors
    /// A link to a folder, a name that is not UTF-8, and anything that is neither file nor folder cannot be packaged.
    pub fn folder(folder: &Path) -> Result<Self, PackageError> {
        let mut package = Self::new();
        package.add_folder(folder, "")?;
        if package.files.is_empty() {
            return Err(PackageError::Empty(folder.to_owned()));
        }
        Ok(package)
    }

    /// Adds the file at `path` as `name` within the package; one that is there already by that name is replaced.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.files.insert(name.into(), path.into());
        self
    }

    /// Names of the files, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// What was found and stays out.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The zip. Execute permissions are kept, other permissions and times are not.
    pub fn zip(&self) -> Result<Bytes, PackageError> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, path) in &self.files {
            let unreadable = |e: &dyn std::fmt::Display| PackageError::Unreadable {
                path: path.clone(),
                reason: e.to_string(),
            };
            let mut file = std::fs::File::open(path).map_err(|e| unreadable(&e))?;
            let meta = file.metadata().map_err(|e| unreadable(&e))?;
            let mode = if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            let options = SimpleFileOptions::DEFAULT
                .unix_permissions(mode)
                .last_modified_time(zip::DateTime::DEFAULT)
                .large_file(meta.len() >= u64::from(u32::MAX));
            zip.start_file(name, options).map_err(|e| unreadable(&e))?;
            std::io::copy(&mut file, &mut zip).map_err(|e| unreadable(&e))?;
            zip.flush().map_err(|e| unreadable(&e))?;
        }
        let end = zip.finish().expect("a zip in memory can always be ended");
        Ok(Bytes::from(end.into_inner()))
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) -> Result<(), PackageError> {
        let unreadable =
            |e: std::io::Error| PackageError::Unreadable { path: folder.to_owned(), reason: e.to_string() };
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let unfit = |reason: &str| PackageError::Unfit { path: path.clone(), reason: reason.to_owned() };
            let name = entry.file_name().into_string().map_err(|_| unfit("its name is not UTF-8"))?;
            let name = format!("{prefix}{name}");
            if LEFT_OUT.contains(&name.as_str()) {
                self.left_out.push(name);
                continue;
            }
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() {
                self.add_folder(&path, &format!("{name}/"))?;
                continue;
            }
            let target = std::fs::metadata(&path)
                .map_err(|e| PackageError::Unreadable { path: path.clone(), reason: e.to_string() })?;
            if target.is_dir() {
                return Err(unfit("it is a link to a folder; put the folder itself in its place"));
            }
            if !target.is_file() {
                return Err(unfit("it is neither a file nor a folder"));
            }
            self.files.insert(name, path);
        }
        self.left_out.sort();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn write(root: &Path, name: &str, text: &str, mode: u32) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_becomes_a_zip_that_keeps_execute_permissions() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "run.sh", "echo hi", 0o755);
        write(root.path(), "lib/data.txt", "data", 0o600);
        write(root.path(), ".git/HEAD", "x", 0o644);
        write(root.path(), "iron.json", "{}", 0o600);
        std::os::unix::fs::symlink("run.sh", root.path().join("alias")).unwrap();
        let package = Package::folder(root.path()).unwrap();
        assert_eq!(package.names().collect::<Vec<_>>(), ["alias", "lib/data.txt", "run.sh"]);
        assert_eq!(package.left_out(), [".git", "iron.json"]);
        let bytes = package.zip().unwrap();
        assert_eq!(bytes, package.zip().unwrap());
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mode = |zip: &mut zip::ZipArchive<Cursor<Bytes>>, name| {
            zip.by_name(name).unwrap().unix_mode().unwrap() & 0o777
        };
        assert_eq!(mode(&mut zip, "run.sh"), 0o755);
        assert_eq!(mode(&mut zip, "lib/data.txt"), 0o644);
        let mut text = String::new();
        zip.by_name("alias").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "echo hi");
    }

    #[test]
    fn what_cannot_be_packaged_is_named() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(Package::folder(root.path()), Err(PackageError::Empty(_))));
        std::os::unix::fs::symlink("..", root.path().join("up")).unwrap();
        let problem = Package::folder(root.path()).unwrap_err().to_string();
        assert!(problem.contains("up cannot be packaged: it is a link to a folder"), "{problem}");
        let problem = Package::new().file("a", "/nowhere/a").zip().unwrap_err().to_string();
        assert!(problem.starts_with("/nowhere/a cannot be read"), "{problem}");
    }
}
