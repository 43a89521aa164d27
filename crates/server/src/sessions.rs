//! Runner sessions in memory: what a server must remember between the calls of a runner.
//!
//! The store keeps sessions and leases; this keeps what would be too much to ask it at every call, and what only
//! the server can know: which answers a runner has certainly seen. All of it may be lost without harm.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use windlass_model::id::RunnerId;
use windlass_model::isolation::Level;
use windlass_model::lease::Fence;
use windlass_model::runner::{Held, HostLoad, RunnerRecord};
use windlass_model::time::Timestamp;

/// The live sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    by_runner: RwLock<HashMap<RunnerId, Arc<Session>>>,
}

/// One session of a runner.
#[derive(Debug)]
pub struct Session {
    /// Names it.
    pub runner: RunnerId,
    /// The tasks it takes.
    pub cluster: String,
    /// How well it isolates.
    pub level: Level,
    /// Tasks it runs at once.
    pub slots: u32,
    instance: String,
    draining: AtomicBool,
    told_draining: AtomicBool,
    extended_ms: AtomicI64,
    load: Mutex<Option<(HostLoad, Timestamp)>>,
    changed: Notify,
    attempts: Mutex<HashMap<Fence, Note>>,
}

/// What is remembered of an attempt that was handed out.
#[derive(Debug)]
struct Note {
    held: Held,
    handed_at: Timestamp,
    /// The runner has named it: the answer that told of it has arrived.
    is_confirmed: bool,
    /// Chunks of its log were appended before the report.
    has_log: bool,
    /// The runner was told that it is lost or to be cancelled.
    is_told: bool,
}

impl Sessions {
    /// The session, if this server knows it.
    pub fn get(&self, runner: RunnerId) -> Option<Arc<Session>> {
        self.by_runner.read().get(&runner).cloned()
    }

    /// Takes a session in; those from the same place are over.
    pub fn insert(&self, record: &RunnerRecord) -> Arc<Session> {
        let session = Arc::new(Session {
            runner: record.id,
            cluster: record.about.cluster.clone(),
            level: record.about.isolation.at_least(),
            slots: record.about.slots,
            instance: record.about.instance.clone(),
            draining: AtomicBool::new(record.is_draining),
            told_draining: AtomicBool::new(false),
            extended_ms: AtomicI64::new(record.seen_at.as_millis()),
            load: Mutex::default(),
            changed: Notify::new(),
            attempts: Mutex::default(),
        });
        let mut sessions = self.by_runner.write();
        sessions.retain(|_, s| s.instance != session.instance);
        sessions.insert(record.id, session.clone());
        session
    }

    /// Forgets a session that is over.
    pub fn remove(&self, runner: RunnerId) {
        self.by_runner.write().remove(&runner);
    }
}

impl Session {
    /// Whether an operator asked it to take no more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Notes what an operator asked for, and wakes the calls of this session that wait.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
        self.told_draining.store(false, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Whether draining is news to the runner; it is told with the answer that is being made.
    pub fn tell_draining(&self) -> bool {
        self.is_draining() && !self.told_draining.swap(true, Ordering::Relaxed)
    }

    /// Resolves when something that waiting calls must know has changed.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Attempts are being handed out.
    pub fn handed(&self, attempts: impl Iterator<Item = Held>, now: Timestamp) {
        let mut notes = self.attempts.lock();
        for held in attempts {
            notes.insert(
                held.fence,
                Note { held, handed_at: now, is_confirmed: false, has_log: false, is_told: false },
            );
        }
    }

    /// Chunks of these attempts' logs are about to be appended.
    pub fn logged(&self, attempts: impl Iterator<Item = Held>) {
        let mut notes = self.attempts.lock();
        for held in attempts {
            if let Some(note) = notes.get_mut(&held.fence) {
                note.has_log = true;
            }
        }
    }

    /// Whether chunks of the attempt's log may be in the store. Where we do not know, they may.
    pub fn may_have_log(&self, attempt: Held) -> bool {
        self.attempts.lock().get(&attempt.fence).is_none_or(|note| note.has_log)
    }

    /// The attempts have ended or were given back.
    pub fn forget<'a>(&self, attempts: impl Iterator<Item = &'a Held>) {
        let mut notes = self.attempts.lock();
        for held in attempts {
            notes.remove(&held.fence);
        }
    }

    /// Its lease was extended at `now`.
    pub fn extended(&self, now: Timestamp) {
        self.extended_ms.store(now.as_millis(), Ordering::Relaxed);
    }

