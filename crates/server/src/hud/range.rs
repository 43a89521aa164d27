//! What a chart reaches over, and how it is divided.

use std::time::Duration;

use windlass_model::time::Timestamp;
use windlass_model::usage::Grain;

/// What a chart reaches over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    Hour,
    Day,
    Week,
}

impl Range {
    pub(super) const ALL: [Range; 3] = [Range::Hour, Range::Day, Range::Week];

    /// Its name in the address.
    pub(super) fn name(self) -> &'static str {
        match self {
            Range::Hour => "hour",
            Range::Day => "day",
            Range::Week => "week",
        }
    }

    /// The range that the address names; the last hour if it names none.
    pub(super) fn named(name: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|range| Some(range.name()) == name).unwrap_or(Range::Hour)
    }

    /// How fine the sums are that its bars are made of.
    pub(super) fn grain(self) -> Grain {
        match self {
            Range::Hour => Grain::Minute,
            Range::Day | Range::Week => Grain::Quarter,
        }
    }

    /// How many bars it has and what each stands for.
    fn bars(self) -> (usize, Duration) {
        const MINUTE: u64 = 60;
        match self {
            Range::Hour => (60, Duration::from_secs(MINUTE)),
            Range::Day => (96, Duration::from_secs(15 * MINUTE)),
            Range::Week => (84, Duration::from_secs(120 * MINUTE)),
        }
    }

    /// When its first bar begins, so that the last one holds `now`.
    pub(super) fn begin(self, now: Timestamp) -> Timestamp {
        let (bars, width) = self.bars();
        let width_ms = width.as_millis() as i64;
        let last = now.as_millis().div_euclid(width_ms) * width_ms;
        Timestamp::from_millis(last - (bars as i64 - 1) * width_ms)
    }

    /// When each of its bars begins.
    pub(super) fn begins(self, now: Timestamp) -> Vec<Timestamp> {
        let (bars, width) = self.bars();
        let begin = self.begin(now);
        (0..bars as u32).map(|at| begin + width * at).collect()
    }

    /// The bar that `at` is in.
    pub(super) fn bar(self, at: Timestamp, now: Timestamp) -> Option<usize> {
        let (bars, width) = self.bars();
        let index = (at.as_millis() - self.begin(now).as_millis()).div_euclid(width.as_millis() as i64);
        usize::try_from(index).ok().filter(|index| *index < bars)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_fall_into_their_bars() {
        let at = Timestamp::from_secs;
        let now = at(100 * 86_400 + 3_725);
        let bars =
            [100 * 86_400 + 3_720, 100 * 86_400 + 3_660, 99 * 86_400].map(|s| Range::Hour.bar(at(s), now));
        assert_eq!(bars, [Some(59), Some(58), None]);
        assert_eq!(Range::Week.bar(at(100 * 86_400 + 3_660), now), Some(83));
        for range in Range::ALL {
            let begins = range.begins(now);
            assert_eq!((begins[0], range.bar(begins[0], now)), (range.begin(now), Some(0)));
            assert_eq!(range.bar(now, now), Some(begins.len() - 1));
        }
    }
}
