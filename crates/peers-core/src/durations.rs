//! How long leases lasted, by powers of two.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// Buckets up to 1, 2, 4 … 8,192 ms, and one for the rest.
const BUCKETS: usize = 15;

/// A histogram of the reported leases of one peer.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Durations {
    /// First, on one cache line with the buckets up to 64 ms.
    sum_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// A histogram as it was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DurationHistogram {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Durations {
    pub(crate) fn new() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn record(&self, took_ns: u64) {
        let started_ms = took_ns.saturating_sub(1) / 1_000_000;
        let index = (u64::BITS - started_ms.leading_zeros()) as usize;
        if let Some(bucket) = self.buckets.get(index.min(BUCKETS - 1)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(took_ns / 1_000, Ordering::Relaxed);
    }

    /// Returns how many leases were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn read(&self) -> DurationHistogram {
        let mut histogram = DurationHistogram { sum_us: self.sum_us.load(Ordering::Relaxed), ..Default::default() };
        for (count, bucket) in histogram.counts.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        histogram
    }
}

impl DurationHistogram {
    /// Iterates over the buckets: the upper limit in milliseconds, the last one infinite, and how many leases lasted
    /// no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let limits = (0..).map(|power| if power + 1 < BUCKETS { (1_u64 << power) as f64 } else { f64::INFINITY });
        limits.zip(self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }))
    }

    /// Returns how many leases were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns how long they lasted together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// Adds the leases of another.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_us += other.sum_us;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_whose_limit_it_does_not_pass() {
        let durations = Durations::new();
        for ns in [0, 1_000_000, 1_000_001, 2_000_000, 2_000_001, 8_192_000_000, 8_192_000_001, u64::MAX / 2] {
            durations.record(ns);
        }
        let read = durations.read();
        let limits: Vec<(f64, u64)> =
            read.cumulative().filter(|(limit, _)| [1.0, 2.0, 4.0, 8192.0].contains(limit)).collect();
        assert_eq!(limits, [(1.0, 2), (2.0, 4), (4.0, 5), (8192.0, 6)]);
        assert_eq!(read.cumulative().last(), Some((f64::INFINITY, 8)));
        assert_eq!(read.count(), 8);
    }
}
