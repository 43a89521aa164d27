//! What a task sees of the host: a pure list.
//!
//! Programs and libraries, and of `/etc` what they need and nobody must hide: certificates, time zone, the loader's
//! cache, the settings of languages. Everything else of the host is not hidden but not there: homes, the server's data,
//! other tasks, keys, devices.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The task's directory.
pub(crate) const TASK: &str = "/task";
/// Folders in which a task may write: of `/dev` its devices and shared memory, the folder itself is read-only.
pub(crate) const WRITABLE: [&CStr; 3] = [c"/task", c"/tmp", c"/dev"];
/// The package as it was uploaded, read-only.
pub(crate) const CODE: &str = "/code";
/// Where the runner's own programs are found.
pub(crate) const PROGRAMS: &str = "/windlass/bin";
/// Where the spawner finds packages, and tasks find nothing.
pub(crate) const PACKAGES: &str = "/.packages";
/// What is at `/etc/hosts` and `/etc/resolv.conf` for tasks in the host's network.
pub(crate) const HOST_HOSTS: &str = "/windlass/host-hosts";
pub(crate) const HOST_RESOLV: &str = "/windlass/host-resolv.conf";
/// Where the spawner joins the layers of an image, and where it makes the one on top: empty for all other tasks.
pub(crate) const IMAGE: &str = "/.image";
pub(crate) const TOP: &str = "/.top";
/// An empty folder, to be put over others.
pub(crate) const EMPTY: &str = "/.empty";

/// Folders with programs and libraries. Where they are links, as `/bin` is to `usr/bin` by now, they stay links.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32", "/nix/store"];

/// What is taken from `/etc`; a star stands for any end of a name.
///
/// Never the whole of a folder that may hold keys: of `ssl` the certificates, not `private`.
const ETC: [&str; 49] = [
    "ImageMagick*",
    "R",
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "dotnet",
    "fonts",
    "gai.conf",
    "ghostscript",
    "host.conf",
    "inputrc",
    "java*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "lsb-release",
    "magic",
    "magic.mime",
    "mailcap",
    "maven",
    "mime.types",
    "mono",
    "netconfig",
    "networks",
    "openal",
    "os-release",
    "papersize",
    "perl",
    "php*",
    "pki/ca-trust",
    "pki/java",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "python*",
    "redhat-release",
    "rpc",
    "services",
    "sgml",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
];

/// Devices that hold nothing and lead nowhere.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// One entry of the root, in the order in which they are made. Paths are absolute, as a task sees them; folders on the
/// way to them are made as they are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// An empty folder.
    Folder { at: PathBuf, mode: u32 },
    /// A link.
    Link { at: PathBuf, to: PathBuf },
    /// A file with this content.
    File { at: PathBuf, content: String },
    /// A copy of a small file of the host: a mount less, which every task would have to pay for.
    Copy { from: PathBuf, at: PathBuf },
    /// A file or folder of the host, read-only, without its devices and its set-user-id bits.
    Bind { from: PathBuf, at: PathBuf },
    /// A device of the host.
    Device { at: PathBuf },
}

/// What is at a path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Folder,
    File,
    Link(PathBuf),
}

/// The host, as far as it decides what is in the root.
pub(crate) trait Look {
    /// What is at `path`, links not followed.
    fn find(&self, path: &Path) -> Option<Found>;
    /// The names in a folder, sorted.
    fn names(&self, folder: &Path) -> Vec<String>;
}

/// The host itself.
pub(crate) struct ThisHost;

impl Look for ThisHost {
    fn find(&self, path: &Path) -> Option<Found> {
        let meta = std::fs::symlink_metadata(path).ok()?;
        if meta.is_symlink() {
            return std::fs::read_link(path).ok().map(Found::Link);
        }
        meta.is_dir().then_some(Found::Folder).or_else(|| meta.is_file().then_some(Found::File))
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// What is to be seen beside the system itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras<'a> {
    /// More folders and files of the host, at the paths that they have there.
    pub(crate) binds: &'a [PathBuf],
    /// Programs that are found by other names than the host has them: name and path.
    pub(crate) aliases: &'a [(String, PathBuf)],
    /// The user and the group that tasks run as.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// What tasks need to know of the network.
    pub(crate) names: Names,
    /// The same for tasks in the host's network.
    pub(crate) host_names: Names,
}

/// How names become addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// The content of `/etc/hosts`.
    pub(crate) hosts: String,
    /// The content of `/etc/resolv.conf`.
    pub(crate) resolv: String,
}

