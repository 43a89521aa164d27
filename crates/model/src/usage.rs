//! Compute time: what attempts used, summed; and how long they took and waited, as histograms.

use std::str::FromStr;
use std::time::Duration;

use crate::exit::Usage;
use crate::time::Timestamp;

/// The minute of `at`, since the epoch.
pub fn minute(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(60_000)
}

/// The day of `at` in UTC, since the epoch.
pub fn day(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(86_400_000)
}

/// How fine sums over time are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grain {
    /// By the minute.
    Minute,
    /// By the quarter of an hour: a week of them is read at once.
    Quarter,
}

impl Grain {
    /// Every grain.
    pub const ALL: [Grain; 2] = [Grain::Minute, Grain::Quarter];

    /// How many minutes a step has.
    pub const fn minutes(self) -> i64 {
        match self {
            Grain::Minute => 1,
            Grain::Quarter => 15,
        }
    }

    /// The step that `at` is in, since the epoch.
    pub fn step(self, at: Timestamp) -> i64 {
        minute(at).div_euclid(self.minutes())
    }

    /// When the step begins.
    pub fn begin(self, step: i64) -> Timestamp {
        Timestamp::from_millis(step * self.minutes() * 60_000)
    }
}

/// What sums are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageBy {
    /// One for each package.
    Code,
    /// One for each schedule, of the tasks that it made.
    Schedule,
    /// One for each day, in UTC.
    Day,
}

impl UsageBy {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            UsageBy::Code => "code",
            UsageBy::Schedule => "schedule",
            UsageBy::Day => "day",
        }
    }
}

/// The text names nothing that sums are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sums are by code, schedule or day")]
pub struct InvalidBy;

impl FromStr for UsageBy {
    type Err = InvalidBy;

    fn from_str(text: &str) -> Result<Self, InvalidBy> {
        let all = [UsageBy::Code, UsageBy::Schedule, UsageBy::Day];
        all.into_iter().find(|by| by.as_str() == text).ok_or(InvalidBy)
    }
}

/// What attempts used together. Sums stop at the greatest number that databases hold: a runner may report anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComputeTime {
    /// How many there were, also those whose runner was lost.
    pub attempts: u64,
    /// From start to end of their processes, as far as it was reported.
    pub wall_ms: u64,
    /// Processor time, of user and system, likewise.
    pub cpu_us: u64,
    /// The most that any one of their processes had resident.
    pub peak_memory_bytes: u64,
}

fn sum(a: u64, b: u64) -> u64 {
    a.saturating_add(b).min(i64::MAX as u64)
}

impl ComputeTime {
    /// What one attempt used; nothing is known of one whose runner was lost.
    pub fn of(usage: Option<Usage>) -> Self {
        let mut one = Self::default();
        one.add(&match usage {
            None => Self { attempts: 1, ..Self::default() },
            Some(usage) => Self {
                attempts: 1,
                wall_ms: usage.wall_ms,
                cpu_us: usage.user_us.saturating_add(usage.system_us),
                peak_memory_bytes: usage.peak_memory_bytes.min(i64::MAX as u64),
            },
        });
        one
    }

    /// Adds what others used.
    pub fn add(&mut self, other: &Self) {
        self.attempts = sum(self.attempts, other.attempts);
        self.wall_ms = sum(self.wall_ms, other.wall_ms);
        self.cpu_us = sum(self.cpu_us, other.cpu_us);
        self.peak_memory_bytes = self.peak_memory_bytes.max(other.peak_memory_bytes);
    }
}

/// Times by their order of magnitude: bucket 0 has those below a millisecond, bucket `n` those from `2^(n-1)` ms on and
/// below `2^n` ms, the last one everything from twelve days on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram([u32; Histogram::BUCKETS]);

impl Histogram {
    /// How many buckets there are.
    pub const BUCKETS: usize = 32;

    /// The bucket of `time`.
    pub fn bucket(time: Duration) -> usize {
        let bits = u128::BITS - time.as_millis().leading_zeros();
        (bits as usize).min(Self::BUCKETS - 1)
    }

    /// Every time of `bucket` is below this; the last bucket has no bound of its own.
    pub fn bound(bucket: usize) -> Duration {
        Duration::from_millis(1 << bucket.min(Self::BUCKETS - 1))
    }

