//! The beat of the open pages: something changed, told to all of them at once.
//!
//! The first change is told at once, and then for a while nothing: the more pages are open, the longer, so that they
//! never cost more than the work that they show. Every beat has a number, the same for everybody, by which
//! [`shared`](super::shared) knows what a page may be shown. Nothing beats while nobody listens.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::app::App;

/// Shortest and longest time between two beats.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(2);

/// What each open page adds to it.
const EACH: Duration = Duration::from_millis(5);

/// The beat of one server.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    beat: watch::Sender<u64>,
    is_beating: Mutex<bool>,
}

impl Pulse {
    /// Hears every beat from now on.
    pub(super) fn listen(&self, app: &Arc<App>) -> watch::Receiver<u64> {
        let mut is_beating = self.is_beating.lock();
        let listener = self.beat.subscribe();
        if !std::mem::replace(&mut *is_beating, true) {
            tokio::spawn(keep_beating(app.clone()));
        }
        listener
    }

    /// The number of the last beat.
    pub(super) fn last(&self) -> u64 {
        *self.beat.borrow()
    }

    /// Whether nobody listens, so that the beating may end.
    fn may_end(&self) -> bool {
        let mut is_beating = self.is_beating.lock();
        *is_beating = self.beat.receiver_count() > 0;
        !*is_beating
    }
}

fn pause(listeners: usize) -> Duration {
    (EACH * listeners.try_into().unwrap_or(u32::MAX)).clamp(SHORTEST, LONGEST)
}

async fn keep_beating(app: Arc<App>) {
    let pulse = &app.hud.pulse;
    let mut has_changed = false;
    loop {
        // Registered before the pages are told to look: what changes while they look is told with the next beat.
        let changed = app.store.signals().changes().notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if has_changed {
            pulse.beat.send_modify(|beat| *beat += 1);
            tokio::time::sleep(pause(pulse.beat.receiver_count())).await;
        }
        tokio::select! {
            () = changed => {}
            () = pulse.beat.closed() => if pulse.may_end() { return },
            () = app.stopping.cancelled() => return,
        }
        has_changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_listen_the_slower_it_beats() {
        assert_eq!([1, 50, 200, 100_000].map(|n| pause(n).as_millis()), [250, 250, 1_000, 2_000]);
    }
}
