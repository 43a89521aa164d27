//! How long a slot rests after the runner could not do its part: longer each time in a row, so that a runner whose disk
//! is full, say, does not take the tasks that others could run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The rest after one failure, doubled with each that follows, and the longest.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Rest(AtomicU32);

impl Rest {
    /// The runner could not do its part once more.
    pub(crate) fn after_failure(&self) -> Duration {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        (REST.0 * 2u32.saturating_pow(before.min(16))).min(REST.1)
    }

    /// A process was started: whatever was wrong is no more, or was wrong with one package only.
    pub(crate) fn went_well(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_grows_until_something_works() {
        let rest = Rest::default();
        let times: Vec<u64> = (0..7).map(|_| rest.after_failure().as_secs()).collect();
        assert_eq!(times, [1, 2, 4, 8, 16, 30, 30]);
        rest.went_well();
        assert_eq!(rest.after_failure(), REST.0);
    }
}
