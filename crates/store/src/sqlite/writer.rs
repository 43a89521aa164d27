//! The one thread that writes, and how it groups what it is asked to do.
//!
//! It waits for one request and takes what has arrived by then; all of it goes into one transaction, and everybody is
//! answered after the commit. There is no timer: while one group is synced to disk the next one collects, so a lone
//! request waits for one sync only and a thousand share it.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::{is_callers_fault, store_error};
use super::lock::DirectoryLock;
use super::ops::sessions;
use super::schema;
use super::state::{Shared, State};
use super::work::{Durability, Effects, Stop, Work};
use crate::error::StoreError;
use crate::signals::Signals;
use crate::store::Result;

/// Requests that may wait for the writer; more wait to be let in.
pub(super) const QUEUE: usize = 4096;
/// Rows that are written in one transaction, more or less.
const GROUP_ROWS: usize = 20_000;
/// Size of the log from which on it is made to start over, and after how many groups that is looked at.
const LOG_BYTES: u64 = 128 << 20;
const LOG_CHECK: u32 = 32;

/// Something that the writer does. It may be run again when its group failed for another's fault.
pub(super) trait Operation: Send + 'static {
    /// What its caller gets.
    type Answer: Send + 'static;
    /// How much its writes must survive.
    const DURABILITY: Durability = Durability::Power;
    /// Whether it does best after everything else in its group.
    const IS_LAST: bool = false;

    /// Rows it is about to write, more or less.
    fn rows(&self) -> usize {
        1
    }

    /// Does it. What it refuses, it refuses before it has changed anything.
    fn run(&mut self, work: &mut Work<'_>) -> std::result::Result<Self::Answer, Stop>;
}

