//! The slots of a runner: as many processes as it has of them run at once.
//!
//! The spawners see to it. Beside those that run, some are with them already and start the moment one ends; that costs
//! nobody a round trip. A task that must wait for long there is withdrawn and given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Longest time a task that was claimed ahead waits for a slot, ready to start, before it is given back.
pub(crate) const SLOT_LIMIT: Duration = Duration::from_millis(200);

/// Most processes that wait with a spawners, for each slot and in all. With one for each, a slot stays empty now and
/// then until the next comes: measured, a twentieth of the tasks per second.
const NEXT_PER_SLOT: usize = 3;
const NEXT: usize = 16;

/// The slots of a runner, shared by its sessions.
#[derive(Debug)]
pub(crate) struct Slots {
    places: Arc<Semaphore>,
    total: usize,
    next: usize,
    /// Attempts that were started and have no slot yet.
    waiting: AtomicUsize,
    /// Slots that are kept from being used.
    resting: AtomicUsize,
    /// A slot was freed: for a session that did not free it.
    pub(crate) freed: Notify,
}

impl Slots {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        let next = (total * NEXT_PER_SLOT).min(NEXT);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(total + next)),
            total,
            next,
            waiting: AtomicUsize::new(0),
            resting: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// How many there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Attempts that are with a spawner; more than there are slots if some wait there.
    pub(crate) fn taken(&self) -> usize {
        self.total + self.next - self.open()
    }

    /// Attempts that the spawners can take now.
    pub(crate) fn open(&self) -> usize {
        self.places.available_permits()
    }

    /// Attempts that are getting ready for a slot.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether any slot is kept from being used.
    pub(crate) fn are_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed) > 0
    }

    /// Lets an attempt get ready for a slot.
    pub(crate) fn enter(self: &Arc<Self>) -> Slot {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Slot { slots: self.clone(), permit: None, has_waited: false }
    }
}

/// The way of one attempt through a slot: it gets ready, takes one, and frees it.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    permit: Option<OwnedSemaphorePermit>,
    has_waited: bool,
}

impl Slot {
    /// Waits for a place with a spawner, first come first served. Does nothing if it has one.
    pub(crate) async fn take(&mut self) {
        if self.permit.is_none() {
            let permit = self.slots.places.clone().acquire_owned().await;
            self.permit = Some(permit.expect("the semaphore is never closed"));
            if !std::mem::replace(&mut self.has_waited, true) {
                self.slots.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Keeps a slot from being used for a while: the one it has, or one that is free.
    pub(crate) fn rest(&mut self, time: Duration) {
        let permit = self.permit.take().or_else(|| self.slots.places.clone().try_acquire_owned().ok());
        let slots = self.slots.clone();
        if let Some(permit) = permit {
            slots.resting.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                slots.resting.fetch_sub(1, Ordering::Relaxed);
                drop(permit);
                slots.freed.notify_one();
            });
        }
    }

    /// Gives the slot to the next.
    pub(crate) fn free(&mut self) {
        self.permit = None;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.has_waited {
            self.slots.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        self.free();
        self.slots.freed.notify_one();
    }
}