    /// Counts a time.
    pub fn count(&mut self, time: Duration) {
        let n = &mut self.0[Self::bucket(time)];
        *n = n.saturating_add(1);
    }

    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        for (n, more) in self.0.iter_mut().zip(other.0) {
            *n = n.saturating_add(more);
        }
    }

    /// How many times are in each bucket.
    pub fn buckets(&self) -> &[u32; Self::BUCKETS] {
        &self.0
    }

    /// A histogram with these numbers of times in its first buckets; `None` if there are more of them than buckets.
    pub fn from_buckets(counts: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut histogram = Self::default();
        for (at, n) in counts.into_iter().enumerate() {
            *histogram.0.get_mut(at)? = n;
        }
        Some(histogram)
    }

    /// The bound that at least `share` of the times are below (0.5: the median, to the power of two above). `None` if
    /// nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().map(|&n| u64::from(n)).sum();
        let mut left = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        for (bucket, &n) in self.0.iter().enumerate() {
            match left.checked_sub(u64::from(n)) {
                Some(0) => return Some(Self::bound(bucket)),
                Some(more) => left = more,
                None => return Some(Self::bound(bucket)),
            }
        }
        None
    }

    /// A few bytes: each bucket up to the last that has anything, 7 bits a byte, the lowest first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let used = self.0.iter().rposition(|&n| n > 0).map_or(0, |last| last + 1);
        let mut bytes = Vec::with_capacity(used);
        for mut n in self.0[..used].iter().copied() {
            while n > 0x7f {
                bytes.push(n as u8 | 0x80);
                n >>= 7;
            }
            bytes.push(n as u8);
        }
        bytes
    }

    /// What [`Histogram::to_bytes`] made; `None` if it did not make it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut histogram = Self::default();
        let (mut bucket, mut shift) = (0, 0);
        for &byte in bytes {
            let n = histogram.0.get_mut(bucket)?;
            *n |= u32::from(byte & 0x7f).checked_shl(shift)?;
            (bucket, shift) = if byte & 0x80 == 0 { (bucket + 1, 0) } else { (bucket, shift + 7) };
        }
        (shift == 0).then_some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_runner_that_lies_breaks_no_sum() {
        let lie = Usage { wall_ms: u64::MAX, user_us: u64::MAX, system_us: 1, peak_memory_bytes: u64::MAX };
        let most = i64::MAX as u64;
        let mut sum = ComputeTime::of(Some(lie));
        sum.add(&ComputeTime::of(Some(lie)));
        sum.add(&ComputeTime::of(None));
        assert_eq!(sum, ComputeTime { attempts: 3, wall_ms: most, cpu_us: most, peak_memory_bytes: most });
    }

    #[test]
    fn times_are_told_apart_by_powers_of_two() {
        let bucket = |us| Histogram::bucket(Duration::from_micros(us));
        assert_eq!([0, 999, 1_000, 1_999, 2_000, 4_000, 1_023_999].map(bucket), [0, 0, 1, 1, 2, 3, 10]);
        assert_eq!(Histogram::bucket(Duration::MAX), Histogram::BUCKETS - 1);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for ms in [0, 3, 3, 3, 100] {
            histogram.count(Duration::from_millis(ms));
        }
        let quantile = |share| histogram.quantile(share).map(|time| time.as_millis());
        assert_eq!([0.0, 0.2, 0.5, 0.8, 0.95, 1.0].map(quantile), [1, 1, 4, 4, 128, 128].map(Some));
    }

    #[test]
    fn steps_begin_where_they_are_counted_from() {
        let at = Timestamp::from_secs(100 * 86_400 + 3_661);
        let begins = Grain::ALL.map(|grain| grain.begin(grain.step(at)));
        assert_eq!(begins, [100 * 86_400 + 3_660, 100 * 86_400 + 3_600].map(Timestamp::from_secs));
    }

    proptest! {
        #[test]
        fn a_time_is_below_the_bound_of_its_bucket_only(ms in 0u64..1 << 30) {
            let time = Duration::from_millis(ms);
            let bucket = Histogram::bucket(time);
            prop_assert!(time < Histogram::bound(bucket));
            prop_assert!(bucket == 0 || time >= Histogram::bound(bucket - 1));
        }

        #[test]
        fn a_histogram_survives_its_bytes(buckets: [u32; Histogram::BUCKETS]) {
            let histogram = Histogram(buckets);
            prop_assert_eq!(Histogram::from_bytes(&histogram.to_bytes()), Some(histogram));
            prop_assert_eq!(Histogram::from_buckets(*histogram.buckets()), Some(histogram));
            prop_assert_eq!(Histogram::from_buckets(buckets.into_iter().chain([0])), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Histogram::from_bytes(&bytes);
        }
    }
}
