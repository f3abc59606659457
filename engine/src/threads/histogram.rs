//! How long things took, in powers of two of a microsecond.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Up to 1 µs, 2 µs, 4 µs ... 2^24 µs (17 s), and all that is longer.
pub const BUCKETS: usize = 26;

/// Filled by many threads at once: two additions of relaxed atomics each time.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    total_us: AtomicU64,
    longest_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            total_us: AtomicU64::new(0),
            longest_us: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub fn add(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
        self.longest_us.fetch_max(us, Ordering::Relaxed);
    }

    pub fn read(&self) -> Latencies {
        Latencies {
            counts: self.counts.each_ref().map(|n| n.load(Ordering::Relaxed)),
            total_us: self.total_us.load(Ordering::Relaxed),
            longest_us: self.longest_us.load(Ordering::Relaxed),
        }
    }
}

/// The bucket of what took so long: the first whose end is not below it.
fn bucket(us: u64) -> usize {
    let bits = u64::BITS - us.saturating_sub(1).leading_zeros();
    (bits as usize).min(BUCKETS - 1)
}

/// A histogram as it was at one moment. What was counted while it was read may
/// be in one of its fields and not in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latencies {
    /// How many took up to `1 << n` microseconds, and longer than the bucket
    /// before; in the last one, whatever took longer still.
    pub counts: [u64; BUCKETS],
    pub total_us: u64,
    pub longest_us: u64,
}

impl Latencies {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// So many microseconds were enough for `per_mille` of a thousand, rounded up
    /// to a power of two (but to no more than the longest). `None` without any.
    pub fn quantile_us(&self, per_mille: u64) -> Option<u64> {
        let count = self.count();
        let wanted = (count * per_mille.min(1000)).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|n| {
            seen += n;
            seen >= wanted
        })?;
        let end = match bucket < BUCKETS - 1 {
            true => 1 << bucket,
            false => u64::MAX,
        };
        Some(end.min(self.longest_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(us: &[u64]) -> Latencies {
        let histogram = Histogram::default();
        us.iter()
            .for_each(|&us| histogram.add(Duration::from_micros(us)));
        histogram.read()
    }

    #[test]
    fn each_bucket_ends_at_a_power_of_two() {
        for (us, bucket) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1024, 10)] {
            assert_eq!(filled(&[us]).counts[bucket], 1, "{us}");
        }
        assert_eq!(filled(&[1 << 24]).counts[BUCKETS - 2], 1);
        assert_eq!(filled(&[(1 << 24) + 1, u64::MAX]).counts[BUCKETS - 1], 2);
    }

    #[test]
    fn a_quantile_is_an_upper_bound() {
        assert_eq!(filled(&[]).quantile_us(500), None);
        let latencies = filled(&[3, 3, 3, 3, 3, 3, 3, 3, 3, 900]);
        assert_eq!(latencies.count(), 10);
        assert_eq!((latencies.total_us, latencies.longest_us), (927, 900));
        assert_eq!(latencies.quantile_us(0), Some(4));
        assert_eq!(latencies.quantile_us(900), Some(4));
        assert_eq!(
            latencies.quantile_us(901),
            Some(900),
            "not 1024: none took that"
        );
        assert_eq!(latencies.quantile_us(1000), Some(900));
    }
}
