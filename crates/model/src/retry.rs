//! Whether a failed task runs again, and when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Most retries a package may ask for.
pub const MAX_RETRIES: u32 = 10;

/// How often, and how long after a failure, a task runs again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Most runs after the first; at most [`MAX_RETRIES`].
    pub retries: u32,
    /// Least time between a failure and the next run.
    pub delay_ms: u64,
}

impl RetryPolicy {
    /// When the task runs again after having failed at `now` with `used` retries behind it; none: no more.
    ///
    /// Never before `now + delay`; up to a tenth of the delay later by `jitter` (0 to 1), so that a thousand tasks
    /// that failed together do not come back together.
    pub fn next(&self, used: u32, jitter: f64, now: Timestamp) -> Option<Timestamp> {
        let spread = self.delay_ms as f64 * 0.1 * jitter.clamp(0.0, 1.0);
        let wait = Duration::from_millis(self.delay_ms.saturating_add(spread as u64));
        (used < self.retries).then(|| now + wait)
    }
}

/// Times that runners may be unable to do their part for a task before it is given up: within about half an hour.
pub const MAX_UNABLE: u32 = 12;

/// Time before a task is tried again that a runner was unable to run, doubled each time, and the longest.
const UNABLE_DELAY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// When a task is tried again that runners were unable to run `before` times, and once more at `now`; none: no more.
///
/// Up to half of the time later by `jitter` (0 to 1): whatever is wrong often is so for many tasks.
pub fn after_unable(before: u32, jitter: f64, now: Timestamp) -> Option<Timestamp> {
    let wait = (UNABLE_DELAY.0 * 2u32.saturating_pow(before.min(30))).min(UNABLE_DELAY.1);
    (before + 1 < MAX_UNABLE).then(|| now + wait.mul_f64(1.0 + 0.5 * jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_wait_after_unable_runners_grows_and_ends() {
        let now = Timestamp::from_secs(0);
        let waits = (0..MAX_UNABLE).map(|before| Some(after_unable(before, 0.0, now)?.as_millis() / 1000));
        let expected = [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300].map(Some);
        assert_eq!(waits.collect::<Vec<_>>(), [&expected[..], &[None]].concat());
        assert_eq!(after_unable(0, 1.0, now), Some(Timestamp::from_secs(3)));
    }

    proptest! {
        #[test]
        fn a_retry_is_never_early_and_at_most_a_tenth_late(retries in 0u32..10, used in 0u32..12, delay_ms in 0u64..1_000_000, jitter in 0.0f64..1.0) {
            let now = Timestamp::from_secs(1_000);
            match (RetryPolicy { retries, delay_ms }).next(used, jitter, now) {
                Some(at) => {
                    prop_assert!(used < retries);
                    let wait = at.since(now).as_millis() as u64;
                    prop_assert!(wait >= delay_ms && wait <= delay_ms + delay_ms / 10);
                }
                None => prop_assert!(used >= retries),
            }
        }
    }
}
