//! The interpreters of this host.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::sandbox;
use crate::sandbox::root::{Entry, PROGRAMS, shows};

/// Interpreters that a package may name, as programs.
pub(crate) const INTERPRETERS: [&str; 8] = ["sh", "ruby", "python", "php", "node", "perl", "java", "mono"];

/// Most programs that are remembered: their names come from packages.
const REMEMBERED: usize = 256;

/// Finds programs on this host's PATH, with `python` there also where the host has only `python3`; for a sandbox, those
/// that can be seen in it.
#[derive(Debug)]
pub(crate) struct Programs {
    path: String,
    /// Programs that workers find by another name than the host has them: path as workers see it, and the host's.
    alias: Option<(String, PathBuf)>,
    /// What is in the sandbox; none: there is no sandbox, and everything is seen.
    root: Option<Vec<Entry>>,
    /// By name: the path as workers see it, and the program that it leads to.
    found: Mutex<HashMap<String, (String, PathBuf)>>,
    binaries: Mutex<HashMap<String, String>>,
}

impl Programs {
    /// Makes the folder `shims` that comes before `host_path` in what workers search.
    pub(crate) fn of_host(shims: &Path, host_path: &str) -> std::io::Result<Self> {
        std::fs::create_dir_all(shims)?;
        let programs = Self::new(&shims.to_string_lossy(), host_path, None);
        let shim = shims.join("python");
        // The host may have got another interpreter since the link was made.
        let _ = std::fs::remove_file(&shim);
        if let Some((_, python3)) = &programs.alias {
            std::os::unix::fs::symlink(python3, shim)?;
        }
        Ok(programs)
    }

    /// The programs that can be seen in sandboxes of `plan`, which is told the names that the host does not have.
    pub(crate) fn of_sandbox(plan: &mut sandbox::Plan, host_path: &str) -> Self {
        let programs = Self::new(PROGRAMS, host_path, Some(plan.root()));
        if let Some((_, python3)) = &programs.alias {
            plan.alias("python", python3);
        }
        programs
    }

    fn new(own: &str, host_path: &str, root: Option<Vec<Entry>>) -> Self {
        let mut folders = vec![own];
        for folder in host_path.split(':').filter(|folder| folder.starts_with('/')) {
            if !folders.contains(&folder) && is_seen(root.as_deref(), Path::new(folder)) {
                folders.push(folder);
            }
        }
        let path = folders.join(":");
        let mut programs =
            Self { path, alias: None, root, found: Mutex::default(), binaries: Mutex::default() };
        if programs.look_up("python").is_none() {
            programs.alias =
                programs.look_up("python3").map(|(seen, _)| (format!("{own}/python"), seen.into()));
        }
        programs
    }

    /// What workers search for programs, after their own folder: absolute folders, each once.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Path of the program `name`. Looks anew for one that was missing or has gone.
    pub(crate) fn find(&self, name: &str) -> Option<String> {
        self.program(name).map(|(path, _)| path)
    }

    fn program(&self, name: &str) -> Option<(String, PathBuf)> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = found.get(name).filter(|(_, file)| is_program(file)) {
            return Some(program.clone());
        }
        let program = self.look_up(name)?;
        if found.len() >= REMEMBERED {
            found.clear();
        }
        found.insert(name.to_owned(), program.clone());
        Some(program)
    }

    /// Also by its path, which joined to whatever folder is itself.
    fn look_up(&self, name: &str) -> Option<(String, PathBuf)> {
        let folders = self.path.split(':').map(Path::new);
        folders.map(|folder| folder.join(name)).find_map(|path| {
            let alias = self.alias.as_ref().filter(|(alias, _)| Path::new(alias) == path);
            let file = alias.map_or_else(|| path.clone(), |(_, file)| file.clone());
            (is_program(&file) && is_seen(self.root.as_deref(), &file))
                .then(|| Some((path.into_os_string().into_string().ok()?, file)))?
        })
    }

    /// The program of this name, or at this path in one of the folders of [`Programs::path`], if the kernel itself can load
    /// it and anybody may run it: neither depends on a shell.
    pub(crate) fn find_binary(&self, name: &str) -> Option<String> {
        let (path, file) = self.program(name)?;
        let mut binaries = self.binaries.lock().unwrap_or_else(PoisonError::into_inner);
        if binaries.get(name) != Some(&path) {
            if !is_binary(&file) {
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

/// Whether what is at `path` is in the root, if there is one, however many links lead there.
fn is_seen(root: Option<&[Entry]>, path: &Path) -> bool {
    root.is_none_or(|root| path.canonicalize().is_ok_and(|path| shows(root, &path)))
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
        let programs = Programs::of_host(Path::new(shims), &format!("{shims}:/a:/b::.:bin:/a")).unwrap();
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
        let programs = Programs::of_host(&shims, host_path).unwrap();
        assert_eq!(programs.find("python"), None);
        let python3 = program("python3");
        let programs = Programs::of_host(&shims, host_path).unwrap();
        assert_eq!(programs.find("python").unwrap(), shims.join("python").to_str().unwrap());
        assert_eq!(std::fs::read_link(shims.join("python")).unwrap(), python3);
        let python = program("python");
        let programs = Programs::of_host(&shims, host_path).unwrap();
        assert_eq!(programs.find("python").unwrap(), python.to_str().unwrap());
    }
}
