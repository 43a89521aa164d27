//! Output that waits for the server: a little of it in memory, the rest in files.
//!
//! The files are in the runner's work directory, one for each attempt that has much to say while the server is away.
//! What they take is bounded by what the attempts may write at all. They are of no use to anybody but the session that
//! wrote them: a runner that starts removes what a killed one left.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;
use windlass_model::lease::Fence;
use windlass_model::log::{LogChunk, decode, encode};

/// Output of all attempts of a session that waits in memory before more of it goes to files.
pub(crate) const MEMORY_BYTES: usize = 4 * 1024 * 1024;

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    folder: Arc<Path>,
}

/// The output of one attempt that the server does not have, in order.
#[derive(Debug)]
pub(crate) struct Backlog {
    spool: Spool,
    fence: Fence,
    /// The oldest of it.
    ready: VecDeque<LogChunk>,
    ready_bytes: usize,
    /// What follows.
    file: Option<Pages>,
    /// The file cannot be written; what follows is in memory, too.
    has_failed: bool,
}

/// Chunks in a file.
#[derive(Debug)]
struct Pages {
    path: PathBuf,
    file: File,
    /// Length in the file of each chunk that is left, and of its output.
    chunks: VecDeque<(usize, usize)>,
    from: u64,
    to: u64,
}

impl Spool {
    /// Takes `folder`, and removes what is in it.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.into() })
    }

    /// Nothing yet of the attempt.
    pub(crate) fn backlog(&self, fence: Fence) -> Backlog {
        let ready = VecDeque::new();
        Backlog { spool: self.clone(), fence, ready, ready_bytes: 0, file: None, has_failed: false }
    }
}

impl Backlog {
    /// Adds a chunk. Beyond `room` bytes in memory it goes to the file, as everything that follows one that did.
    pub(crate) fn push(&mut self, chunk: LogChunk, room: usize) {
        let fits = self.file.is_none() && self.ready_bytes + chunk.data.0.len() <= room;
        if !fits && !self.has_failed {
            match self.append(&chunk) {
                Ok(()) => return,
                Err(error) => {
                    let folder = self.spool.folder.display();
                    warn!(
                        "cannot keep output in {folder} while the server is away, keeping it in memory: {error}"
                    );
                    self.has_failed = true;
                }
            }
        }
        if self.has_failed {
            // In order: what is in the file came before.
            self.fetch(usize::MAX);
        }
        self.ready_bytes += chunk.data.0.len();
        self.ready.push_back(chunk);
    }

    fn append(&mut self, chunk: &LogChunk) -> io::Result<()> {
        if self.file.is_none() {
            let path = self.spool.folder.join(self.fence.0.to_string());
            let file =
                File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            self.file = Some(Pages { path, file, chunks: VecDeque::new(), from: 0, to: 0 });
        }
        let Some(pages) = &mut self.file else { return Ok(()) };
        let frame = encode(std::slice::from_ref(chunk));
        pages.file.write_all_at(&frame, pages.to)?;
        pages.to += frame.len() as u64;
        pages.chunks.push_back((frame.len(), chunk.data.0.len()));
        Ok(())
    }

    /// Takes the oldest chunks: as many as come to `most` bytes, and at least one.
    pub(crate) fn take(&mut self, most: usize) -> Vec<LogChunk> {
        let mut taken = Vec::new();
        let mut left = most;
        while left > 0 {
            if self.ready.is_empty() {
                self.fetch(left);
            }
            let Some(chunk) = self.ready.pop_front() else { break };
            self.ready_bytes -= chunk.data.0.len();
            left = left.saturating_sub(chunk.data.0.len().max(1));
            taken.push(chunk);
        }
        taken
    }

    /// Puts chunks back that were taken and did not arrive.
    pub(crate) fn put_back(&mut self, chunks: Vec<LogChunk>) {
        for chunk in chunks.into_iter().rev() {
            self.ready_bytes += chunk.data.0.len();
            self.ready.push_front(chunk);
        }
    }

