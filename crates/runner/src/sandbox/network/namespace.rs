//! Network namespaces: networks of their own, with links, addresses, ports and tables that nobody else has.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::link::Links;

/// A network namespace. It is there for as long as somebody has it open or a process lives in it.
#[derive(Debug)]
pub(super) struct Namespace(File);

impl Namespace {
    /// A new one with nothing but its loopback, which is up.
    pub(super) fn create() -> io::Result<Self> {
        in_thread(|| {
            enter_empty()?;
            Self::current()
        })
    }

    /// The one that this thread is in.
    pub(super) fn current() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    /// Does something inside, on a thread of its own. Sockets that are opened there stay there.
    pub(super) fn within<T: Send>(&self, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        in_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            act()
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Leaves this thread's namespace for a new one with nothing but its loopback, which is up.
pub fn enter_empty() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let links = Links::open()?;
    links.up(links.index("lo")?)
}

/// A thread that changes its namespace must not be used for anything else.
fn in_thread<T: Send>(act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, act)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
