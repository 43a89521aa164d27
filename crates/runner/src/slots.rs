//! The slots of a runner: as many processes as it has of them run at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The slots of a runner, shared by its sessions.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    total: usize,
    /// Attempts that were started and have no slot yet.
    waiting: AtomicUsize,
    /// A slot was freed: for a session that did not free it.
    pub(crate) freed: Notify,
}

impl Slots {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(total)),
            total,
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// How many there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Slots that nothing runs in.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Attempts that are getting ready for a slot.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Lets an attempt get ready for a slot.
    pub(crate) fn enter(self: &Arc<Self>) -> Slot {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Slot { slots: self.clone(), permit: None, since: None, held: Duration::ZERO }
    }
}

/// The way of one attempt through a slot: it gets ready, takes one, and frees it.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    permit: Option<OwnedSemaphorePermit>,
    /// When it took the slot.
    since: Option<Instant>,
    held: Duration,
}

impl Slot {
    /// Waits for a slot, first come first served. Does nothing if it has one.
    pub(crate) async fn take(&mut self) {
        if self.permit.is_none() {
            let permit = self.slots.free.clone().acquire_owned().await;
            self.permit = Some(permit.expect("the semaphore is never closed"));
            if self.since.replace(Instant::now()).is_none() {
                self.slots.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Gives the slot to the next.
    pub(crate) fn free(&mut self) {
        if self.permit.take().is_some() {
            self.held += self.since.map_or(Duration::ZERO, |since| since.elapsed());
        }
    }

    /// How long it had a slot.
    pub(crate) fn held(&self) -> Duration {
        self.held
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.since.is_none() {
            self.slots.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        self.free();
        self.slots.freed.notify_one();
    }
}
