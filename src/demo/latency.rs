//! Times taken, with their quantiles: the last few thousand, exactly.

use std::collections::VecDeque;
use std::time::Duration;

/// Samples kept.
const KEPT: usize = 4_096;

/// A window of samples.
#[derive(Default)]
pub(super) struct Latency {
    recent: VecDeque<Duration>,
    count: u64,
}

impl Latency {
    pub(super) fn add(&mut self, took: Duration) {
        if self.recent.len() >= KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(took);
        self.count += 1;
    }

    /// How many there were in all.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The sample below which `percent` of a hundred lie; `None` when there is none.
    pub(super) fn quantile(&self, percent: usize) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(rank).copied()
    }

    /// The last `count` samples, oldest first, in microseconds.
    pub(super) fn last(&self, count: usize) -> Vec<u64> {
        let skipped = self.recent.len().saturating_sub(count);
        self.recent
            .iter()
            .skip(skipped)
            .map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile(50), None);
        for ms in 1..=100 {
            latency.add(Duration::from_millis(ms));
        }
        assert_eq!(latency.quantile(50), Some(Duration::from_millis(50)));
        assert_eq!(latency.quantile(99), Some(Duration::from_millis(99)));
        assert_eq!(latency.last(2), [99_000, 100_000]);
    }
}