    /// How long ago its lease was extended.
    pub fn since_extended(&self, now: Timestamp) -> Duration {
        now.since(Timestamp::from_millis(self.extended_ms.load(Ordering::Relaxed)))
    }

    /// How busy its host is, as it said at `now`; none: it did not say.
    pub fn loaded(&self, load: Option<HostLoad>, now: Timestamp) {
        if let Some(load) = load {
            *self.load.lock() = Some((load, now));
        }
    }

    /// How busy its host was when it last said so here, unless that is longer ago than `fresh`.
    pub fn load(&self, fresh: Duration, now: Timestamp) -> Option<HostLoad> {
        self.load.lock().filter(|(_, at)| now.since(*at) <= fresh).map(|(load, _)| load)
    }

    /// What was handed out at least `patience` ago and never named by the runner, which names everything it holds
    /// more often than that.
    pub fn undelivered(&self, now: Timestamp, patience: Duration) -> Vec<Held> {
        let notes = self.attempts.lock();
        let late = notes.values().filter(|n| !n.is_confirmed && now.since(n.handed_at) >= patience);
        late.map(|note| note.held).collect()
    }

    /// The runner names what it holds.
    pub fn confirm(&self, holds: &[Held]) {
        let named: HashSet<Fence> = holds.iter().map(|h| h.fence).collect();
        self.attempts.lock().retain(|fence, note| {
            // What it named before and names no more has ended; its report may still be on its way.
            let has_ended = note.is_confirmed && !named.contains(fence);
            note.is_confirmed |= named.contains(fence);
            !has_ended
        });
    }

    /// Whether any of `news` has not been told to the runner before; it is told with the answer that is being made.
    pub fn tell(&self, news: &[Held], now: Timestamp) -> bool {
        let mut notes = self.attempts.lock();
        let mut is_news = false;
        for held in news {
            let note = notes.entry(held.fence).or_insert(Note {
                held: *held,
                handed_at: now,
                is_confirmed: true,
                has_log: true,
                is_told: false,
            });
            is_news |= !note.is_told;
            note.is_told = true;
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::id::{Seq, TaskId};
    use windlass_model::runner::{Isolation, Register};

    fn session() -> Arc<Session> {
        let about = Register {
            name: "r".to_owned(),
            instance: "i".to_owned(),
            cluster: "default".to_owned(),
            slots: 1,
            labels: Vec::new(),
            version: String::new(),
            isolation: Isolation { level: "process".to_owned(), missing: Vec::new() },
        };
        let now = Timestamp::default();
        Sessions::default().insert(&RunnerRecord {
            id: RunnerId::new(Seq(1), 1),
            about,
            started_at: now,
            seen_at: now,
            is_draining: false,
            gone_at: None,
        })
    }

    fn held(n: i64) -> Held {
        Held { task: TaskId::new(Seq(n), 0), fence: Fence(n) }
    }

    #[test]
    fn an_attempt_whose_answer_was_lost_is_found() {
        let (session, patience) = (session(), Duration::from_secs(30));
        let at = Timestamp::from_secs;
        session.handed([held(1), held(2)].into_iter(), at(0));
        session.confirm(&[held(1)]);
        assert_eq!(session.undelivered(at(29), patience), []);
        assert_eq!(session.undelivered(at(30), patience), [held(2)]);
        session.forget([held(2)].iter());
        assert_eq!(session.undelivered(at(99), patience), []);
    }

    #[test]
    fn news_is_news_once() {
        let session = session();
        assert!(session.tell(&[held(1)], Timestamp::default()));
        assert!(!session.tell(&[held(1)], Timestamp::default()));
        session.set_draining(true);
        assert!(session.tell_draining() && !session.tell_draining());
    }

    #[test]
    fn what_a_host_was_busy_with_is_soon_forgotten() {
        let (session, at) = (session(), Timestamp::from_secs);
        let load = HostLoad { load_millis: 1500, processors: 4, ..HostLoad::default() };
        let fresh = Duration::from_secs(30);
        assert_eq!(session.load(fresh, at(0)), None);
        session.loaded(Some(load), at(10));
        session.loaded(None, at(20));
        assert_eq!(session.load(fresh, at(40)), Some(load), "a call that says nothing takes nothing back");
        assert_eq!(session.load(fresh, at(41)), None);
    }

    #[test]
    fn an_attempt_that_wrote_no_log_needs_no_look() {
        let session = session();
        session.handed([held(1), held(2)].into_iter(), Timestamp::default());
        session.logged([held(2)].into_iter());
        assert!(
            !session.may_have_log(held(1)) && session.may_have_log(held(2)) && session.may_have_log(held(3))
        );
    }
}
