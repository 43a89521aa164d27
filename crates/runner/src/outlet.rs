//! Our end of a pipe that a process writes its output to.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// Bytes read at once while listening: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// Bytes read at once otherwise. On the stack, as most processes write little or nothing.
const LAST_BYTES: usize = 8 * 1024;

/// Our end of a pipe. Until it listens, what is written waits in the pipe, and costs nothing here: to have every pipe
/// watched, for a process that ends within a millisecond, is a tenth of the runner's work for it.
pub(crate) enum Outlet {
    /// Nobody waits for output.
    Quiet(OwnedFd),
    /// Output is read as it comes.
    Listening(pipe::Receiver, Vec<u8>),
    /// Everybody who could write is gone, or it cannot be read.
    Closed,
}

impl Outlet {
    /// The outlet whose reading end is `pipe`, which must not block.
    pub(crate) fn new(pipe: OwnedFd) -> Self {
        Self::Quiet(pipe)
    }

    /// Whether output can still come.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self, Self::Closed)
    }

    /// Begins to listen.
    pub(crate) fn listen(&mut self) {
        *self = match std::mem::replace(self, Self::Closed) {
            Self::Quiet(pipe) => match pipe::Receiver::from_owned_fd_unchecked(pipe) {
                Ok(pipe) => Self::Listening(pipe, Vec::with_capacity(READ_BYTES)),
                Err(_) => Self::Closed,
            },
            other => other,
        }
    }

    /// Waits for output, which [`Outlet::pass`] then has, or for its end; for ever, unless it listens. May be dropped.
    pub(crate) async fn more(&mut self) {
        match self {
            Self::Listening(pipe, buffer) => {
                if !matches!(pipe.read_buf(buffer).await, Ok(1..)) {
                    *self = Self::Closed;
                }
            }
            _ => std::future::pending().await,
        }
    }

    /// Hands out what was waited for.
    pub(crate) fn pass(&mut self, take: impl FnOnce(&[u8])) {
        if let Self::Listening(_, buffer) = self {
            take(buffer);
            buffer.clear();
        }
    }

    /// Hands out what is in the pipe, without waiting.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        let mut buffer = [0; LAST_BYTES];
        while let Some(pipe) = self.pipe() {
            match nix::unistd::read(pipe, &mut buffer) {
                Ok(0) => *self = Self::Closed,
                Ok(bytes) => take(&buffer[..bytes]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => *self = Self::Closed,
            }
        }
    }

    fn pipe(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Quiet(pipe) => Some(pipe.as_fd()),
            Self::Listening(pipe, _) => Some(pipe.as_fd()),
            Self::Closed => None,
        }
    }
}
