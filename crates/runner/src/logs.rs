//! The output of running attempts on its way to the server.
//!
//! One uploader per session collects what all attempts hand it, and sends again while the last call is answered. While
//! the server is away it holds some of it in memory and the rest in the [spool](crate::spool); no more than the attempts'
//! caps, as they hand out no more. A server that is away keeps no process waiting. A little that it did not take goes with
//! the report of the attempt; of much, the attempt waits with its report until the server has it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};
use windlass_client::{RunnerSession, SessionError};
use windlass_model::log::{LogChunk, Stream};
use windlass_model::runner::{AttemptLog, Held, LogUpload};

use crate::capture::{CHUNK_BYTES, Capture, Captured};
use crate::spool::{Backlog, MEMORY_BYTES, Spool};
use crate::supervise::Output;

/// From the first byte of an attempt's output to its upload; shorter attempts upload nothing but their report.
const FIRST_AFTER: Duration = Duration::from_millis(100);
/// The same for what follows.
const NEXT_AFTER: Duration = Duration::from_millis(250);
/// Longest time an upload may take before it is tried again.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// Time before an upload that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Most bytes of output in one upload.
const UPLOAD_BYTES: usize = 2 * 1024 * 1024;
/// Most bytes of output that go with a report.
const REPORT_BYTES: usize = 512 * 1024;

/// Hands output to the uploader. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Logs(mpsc::UnboundedSender<Message>);

#[derive(Debug)]
enum Message {
    Chunks(Held, Vec<LogChunk>),
    /// The last chunks; what the server does not have once it is little is to be handed back.
    Settle(Held, Vec<LogChunk>, oneshot::Sender<Vec<LogChunk>>),
    Drop(Held),
}

impl Logs {
    /// Starts an uploader for the session. It says on `lost` which attempts are no longer the session's, and ends
    /// when every handle is dropped.
    pub(crate) fn start(
        session: RunnerSession,
        spool: Spool,
        lost: mpsc::UnboundedSender<Vec<Held>>,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (waiting, settling) = (Vec::new(), Vec::new());
        tokio::spawn(Uploader { session, spool, receiver, lost, waiting, settling }.run());
        Self(sender)
    }

    /// Uploads the last chunks of an attempt until little is left, and returns that.
    async fn settle(&self, held: Held, last: Vec<LogChunk>) -> Vec<LogChunk> {
        let (sender, receiver) = oneshot::channel();
        // The uploader lives as long as a handle does, so both never fail.
        let _ = self.0.send(Message::Settle(held, last, sender));
        receiver.await.unwrap_or_default()
    }
}

/// The log of a running attempt. Dropped before it was finished, it is forgotten: nobody wants it any more.
pub(crate) struct LiveLog {
    held: Held,
    logs: Logs,
    capture: Capture,
    flush_at: Option<Instant>,
    has_uploaded: bool,
}

impl LiveLog {
    /// An empty log that will keep `cap` bytes.
    pub(crate) fn new(held: Held, logs: Logs, cap: usize) -> Self {
        Self { held, logs, capture: Capture::new(cap), flush_at: None, has_uploaded: false }
    }

    /// Ends it: what the server does not have yet, which is little; waits until it is.
    pub(crate) async fn finish(&mut self, at_ms: u32, notes: &[String]) -> Captured {
        let mut captured = std::mem::replace(&mut self.capture, Capture::new(0)).finish(at_ms, notes);
        if self.has_uploaded {
            captured.chunks = self.logs.settle(self.held, captured.chunks).await;
            self.has_uploaded = false;
        }
        captured
    }

    /// Whether the uploader has some of it.
    pub(crate) fn has_uploaded(&self) -> bool {
        self.has_uploaded
    }
}

impl Drop for LiveLog {
    fn drop(&mut self) {
        if self.has_uploaded {
            // Nobody is there any more if the session is over.
            let _ = self.logs.0.send(Message::Drop(self.held));
        }
    }
}

impl Output for LiveLog {
    fn write(&mut self, stream: Stream, at_ms: u32, bytes: &[u8]) {
        self.capture.push(stream, at_ms, bytes);
        if self.capture.ready_bytes() >= CHUNK_BYTES {
            self.flush();
        } else if self.flush_at.is_none() && self.capture.ready_bytes() > 0 {
            let after = if self.has_uploaded { NEXT_AFTER } else { FIRST_AFTER };
            self.flush_at = Some(Instant::now() + after);
        }
    }

    fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    fn flush(&mut self) {
        self.flush_at = None;
        let chunks = self.capture.take();
        if !chunks.is_empty() {
            self.has_uploaded = true;
            let _ = self.logs.0.send(Message::Chunks(self.held, chunks));
        }
    }
}

struct Uploader {
    session: RunnerSession,
    spool: Spool,
    receiver: mpsc::UnboundedReceiver<Message>,
    lost: mpsc::UnboundedSender<Vec<Held>>,
    /// What the server does not have, by attempt, the one that has waited longest first.
    waiting: Vec<(Held, Backlog)>,
    /// Attempts that have ended and wait until little is left.
    settling: Vec<(Held, oneshot::Sender<Vec<LogChunk>>)>,
}

