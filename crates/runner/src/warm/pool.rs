//! Who gets which worker, and whose slot: pure but for the handing over.
//!
//! A worker has a slot to itself for as long as it lives. A package that has none gets one even if somebody must give
//! way; one that has some gets more only where slots are free. Whoever has nothing to do gives way at once, whoever has a
//! task after it. Processes share the slots that no worker has.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;
use tokio::time::Instant;
use windlass_model::id::{ProjectId, RevisionId};
use windlass_model::limits::{Limits, Network};

/// Whom a worker works for: it sees tasks of one project and one revision, under the same rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) project: ProjectId,
    pub(crate) revision: RevisionId,
    pub(crate) limits: Limits,
    pub(crate) network: Network,
}

/// A worker, as the pool sees it. To drop it ends it.
pub(crate) trait Kept: Send + 'static {
    /// Its place.
    fn place(&self) -> &Place<Self>
    where
        Self: Sized;
    /// When it is to be ended if it has nothing to do until then.
    fn idle_until(&self) -> Instant;
    /// How many of its kind are kept all the same.
    fn min_warm(&self) -> usize;
}

/// The workers of a runner, and what processes leave of its slots.
#[derive(Debug)]
pub(crate) struct Pool<W: Kept> {
    total: usize,
    inner: Mutex<Inner<W>>,
}

#[derive(Debug)]
struct Inner<W: Kept> {
    /// Every worker from before it is started until nothing of it is left.
    places: HashMap<u64, Taken>,
    /// Those that have nothing to do, the one that had last at the end.
    idle: VecDeque<W>,
    /// Processes that have a slot or wait for one that another process has.
    processes: usize,
    queue: VecDeque<Waiting<W>>,
    next: u64,
    is_reaping: bool,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    key: Key,
    /// Its slot is wanted.
    gives_way: bool,
}

#[derive(Debug)]
struct Waiting<W: Kept> {
    /// None: room for a process.
    wants: Option<Key>,
    grant: oneshot::Sender<Grant<W>>,
}

/// What somebody gets who waited.
#[derive(Debug)]
pub(crate) enum Grant<W: Kept> {
    /// A worker that has nothing to do.
    Worker(W),
    /// The place for one, to be started.
    Place(Place<W>),
    /// Room for a process.
    Room(Room<W>),
}

/// The place of a worker: its slot is free when this is dropped.
#[derive(Debug)]
pub(crate) struct Place<W: Kept> {
    /// Which may hold the worker that holds this.
    pool: Weak<Pool<W>>,
    id: u64,
}

/// Room for a process, until this is dropped.
#[derive(Debug)]
pub(crate) struct Room<W: Kept>(Arc<Pool<W>>);

impl<W: Kept> Pool<W> {
    /// For a runner of `total` slots.
    pub(crate) fn new(total: usize) -> Arc<Self> {
        let inner = Inner {
            places: HashMap::new(),
            idle: VecDeque::new(),
            processes: 0,
            queue: VecDeque::new(),
            next: 0,
            is_reaping: false,
        };
        Arc::new(Self { total, inner: Mutex::new(inner) })
    }

    /// Waits for a worker or for the place for one. May be dropped.
    pub(crate) async fn worker(self: &Arc<Self>, key: Key) -> Grant<W> {
        self.wait(Some(key)).await
    }

    /// Waits for room for a process. May be dropped.
    pub(crate) async fn room(self: &Arc<Self>) -> Grant<W> {
        self.wait(None).await
    }

    async fn wait(self: &Arc<Self>, wants: Option<Key>) -> Grant<W> {
        let (grant, granted) = oneshot::channel();
        self.lock().queue.push_back(Waiting { wants, grant });
        self.settle();
        granted.await.expect("whoever waits is kept until it is granted something")
    }

    /// Takes a worker back that may have another task; ends it if its slot is wanted.
    pub(crate) fn put(self: &Arc<Self>, worker: W) {
        let mut inner = self.lock();
        let gives_way = inner.places.get(&worker.place().id).is_none_or(|taken| taken.gives_way);
        if gives_way {
            // It comes back as a free slot.
            drop(inner);
            drop(worker);
            return;
        }
        inner.idle.push_back(worker);
        drop(inner);
        self.settle();
        self.reap_later();
    }

