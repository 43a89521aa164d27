//! How tasks are separated from the host and from each other, and what is missing, in words.

use windlass_model::isolation::Isolation;

/// The isolation of tasks without a sandbox: a process group and resource limits.
///
/// Named honestly at start, in `doctor` and with every attempt: whoever runs code of others must know.
pub fn bare() -> Isolation {
    let mut missing = vec![
        "files: a task can read and write whatever the runner's user can".to_owned(),
        "network: a task reaches whatever the host reaches, its loopback too".to_owned(),
        "limits: memory, processor, processes and disk are not limited".to_owned(),
        "processes: a task sees other processes and can signal those of the runner's user".to_owned(),
    ];
    if nix::unistd::geteuid().is_root() {
        missing.push("user: tasks run as root".to_owned());
    }
    Isolation { level: "process".to_owned(), missing }
}