/// An operation with its answer, whatever it is.
trait Job: Send {
    fn run(&mut self, work: &mut Work<'_>) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>);
    fn fail(self: Box<Self>, error: StoreError);
    fn durability(&self) -> Durability;
    fn is_last(&self) -> bool;
    fn rows(&self) -> usize;
}

struct Asked<O: Operation> {
    operation: O,
    outcome: Option<Result<O::Answer>>,
    reply: oneshot::Sender<Result<O::Answer>>,
}

impl<O: Operation> Job for Asked<O> {
    fn run(&mut self, work: &mut Work<'_>) -> rusqlite::Result<()> {
        self.outcome = Some(match self.operation.run(work) {
            Ok(answer) => Ok(answer),
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Failed(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // Nobody listens any more: the request was given up, its work is done all the same.
            let _ = self.reply.send(outcome);
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        let _ = self.reply.send(Err(error));
    }

    fn durability(&self) -> Durability {
        O::DURABILITY
    }

    fn is_last(&self) -> bool {
        O::IS_LAST
    }

    fn rows(&self) -> usize {
        self.operation.rows()
    }
}

/// What the writer is sent.
pub(super) struct Request(Kind);

enum Kind {
    Do(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// Has the writer do `operation`; returns after its commit.
pub(super) async fn ask<O: Operation>(queue: &mpsc::Sender<Request>, operation: O) -> Result<O::Answer> {
    let (reply, answer) = oneshot::channel();
    let job = Box::new(Asked { operation, outcome: None, reply });
    queue.send(Request(Kind::Do(job))).await.map_err(|_| closed())?;
    answer.await.map_err(|_| closed())?
}

/// Has the writer finish what it was asked before, flush, and end.
pub(super) async fn close(queue: &mpsc::Sender<Request>) {
    let (reply, done) = oneshot::channel();
    if queue.send(Request(Kind::Close(reply))).await.is_ok() {
        // An error says that it has ended already.
        let _ = done.await;
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

/// The writer: it owns the connection, the memory and the lock on the directory.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) state: State,
    pub(super) shared: Arc<Shared>,
    pub(super) signals: Arc<Signals>,
    pub(super) lock: DirectoryLock,
    /// How much the connection is set to make commits survive.
    pub(super) level: Option<Durability>,
    /// The data directory.
    pub(super) dir: PathBuf,
    /// Memory is not as the database: it must be read again before anything else is done.
    pub(super) is_stale: bool,
}

impl Writer {
    /// Serves until closed, or until nobody can ask any more.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut closing = None;
        let mut groups = 0u32;
        while closing.is_none() {
            let Some(Request(first)) = queue.blocking_recv() else { break };
            let mut group = Vec::new();
            let mut rows = 0;
            let mut next = Some(first);
            while let Some(request) = next.take() {
                match request {
                    Kind::Do(job) => {
                        rows += job.rows();
                        group.push(job);
                    }
                    Kind::Close(reply) => {
                        closing = Some(reply);
                        break;
                    }
                }
                if rows < GROUP_ROWS && group.len() < QUEUE {
                    next = queue.try_recv().ok().map(|Request(kind)| kind);
                }
            }
            self.serve(group);
            groups += 1;
            if groups.is_multiple_of(LOG_CHECK) && schema::log_bytes(&self.dir) > LOG_BYTES {
                self.start_log_over();
            }
        }
        queue.close();
        while let Ok(Request(kind)) = queue.try_recv() {
            if let Kind::Do(job) = kind {
                job.fail(closed());
            }
        }
        self.end();
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    /// Readers that never leave a gap keep the log from starting over by itself: this waits for them.
    fn start_log_over(&self) {
        let done = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        match done {
            Ok(false) => {}
            Ok(true) => tracing::warn!("a long read keeps the log of the store from being copied back"),
            Err(error) => tracing::warn!(error = %error, "the log of the store could not be copied back"),
        }
    }

    fn serve(&mut self, mut group: Vec<Box<dyn Job>>) {
        // A claim that comes after the tasks of its group finds them.
        group.sort_by_key(|job| job.is_last());
        if self.is_stale
            && let Err(error) = self.roll_back()
        {
            group.drain(..).for_each(|job| job.fail(store_error(&error)));
        }
        while !group.is_empty() {
            match self.attempt(&mut group) {
                Ok(effects) => {
                    if group.iter().any(|job| job.durability() == Durability::Power) {
                        self.shared.health.went_well();
                    }
                    effects.publish(&self.state, &self.shared, &self.signals);
                    group.into_iter().for_each(Job::answer);
                    return;
                }
                Err((culprit, error)) => {
                    let back = self.roll_back();
                    match culprit {
                        Some(at) if back.is_ok() && is_callers_fault(&error) => {
                            group.remove(at).fail(store_error(&error));
                        }
                        _ => {
                            self.shared.health.went_wrong(&error);
                            group.drain(..).for_each(|job| job.fail(store_error(&error)));
                        }
                    }
                }
            }
        }
    }

    fn attempt(
        &mut self,
        group: &mut [Box<dyn Job>],
    ) -> std::result::Result<Effects, (Option<usize>, rusqlite::Error)> {
        let is_durable = group.iter().any(|job| job.durability() == Durability::Power);
        let durability = if is_durable { Durability::Power } else { Durability::Process };
        let mut work = Work::new(&self.conn, &mut self.state, durability, &mut self.level);
        for (at, job) in group.iter_mut().enumerate() {
            job.run(&mut work).map_err(|error| (Some(at), error))?;
        }
        work.commit().map_err(|error| (None, error))
    }

    /// Back to what the database has: nothing of the group is left in it or in memory.
    fn roll_back(&mut self) -> rusqlite::Result<()> {
        let undone = if self.conn.is_autocommit() { Ok(()) } else { self.conn.execute_batch("ROLLBACK") };
        let reloaded = undone.and_then(|()| self.state.reload(&self.conn));
        self.is_stale = reloaded.is_err();
        if let Err(error) = &reloaded {
            tracing::error!(error = %error, "the store could not be read again after a failed write");
        }
        reloaded
    }

    /// Writes what only memory has, and leaves a database without a log beside it.
    fn end(mut self) {
        let mut work = Work::new(&self.conn, &mut self.state, Durability::Power, &mut self.level);
        let flushed = sessions::flush(&mut work).and_then(|()| work.commit());
        let checkpointed =
            flushed.and_then(|_| self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        if let Err(error) = checkpointed {
            tracing::warn!(error = %error, "the store was closed without a checkpoint; the next start makes it");
        }
        drop(self.conn);
        drop(self.lock);
    }
}