/// Where tasks have something of their own, which would hide what is shown there.
const OWN: [&str; 8] = ["/tmp", "/var/tmp", "/task", "/code", "/proc", "/dev/shm", "/windlass", PACKAGES];

/// Whether tasks can be shown these folders and files of the host; if not, why.
pub(crate) fn check_binds(binds: &[PathBuf]) -> Result<(), String> {
    for path in binds {
        // Links lead to where they lead for tasks, too.
        let path = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(own) = OWN.iter().find(|own| path.starts_with(own)) {
            let path = path.display();
            return Err(format!(
                "sandbox.binds: tasks cannot be shown {path}, as they have a {own} of their own; put it somewhere else"
            ));
        }
        if path == Path::new("/") {
            return Err(
                "sandbox.binds: tasks cannot be shown all of the host; name what they need".to_owned()
            );
        }
    }
    Ok(())
}

/// Everything in the root but what each task gets of its own.
pub(crate) fn root(host: &impl Look, extras: &Extras<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for path in SYSTEM {
        entries.extend(shown(host, Path::new(path)));
    }
    for pattern in ETC {
        let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let folder = Path::new("/etc").join(folder);
        match name.strip_suffix('*') {
            None => entries.extend(shown(host, &folder.join(name))),
            Some(start) => {
                let names = host.names(&folder);
                let names = names.iter().filter(|name| name.starts_with(start));
                entries.extend(names.filter_map(|name| shown(host, &folder.join(name))));
            }
        }
    }
    entries.extend(own_files(extras));
    entries.extend(devices());
    for (at, mode) in [
        ("/task", 0o755),
        ("/code", 0o755),
        ("/tmp", 0o1777),
        ("/proc", 0o555),
        ("/run", 0o755),
        (IMAGE, 0o555),
        (TOP, 0o555),
        (EMPTY, 0o555),
    ] {
        entries.push(Entry::Folder { at: at.into(), mode });
    }
    entries.push(link("/var/tmp", "../tmp"));
    entries.push(link("/var/run", "../run"));
    let alias = |(name, path): &(String, PathBuf)| Entry::Link {
        at: Path::new(PROGRAMS).join(name),
        to: path.clone(),
    };
    entries.push(Entry::Folder { at: PROGRAMS.into(), mode: 0o755 });
    entries.extend(extras.aliases.iter().map(alias));
    entries.extend(extras.binds.iter().filter_map(|path| shown(host, path)));
    entries
}

/// The entry for a path of the host that is to be seen where it is; none if it is not there.
fn shown(host: &impl Look, path: &Path) -> Option<Entry> {
    let at = path.to_owned();
    Some(match host.find(path)? {
        Found::Link(to) => Entry::Link { at, to },
        Found::File if path.starts_with("/etc") => Entry::Copy { from: at.clone(), at },
        Found::File | Found::Folder => Entry::Bind { from: at.clone(), at },
    })
}

