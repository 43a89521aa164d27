//! The limit of open files: a connection each, so the usual 1024 is soon reached by a server; and it is too much for
//! programs that go through every number there may be. So it is raised for this process, and for nothing it starts.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What is asked for, if the hard limit allows it.
const WANTED: u64 = 65_536;

/// Raises the soft limit of this process. Returns what it was, which the tasks get.
pub(crate) fn raise() -> std::io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = hard.min(WANTED);
    if raised > soft {
        setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?;
    }
    Ok(soft)
}

/// Sets the soft limit of this process, a spawner, to what it was before [`raise`] in its parent.
pub(crate) fn restore(soft: u64) -> std::io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?)
}
