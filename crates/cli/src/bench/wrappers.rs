//! Other programs that isolate: what they are asked for, to compare ours with.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::json;

/// What bubblewrap is asked for: every namespace, and the host's files read-only. It sets no limits and filters no calls.
const BUBBLEWRAP: [&str; 8] = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"];

/// Runs `true` in bubblewrap.
pub(super) fn bubblewrap(_: usize) -> Command {
    let mut command = Command::new(BUBBLEWRAP[0]);
    command.args(&BUBBLEWRAP[1..]);
    command
}

/// A container for runc: every namespace, and the host's programs read-only, as tasks see them.
pub(super) struct Runc {
    folder: PathBuf,
}

impl Runc {
    /// Describes the container in `folder`.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let root = folder.join("root");
        fs::create_dir_all(&root)?;
        let mut mounts = vec![json!({"destination": "/proc", "type": "proc", "source": "proc"})];
        for name in ["usr", "bin", "sbin", "lib", "lib64", "nix"] {
            let host = Path::new("/").join(name);
            // Where they are links, they stay links.
            if let Ok(to) = fs::read_link(&host) {
                symlink(to, root.join(name))?;
            } else if host.is_dir() {
                let options = ["rbind", "ro", "nosuid", "nodev"];
                mounts.push(json!({"destination": host, "type": "bind", "source": host, "options": options}));
            }
        }
        let namespaces = ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({"type": kind}));
        let process = json!({
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "args": ["true"],
            "env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "noNewPrivileges": true,
        });
        let config = json!({
            "ociVersion": "1.0.2",
            "root": {"path": "root", "readonly": true},
            "process": process,
            "mounts": mounts,
            "linux": {"namespaces": namespaces},
        });
        fs::write(folder.join("config.json"), config.to_string())?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Runs `true` in a container.
    pub(super) fn command(&self, number: usize) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.folder.join("state")).arg("run").arg("--bundle").arg(&self.folder);
        command.arg(format!("windlass-bench-{}-{number}", std::process::id()));
        command
    }
}