    /// How many workers there are, and how many of them have nothing to do.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.places.len(), inner.idle.len())
    }

    /// Grants whatever can be granted, and sees to it that more can.
    fn settle(self: &Arc<Self>) {
        // Both lock us when they are dropped, so not before we are unlocked.
        let (mut ended, mut unwanted) = (Vec::new(), Vec::new());
        let mut inner = self.lock();
        let mut short = 0;
        let queue = std::mem::take(&mut inner.queue);
        for waiting in queue {
            if waiting.grant.is_closed() {
                continue;
            }
            let (grant, needs_slot) = match waiting.wants {
                Some(key) => self.for_task(&mut inner, key),
                None => self.for_process(&mut inner),
            };
            match grant {
                Some(grant) => unwanted.extend(waiting.grant.send(grant).err()),
                None => {
                    // Any number of processes share the slot that one of them gets.
                    short += usize::from(needs_slot && (waiting.wants.is_some() || short == 0));
                    inner.queue.push_back(waiting);
                }
            }
        }
        let freeing = inner.places.values().filter(|taken| taken.gives_way).count();
        for _ in freeing..short {
            ended.extend(inner.make_way());
        }
        drop(inner);
        drop((ended, unwanted));
    }

    /// What a task gets; or nothing yet, and whether somebody must give way for it.
    fn for_task(self: &Arc<Self>, inner: &mut Inner<W>, key: Key) -> (Option<Grant<W>>, bool) {
        let is_ours = |worker: &W| inner.places.get(&worker.place().id).is_some_and(|taken| taken.key == key);
        // The one that had something to do last: the others can be ended.
        if let Some(at) = inner.idle.iter().rposition(is_ours) {
            return (inner.idle.remove(at).map(Grant::Worker), false);
        }
        let has_some = inner.places.values().any(|taken| taken.key == key && !taken.gives_way);
        let is_free = inner.places.len() + inner.processes < self.total;
        if inner.places.len() < self.total && (is_free || !has_some) {
            let id = inner.next;
            inner.next += 1;
            inner.places.insert(id, Taken { key, gives_way: false });
            return (Some(Grant::Place(Place { pool: Arc::downgrade(self), id })), false);
        }
        (None, !has_some)
    }

    /// The same for a process.
    fn for_process(self: &Arc<Self>, inner: &mut Inner<W>) -> (Option<Grant<W>>, bool) {
        let slots = self.total - inner.places.len().min(self.total);
        let has_free = inner.processes < slots;
        // One behind the other rather than at the cost of somebody who is at work.
        if has_free || (slots > 0 && inner.idle.is_empty()) {
            inner.processes += 1;
            return (Some(Grant::Room(Room(self.clone()))), false);
        }
        (None, true)
    }

    /// Ends what has had nothing to do for too long; returns when to look again, if ever.
    fn reap(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let mut ended = Vec::new();
        let mut inner = self.lock();
        let mut seen: Vec<Key> = Vec::new();
        let mut kept = VecDeque::new();
        let mut next: Option<Instant> = None;
        // Those that had something to do last come first, and are kept first.
        while let Some(worker) = inner.idle.pop_back() {
            let Some(key) = inner.places.get(&worker.place().id).map(|taken| taken.key) else {
                ended.push(worker);
                continue;
            };
            let before = seen.iter().filter(|other| **other == key).count();
            seen.push(key);
            if before < worker.min_warm() {
                kept.push_front(worker);
            } else if worker.idle_until() <= now {
                ended.push(worker);
            } else {
                next = Some(next.map_or(worker.idle_until(), |next| next.min(worker.idle_until())));
                kept.push_front(worker);
            }
        }
        inner.idle = kept;
        inner.is_reaping = next.is_some();
        drop(inner);
        drop(ended);
        next
    }

    /// Looks after those that have nothing to do, for as long as there are any.
    fn reap_later(self: &Arc<Self>) {
        if std::mem::replace(&mut self.lock().is_reaping, true) {
            return;
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let Some(pool) = pool.upgrade() else { return };
                let Some(next) = pool.reap(Instant::now()) else { return };
                drop(pool);
                tokio::time::sleep_until(next).await;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner<W>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Kept> Inner<W> {
    /// Frees a slot: of the worker that has had nothing to do for longest, who is to be dropped; else of one of the
    /// package that has most, after its task.
    fn make_way(&mut self) -> Option<W> {
        if let Some(worker) = self.idle.pop_front() {
            if let Some(taken) = self.places.get_mut(&worker.place().id) {
                taken.gives_way = true;
            }
            return Some(worker);
        }
        let count = |key: Key| self.places.values().filter(|t| t.key == key && !t.gives_way).count();
        let busy = self.places.iter().filter(|(_, taken)| !taken.gives_way);
        let most = busy.max_by_key(|(id, taken)| (count(taken.key), std::cmp::Reverse(**id)));
        if let Some(id) = most.map(|(id, _)| *id)
            && let Some(taken) = self.places.get_mut(&id)
        {
            taken.gives_way = true;
        }
        None
    }
}

impl<W: Kept> Drop for Place<W> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.lock().places.remove(&self.id);
            pool.settle();
        }
    }
}

