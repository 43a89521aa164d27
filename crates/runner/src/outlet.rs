//! Our end of a pipe that a process writes its output to.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
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

    /// Hands out what is in the pipe, without waiting, and no more than it can hold: somebody else may have got hold of
    /// it and write for ever.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        let mut buffer = [0; LAST_BYTES];
        let mut left = self.pipe().map_or(0, holds);
        while let Some(pipe) = self.pipe().filter(|_| left > 0) {
            match nix::unistd::read(pipe, &mut buffer) {
                Ok(0) => *self = Self::Closed,
                Ok(bytes) => {
                    take(&buffer[..bytes]);
                    left = left.saturating_sub(bytes);
                }
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

/// Bytes that fit into a pipe.
fn holds(pipe: BorrowedFd<'_>) -> usize {
    fcntl(pipe, FcntlArg::F_GETPIPE_SZ)
        .ok()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(READ_BYTES)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc;
    use std::time::Duration;

    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;

    #[test]
    fn whoever_writes_for_ever_does_not_keep_us_for_ever() {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let writer = std::thread::spawn(move || {
            let mut write = std::fs::File::from(write);
            while write.write_all(&[b'x'; 64 * 1024]).is_ok() {}
        });
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut outlet, mut taken) = (Outlet::new(read), 0);
            // Often, so that the writer is in the middle of it.
            for _ in 0..100 {
                outlet.drain(|bytes| taken += bytes.len());
            }
            done.send(taken).unwrap();
        });
        let taken = is_done.recv_timeout(Duration::from_secs(20)).expect("reading ends");
        assert!(taken <= 100 * (64 * 1024 + LAST_BYTES), "{taken}");
        writer.join().unwrap();
    }

    #[test]
    fn all_that_is_in_the_pipe_is_handed_out() {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let full = vec![b'y'; 64 * 1024];
        std::fs::File::from(write).write_all(&full).unwrap();
        let (mut outlet, mut taken) = (Outlet::new(read), Vec::new());
        outlet.drain(|bytes| taken.extend_from_slice(bytes));
        assert_eq!(taken, full);
    }
}
