//! The interpreters of this host.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Interpreters that a package may name, as programs.
pub(crate) const INTERPRETERS: [&str; 8] = ["sh", "ruby", "python", "php", "node", "perl", "java", "mono"];

/// Most programs that are remembered: their names come from packages.
const REMEMBERED: usize = 256;

/// Finds programs on this host's PATH, with `python` there also where the host has only `python3`.
#[derive(Debug)]
pub(crate) struct Programs {
    path: String,
    found: Mutex<HashMap<String, String>>,
    binaries: Mutex<HashMap<String, String>>,
}

impl Programs {
    /// Makes the folder `shims` that comes before `host_path` in what workers search.
    pub(crate) fn new(shims: &Path, host_path: &str) -> std::io::Result<Self> {
        std::fs::create_dir_all(shims)?;
        let shim = shims.join("python");
        // The host may have got another interpreter since the link was made.
        let _ = std::fs::remove_file(&shim);
        if find("python", host_path).is_none()
            && let Some(python3) = find("python3", host_path)
        {
            std::os::unix::fs::symlink(python3, shim)?;
        }
        let shims = shims.to_string_lossy();
        let mut folders = vec![&*shims];
        for folder in host_path.split(':').filter(|folder| folder.starts_with('/')) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        let path = folders.join(":");
        Ok(Self { path, found: Mutex::default(), binaries: Mutex::default() })
    }

    /// What workers search for programs, after their own folder: absolute folders, each once.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Path of the program `name`. Looks anew for one that was missing or has gone.
    pub(crate) fn find(&self, name: &str) -> Option<String> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = found.get(name).filter(|path| is_program(Path::new(path))) {
            return Some(path.clone());
        }
        let path = find(name, &self.path)?.into_os_string().into_string().ok()?;
        if found.len() >= REMEMBERED {
            found.clear();
        }
        found.insert(name.to_owned(), path.clone());
        Some(path)
    }

    /// The same, if the kernel itself can load it and anybody may run it: neither depends on a shell.
    pub(crate) fn find_binary(&self, name: &str) -> Option<String> {
        let path = self.find(name)?;
        let mut binaries = self.binaries.lock().unwrap_or_else(PoisonError::into_inner);
        if binaries.get(name) != Some(&path) {
            if !is_binary(Path::new(&path)) {
                return None;
            }
            if binaries.len() >= REMEMBERED {
                binaries.clear();
            }
            binaries.insert(name.to_owned(), path.clone());
        }
        Some(path)
    }
}

/// The PATH of this process, or what a system without one has.
pub(crate) fn host_path() -> String {
    let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    std::env::var("PATH").ok().filter(|path| !path.is_empty()).unwrap_or_else(|| usual.to_owned())
}

/// The first program `name` in the absolute folders of `path`.
pub(crate) fn find(name: &str, path: &str) -> Option<PathBuf> {
    let folders = path.split(':').filter(|folder| folder.starts_with('/'));
    folders.map(|folder| Path::new(folder).join(name)).find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn is_binary(path: &Path) -> bool {
    let mut magic = [0; 4];
    let begins_so = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok();
    let is_for_all = std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o111 == 0o111);
    begins_so && magic == *b"\x7fELF" && is_for_all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_is_searched_once_and_none_that_depends_on_where_a_worker_is() {
        let shims = tempfile::tempdir().unwrap();
        let shims = shims.path().to_str().unwrap();
        let programs = Programs::new(Path::new(shims), &format!("{shims}:/a:/b::.:bin:/a")).unwrap();
        assert_eq!(programs.path(), format!("{shims}:/a:/b"));
    }

    #[test]
    fn python_is_there_where_only_python3_is() {
        let host = tempfile::tempdir().unwrap();
        let program = |name: &str| {
            let path = host.path().join(name);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let host_path = host.path().to_str().unwrap();
        let shims = host.path().join("shims");
        let programs = Programs::new(&shims, host_path).unwrap();
        assert_eq!(programs.find("python"), None);
        let python3 = program("python3");
        let programs = Programs::new(&shims, host_path).unwrap();
        assert_eq!(programs.find("python").unwrap(), shims.join("python").to_str().unwrap());
        assert_eq!(std::fs::read_link(shims.join("python")).unwrap(), python3);
        let python = program("python");
        let programs = Programs::new(&shims, host_path).unwrap();
        assert_eq!(programs.find("python").unwrap(), python.to_str().unwrap());
    }
}