impl Uploader {
    async fn run(mut self) {
        while let Some(message) = self.receiver.recv().await {
            self.take(message);
            self.take_all();
            while !self.waiting.is_empty() {
                if !self.upload().await && !self.pause().await {
                    return;
                }
                self.take_all();
            }
        }
    }

    fn take_all(&mut self) {
        while let Ok(message) = self.receiver.try_recv() {
            self.take(message);
        }
        self.hand_back();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Chunks(held, chunks) => self.push(held, chunks),
            Message::Settle(held, chunks, answer) => {
                self.push(held, chunks);
                self.settling.push((held, answer));
            }
            Message::Drop(held) => {
                self.waiting.retain(|(other, _)| *other != held);
                self.settling.retain(|(other, _)| *other != held);
            }
        }
    }

    fn push(&mut self, held: Held, chunks: Vec<LogChunk>) {
        if chunks.is_empty() {
            return;
        }
        let taken: usize = self.waiting.iter().map(|(_, backlog)| backlog.bytes_in_memory()).sum();
        let backlog = self.of(held);
        let room = MEMORY_BYTES.saturating_sub(taken) + backlog.bytes_in_memory();
        for chunk in chunks {
            backlog.push(chunk, room);
        }
    }

    /// The backlog of an attempt, begun at the end if there is none.
    fn of(&mut self, held: Held) -> &mut Backlog {
        let at = self.waiting.iter().position(|(other, _)| *other == held).unwrap_or_else(|| {
            self.waiting.push((held, self.spool.backlog(held.fence)));
            self.waiting.len() - 1
        });
        &mut self.waiting[at].1
    }

    /// Answers the attempts that have ended and of which little is left.
    fn hand_back(&mut self) {
        for n in (0..self.settling.len()).rev() {
            let held = self.settling[n].0;
            let at = self.waiting.iter().position(|(other, _)| *other == held);
            let left = at.map_or(0, |at| self.waiting[at].1.bytes());
            if left <= REPORT_BYTES {
                let chunks = at.map(|at| self.waiting.remove(at).1.take(usize::MAX)).unwrap_or_default();
                // Nobody asks any more if the attempt was dropped.
                let _ = self.settling.remove(n).1.send(chunks);
            }
        }
    }

    /// Sends what fits into one call; `false` if it must be tried again.
    async fn upload(&mut self) -> bool {
        self.hand_back();
        let upload = LogUpload { logs: self.batch() };
        if upload.logs.is_empty() {
            return true;
        }
        let failure = match timeout(CALL_LIMIT, self.session.log(&upload)).await {
            Ok(Ok(answer)) => {
                if !answer.lost.is_empty() {
                    self.waiting.retain(|(held, _)| !answer.lost.contains(held));
                    let _ = self.lost.send(answer.lost);
                }
                return true;
            }
            // The session's own calls find out, too, and end its attempts.
            Ok(Err(SessionError::Over)) => return true,
            Ok(Err(SessionError::Call(error))) => match error.status() {
                // Again would be refused again. The output is lost to the live log; say so, but go on.
                Some(status @ 400..=499) if status != 429 && status != 408 => {
                    warn!("the server refuses output: {error}");
                    return true;
                }
                _ => error.to_string(),
            },
            Err(_) => "no answer".to_owned(),
        };
        debug!("cannot upload output, will try again: {failure}");
        for log in upload.logs.into_iter().rev() {
            match self.waiting.iter_mut().find(|(held, _)| *held == log.held) {
                Some((_, backlog)) => backlog.put_back(log.chunks),
                None => {
                    let mut backlog = self.spool.backlog(log.held.fence);
                    backlog.put_back(log.chunks);
                    self.waiting.insert(0, (log.held, backlog));
                }
            }
        }
        false
    }

    /// Takes chunks for one call off what is waiting, oldest first.
    fn batch(&mut self) -> Vec<AttemptLog> {
        let mut left = UPLOAD_BYTES;
        let mut batch = Vec::new();
        while left > 0
            && let Some((held, backlog)) = self.waiting.first_mut()
        {
            let (held, chunks) = (*held, backlog.take(left));
            let is_all = backlog.is_empty();
            left = left.saturating_sub(chunks.iter().map(|chunk| chunk.data.0.len().max(1)).sum());
            batch.push(AttemptLog { held, chunks });
            if is_all {
                self.waiting.remove(0);
            }
        }
        batch
    }

    /// Waits a moment, without making an attempt wait that wants to report; `false` if nobody is left to upload for.
    async fn pause(&mut self) -> bool {
        let pause = sleep(RETRY_AFTER);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                message = self.receiver.recv() => match message {
                    Some(message) => self.take(message),
                    None => return false,
                },
            }
            self.hand_back();
        }
    }
}