    /// Moves what comes to `most` bytes from the file into memory, and at least one chunk.
    fn fetch(&mut self, most: usize) {
        let Some(pages) = &mut self.file else { return };
        match pages.read(most) {
            Ok(chunks) => {
                for chunk in chunks {
                    self.ready_bytes += chunk.data.0.len();
                    self.ready.push_back(chunk);
                }
            }
            Err(error) => {
                // A hole in the log would look like a whole one; the attempt's end says how much it wrote.
                warn!("output that was kept in {} is lost: {error}", pages.path.display());
                pages.chunks.clear();
            }
        }
        if pages.chunks.is_empty() {
            self.file = None;
        }
    }

    /// Bytes of output in it.
    pub(crate) fn bytes(&self) -> usize {
        self.ready_bytes + self.file.as_ref().map_or(0, |f| f.chunks.iter().map(|(_, bytes)| bytes).sum())
    }

    /// Those of them in memory.
    pub(crate) fn bytes_in_memory(&self) -> usize {
        self.ready_bytes
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.file.is_none()
    }
}

impl Pages {
    fn read(&mut self, most: usize) -> io::Result<Vec<LogChunk>> {
        let (mut length, mut bytes) = (0, 0);
        while let Some((frame, output)) = self.chunks.front()
            && (length == 0 || bytes + output <= most)
        {
            (length, bytes) = (length + frame, bytes + output);
            self.chunks.pop_front();
        }
        let mut frames = vec![0; length];
        self.file.read_exact_at(&mut frames, self.from)?;
        self.from += length as u64;
        decode(&frames).map_err(io::Error::other)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // What is left behind goes when a runner starts.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use windlass_model::bytes::Bytes;
    use windlass_model::log::Stream;

    fn chunk(n: u32, size: usize) -> LogChunk {
        LogChunk { n, stream: Stream::Stderr, at_ms: n * 3, data: Bytes(vec![n as u8; size]) }
    }

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn what_does_not_fit_is_in_a_file_that_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("12"), "left by a runner that was killed").unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        assert_eq!(files(folder.path()), 0);
        let mut backlog = spool.backlog(Fence(7));
        for n in 1..=100 {
            backlog.push(chunk(n, 1000), 10_000);
        }
        assert_eq!((backlog.bytes(), backlog.bytes_in_memory(), files(folder.path())), (100_000, 10_000, 1));
        let first = backlog.take(25_000);
        assert_eq!(first.len(), 25);
        backlog.put_back(first);
        let all: Vec<LogChunk> =
            std::iter::from_fn(|| Some(backlog.take(7_000)).filter(|c| !c.is_empty())).flatten().collect();
        assert_eq!(all, (1..=100).map(|n| chunk(n, 1000)).collect::<Vec<_>>());
        assert!(backlog.is_empty());
        assert_eq!(files(folder.path()), 0);
        backlog.push(chunk(1, 1000), 0);
        assert_eq!(files(folder.path()), 1);
        drop(backlog);
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn a_file_that_cannot_be_written_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(&folder.path().join("spool")).unwrap();
        std::fs::remove_dir(folder.path().join("spool")).unwrap();
        let mut backlog = spool.backlog(Fence(7));
        for n in 1..=9 {
            backlog.push(chunk(n, 10), 25);
        }
        assert_eq!(backlog.take(usize::MAX), (1..=9).map(|n| chunk(n, 10)).collect::<Vec<_>>());
    }

    proptest! {
        /// Whatever is pushed, taken and put back: every chunk comes out once, in order.
        #[test]
        fn chunks_come_out_in_order(
            steps in prop::collection::vec((0..4u8, 0..3000usize, 0..5000usize), 1..200)
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut backlog = Spool::open(folder.path()).unwrap().backlog(Fence(1));
            let (mut pushed, mut arrived) = (0, Vec::new());
            for (step, size, room) in steps {
                match step {
                    0 | 1 => {
                        pushed += 1;
                        backlog.push(chunk(pushed, size), room);
                    }
                    2 => {
                        let taken = backlog.take(size);
                        backlog.put_back(taken);
                    }
                    _ => arrived.extend(backlog.take(size)),
                }
            }
            arrived.extend(backlog.take(usize::MAX));
            prop_assert!(backlog.is_empty());
            prop_assert_eq!(arrived.iter().map(|c| c.n).collect::<Vec<_>>(), (1..=pushed).collect::<Vec<_>>());
        }
    }
}
