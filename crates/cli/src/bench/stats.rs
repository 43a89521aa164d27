//! Medians and percentiles.

use std::time::Duration;

/// Durations of one measurement, sorted.
#[derive(Clone, Debug)]
pub(super) struct Sample(Vec<Duration>);

impl Sample {
    /// The sample of `durations`.
    pub(super) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// The duration that the share `q` (0 to 1) of the sample does not exceed; zero for an empty one.
    pub(super) fn percentile(&self, q: f64) -> Duration {
        let rank = (q * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Half of the sample is below it.
    pub(super) fn median(&self) -> Duration {
        self.percentile(0.5)
    }
}

/// The median of a few runs.
pub(super) fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_unstable_by(f64::total_cmp);
    runs.get(runs.len() / 2).copied().unwrap_or(f64::NAN)
}

/// In milliseconds, for reports.
pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_of_the_sample() {
        let sample = Sample::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(sample.median(), Duration::from_millis(50));
        assert_eq!(sample.percentile(0.99), Duration::from_millis(99));
        assert_eq!(Sample::new(vec![]).median(), Duration::ZERO);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
