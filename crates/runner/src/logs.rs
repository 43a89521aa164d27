//! The output of running attempts on its way to the server.
//!
//! One uploader per session collects what all attempts hand it, and sends again while the last call is answered. It
//! holds no more than the attempts' caps, as they hand out no more. A server that is away makes nobody wait: what it
//! did not take goes with the report of the attempt.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};
use windlass_client::{RunnerSession, SessionError};
use windlass_model::log::{LogChunk, Stream};
use windlass_model::runner::{AttemptLog, Held, LogUpload};

use crate::capture::{CHUNK_BYTES, Capture, Captured};
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

/// Hands output to the uploader. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Logs(mpsc::UnboundedSender<Message>);

#[derive(Debug)]
enum Message {
    Chunks(Held, Vec<LogChunk>),
    Settle(Held, oneshot::Sender<Vec<LogChunk>>),
}

impl Logs {
    /// Starts an uploader for the session. It says on `lost` which attempts are no longer the session's, and ends
    /// when every handle is dropped.
    pub(crate) fn start(session: RunnerSession, lost: mpsc::UnboundedSender<Vec<Held>>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(Uploader { session, receiver, lost, waiting: Vec::new() }.run());
        Self(sender)
    }

    /// Ends the uploads for an attempt; returns what the server did not take.
    async fn settle(&self, held: Held) -> Vec<LogChunk> {
        let (sender, receiver) = oneshot::channel();
        // The uploader lives as long as a handle does, so both never fail.
        let _ = self.0.send(Message::Settle(held, sender));
        receiver.await.unwrap_or_default()
    }
}

/// The log of a running attempt.
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

    /// Ends it: what the server does not have yet.
    pub(crate) async fn finish(self, at_ms: u32, notes: &[String]) -> Captured {
        let Self { held, logs, capture, has_uploaded, .. } = self;
        let mut captured = capture.finish(at_ms, notes);
        if has_uploaded {
            let mut chunks = logs.settle(held).await;
            chunks.append(&mut captured.chunks);
            captured.chunks = chunks;
        }
        captured
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
    receiver: mpsc::UnboundedReceiver<Message>,
    lost: mpsc::UnboundedSender<Vec<Held>>,
    waiting: Vec<AttemptLog>,
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
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Chunks(held, mut chunks) => match self.waiting.iter_mut().find(|log| log.held == held) {
                Some(log) => log.chunks.append(&mut chunks),
                None => self.waiting.push(AttemptLog { held, chunks }),
            },
            Message::Settle(held, answer) => {
                let at = self.waiting.iter().position(|log| log.held == held);
                let chunks = at.map(|at| self.waiting.remove(at).chunks).unwrap_or_default();
                // Nobody asks any more if the attempt was dropped.
                let _ = answer.send(chunks);
            }
        }
    }

    /// Sends what fits into one call; `false` if it must be tried again.
    async fn upload(&mut self) -> bool {
        let upload = LogUpload { logs: self.batch() };
        let failure = match timeout(CALL_LIMIT, self.session.log(&upload)).await {
            Ok(Ok(answer)) => {
                if !answer.lost.is_empty() {
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
        for mut log in upload.logs.into_iter().rev() {
            match self.waiting.iter_mut().find(|waiting| waiting.held == log.held) {
                Some(rest) => {
                    log.chunks.append(&mut rest.chunks);
                    rest.chunks = log.chunks;
                }
                None => self.waiting.insert(0, log),
            }
        }
        false
    }

    /// Takes chunks for one call off what is waiting, oldest first.
    fn batch(&mut self) -> Vec<AttemptLog> {
        let mut left = UPLOAD_BYTES;
        let mut batch = Vec::new();
        while left > 0
            && let Some(log) = self.waiting.first_mut()
        {
            let fits = log.chunks.iter().take_while(|chunk| {
                let had_room = left > 0;
                left = left.saturating_sub(chunk.data.0.len());
                had_room
            });
            let fits = fits.count();
            let rest = log.chunks.split_off(fits);
            batch.push(AttemptLog { held: log.held, chunks: std::mem::replace(&mut log.chunks, rest) });
            if log.chunks.is_empty() {
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
        }
    }
}