/// Files of `/etc` that say who and where a task is, not who and where the host is.
fn own_files(extras: &Extras<'_>) -> Vec<Entry> {
    let Extras { uid, gid, .. } = extras;
    let file = |name: &str, content: String| Entry::File { at: Path::new("/etc").join(name), content };
    let is_root = *uid == 0;
    let (user, group) = if is_root {
        (String::new(), String::new())
    } else {
        (format!("task:x:{uid}:{gid}:a task:{TASK}:/bin/sh\n"), format!("task:x:{gid}:\n"))
    };
    vec![
        file(
            "passwd",
            format!("root:x:0:0:root:/:/sbin/nologin\n{user}nobody:x:65534:65534:nobody:/:/sbin/nologin\n"),
        ),
        file("group", format!("root:x:0:\n{group}nogroup:x:65534:\n")),
        file("hostname", "task\n".to_owned()),
        file("hosts", extras.names.hosts.clone()),
        file("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        file("resolv.conf", extras.names.resolv.clone()),
        Entry::File { at: HOST_HOSTS.into(), content: extras.host_names.hosts.clone() },
        Entry::File { at: HOST_RESOLV.into(), content: extras.host_names.resolv.clone() },
    ]
}

fn devices() -> Vec<Entry> {
    let mut entries: Vec<_> =
        DEVICES.iter().map(|name| Entry::Device { at: Path::new("/dev").join(name) }).collect();
    entries.push(Entry::Folder { at: "/dev/shm".into(), mode: 0o1777 });
    let links = [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")];
    entries.extend(links.map(|(name, fd)| link(&format!("/dev/{name}"), &format!("/proc/self/fd{fd}"))));
    entries
}

fn link(at: &str, to: &str) -> Entry {
    Entry::Link { at: at.into(), to: to.into() }
}

/// Whether a task sees what is at `path`, an absolute path without links on its way.
pub(crate) fn shows(entries: &[Entry], path: &Path) -> bool {
    entries.iter().any(|entry| match entry {
        Entry::Bind { at, .. } => path.starts_with(at),
        Entry::Copy { at, .. } | Entry::File { at, .. } => path == at,
        Entry::Folder { .. } | Entry::Link { .. } | Entry::Device { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Paper(BTreeMap<&'static str, Found>);

    impl Look for Paper {
        fn find(&self, path: &Path) -> Option<Found> {
            self.0.get(path.to_str().unwrap()).cloned()
        }

        fn names(&self, folder: &Path) -> Vec<String> {
            let names = self.0.keys().filter(|path| Path::new(path).parent() == Some(folder));
            names.map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
        }
    }

    fn paper(entries: &[(&'static str, Found)]) -> Paper {
        Paper(entries.iter().cloned().collect())
    }

    #[test]
    fn what_may_hold_secrets_is_not_there() {
        let host = paper(&[
            ("/usr", Found::Folder),
            ("/bin", Found::Link("usr/bin".into())),
            ("/root", Found::Folder),
            ("/home", Found::Folder),
            ("/var", Found::Folder),
            ("/etc/shadow", Found::File),
            ("/etc/ssl/private", Found::Folder),
            ("/etc/ssl/certs", Found::Folder),
            ("/etc/java-17-openjdk", Found::Folder),
            ("/etc/localtime", Found::Link("/usr/share/zoneinfo/UTC".into())),
            ("/etc/services", Found::File),
        ]);
        let entries = root(&host, &Extras { uid: 7, gid: 8, ..Extras::default() });
        let of_host: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Bind { from, .. } | Entry::Copy { from, .. } => from.to_str(),
                _ => None,
            })
            .collect();
        assert_eq!(of_host, ["/usr", "/etc/java-17-openjdk", "/etc/services", "/etc/ssl/certs"]);
        assert!(entries.contains(&link("/bin", "usr/bin")));
        assert!(entries.contains(&link("/etc/localtime", "/usr/share/zoneinfo/UTC")));
        assert!(entries.iter().any(|entry| matches!(
            entry,
            Entry::File { content, .. } if content.contains("task:x:7:8:")
        )));
        assert!(shows(&entries, Path::new("/usr/bin/true")));
        assert!(!shows(&entries, Path::new("/usrlocal/true")));
        assert!(!shows(&entries, Path::new("/root/.pyenv/python")));
    }

    #[test]
    fn what_a_task_could_not_see_is_not_accepted() {
        let check = |path: &str| check_binds(&["/opt".into(), path.into()]);
        for path in ["/tmp", "/tmp/data", "/var/tmp/x", "/task", "/proc/1", "/windlass/bin"] {
            let why = check(path).unwrap_err();
            assert!(why.contains(path) && why.contains("of their own"), "{why}");
        }
        assert!(check("/").is_err());
        for path in ["/srv/data", "/tmpfiles", "/run/postgresql", "/no/such"] {
            assert_eq!(check(path), Ok(()));
        }
        // A link there is no way around it.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        assert!(check(folder.path().to_str().unwrap()).is_err());
    }

    #[test]
    fn a_chosen_folder_is_where_the_host_has_it() {
        let host = paper(&[("/opt", Found::Folder)]);
        let binds = ["/opt".into(), "/no/such".into()];
        let entries = root(&host, &Extras { binds: &binds, ..Extras::default() });
        assert_eq!(entries.last(), Some(&Entry::Bind { from: "/opt".into(), at: "/opt".into() }));
    }
}