impl<W: Kept> Drop for Room<W> {
    fn drop(&mut self) {
        self.0.lock().processes -= 1;
        self.0.settle();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use windlass_model::id::Seq;

    use super::*;

    /// A worker that is ended by being dropped.
    #[derive(Debug)]
    struct Fake {
        place: Place<Fake>,
        idle_until: Instant,
        min_warm: usize,
    }

    impl Kept for Fake {
        fn place(&self) -> &Place<Fake> {
            &self.place
        }
        fn idle_until(&self) -> Instant {
            self.idle_until
        }
        fn min_warm(&self) -> usize {
            self.min_warm
        }
    }

    fn key(n: i64) -> Key {
        Key {
            project: ProjectId::new(Seq(1), 1),
            revision: RevisionId::new(Seq(n), 1),
            limits: Limits::DEFAULT,
            network: Network::Egress,
        }
    }

    fn fake(grant: Grant<Fake>) -> Fake {
        match grant {
            Grant::Worker(worker) => worker,
            Grant::Place(place) => {
                Fake { place, idle_until: Instant::now() + Duration::from_secs(60), min_warm: 0 }
            }
            Grant::Room(_) => panic!("room for a process is no worker"),
        }
    }

    /// What is granted at once.
    fn now<T>(waits: impl Future<Output = T>) -> Option<T> {
        use futures::FutureExt as _;
        waits.now_or_never()
    }

    #[tokio::test]
    async fn a_worker_is_used_again_and_more_are_started_while_slots_are_free() {
        let pool = Pool::new(2);
        let first = fake(now(pool.worker(key(1))).unwrap());
        let id = first.place.id;
        let second = fake(now(pool.worker(key(1))).unwrap());
        assert!(now(pool.worker(key(1))).is_none());
        pool.put(first);
        let again = fake(now(pool.worker(key(1))).unwrap());
        assert_eq!(again.place.id, id);
        drop((again, second));
        assert_eq!(pool.counts(), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_is_served_in_turn_and_nothing_is_lost_on_who_gave_up() {
        let pool = Pool::new(1);
        let worker = fake(now(pool.worker(key(1))).unwrap());
        let mut gave_up = Box::pin(pool.worker(key(1)));
        assert!(now(&mut gave_up).is_none());
        let mut waits = Box::pin(pool.worker(key(1)));
        assert!(now(&mut waits).is_none());
        drop(gave_up);
        pool.put(worker);
        pool.put(fake(waits.await));
        assert_eq!(pool.counts(), (1, 1));
    }

    #[tokio::test]
    async fn who_has_nothing_to_do_gives_way_at_once_and_others_after_their_task() {
        let pool = Pool::new(2);
        let (a, b) = (fake(now(pool.worker(key(1))).unwrap()), fake(now(pool.worker(key(1))).unwrap()));
        pool.put(a);
        // The one that is idle is ended for it.
        let other = fake(now(pool.worker(key(2))).or(now(pool.worker(key(2)))).unwrap());
        assert_eq!(pool.counts(), (2, 0));
        let mut third = Box::pin(pool.worker(key(3)));
        assert!(now(&mut third).is_none());
        // One of the two is to give way, whichever comes back first of those that must.
        pool.put(b);
        pool.put(other);
        drop(third.await);
    }

    #[tokio::test]
    async fn processes_share_what_workers_leave_and_get_a_slot_of_those_that_are_idle() {
        let pool = Pool::new(2);
        let worker = fake(now(pool.worker(key(1))).unwrap());
        let first = now(pool.room()).unwrap();
        // A worker more would have to wait for the process.
        assert!(now(pool.worker(key(1))).is_none());
        // Behind the other, as nobody is idle.
        let second = now(pool.room()).unwrap();
        pool.put(worker);
        assert_eq!(pool.counts(), (1, 1));
        let mut third = Box::pin(pool.room());
        let third = now(&mut third).or(now(pool.room())).unwrap();
        assert_eq!(pool.counts(), (0, 0));
        drop((first, second, third));
    }

    #[tokio::test]
    async fn a_process_gets_a_slot_even_if_all_workers_are_at_work() {
        let pool = Pool::new(1);
        let worker = fake(now(pool.worker(key(1))).unwrap());
        let mut room = Box::pin(pool.room());
        assert!(now(&mut room).is_none());
        pool.put(worker);
        assert!(matches!(room.await, Grant::Room(_)));
        assert_eq!(pool.counts(), (0, 0));
    }

    #[tokio::test]
    async fn who_is_idle_for_long_is_ended_but_for_some() {
        let pool = Pool::new(3);
        let soon = Instant::now() + Duration::from_secs(60);
        let mut workers: Vec<Fake> = (0..3).map(|_| fake(now(pool.worker(key(1))).unwrap())).collect();
        for worker in &mut workers {
            worker.min_warm = 1;
        }
        for worker in workers {
            pool.put(worker);
        }
        assert!(pool.reap(soon - Duration::from_secs(1)).is_some_and(|next| next >= soon));
        assert_eq!(pool.counts(), (3, 3));
        assert_eq!(pool.reap(soon + Duration::from_secs(1)), None);
        assert_eq!(pool.counts(), (1, 1));
    }
}
