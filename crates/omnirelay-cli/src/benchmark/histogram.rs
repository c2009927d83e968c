//! How long calls took: counts in buckets that are as wide as a hundredth of what they hold.

use std::time::Duration;

/// Buckets for each doubling: what is recorded is off by less than 1/128.
const PER_DOUBLING: u64 = 64;

/// Doublings above the first [`PER_DOUBLING`] nanoseconds: up to more than nineteen hours.
const DOUBLINGS: u64 = 40;

const BUCKETS: u64 = PER_DOUBLING * (DOUBLINGS + 1);

/// Durations, counted. It takes 21 KiB whatever it holds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: (0..BUCKETS).map(|_| 0).collect(), total: 0, max: Duration::ZERO }
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let last = self.counts.len().saturating_sub(1);
        let bucket = usize::try_from(bucket_of(nanos)).map_or(last, |bucket| bucket.min(last));
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(duration);
    }

    /// Adds what another has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, others) in self.counts.iter_mut().zip(&other.counts) {
            *count += others;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    pub(crate) const fn max(&self) -> Duration {
        self.max
    }

    /// Returns the duration that `thousandths` of a thousand did not exceed; nothing if nothing is counted.
    pub(crate) fn quantile(&self, thousandths: u64) -> Option<Duration> {
        let wanted = (self.total * thousandths.min(1000)).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        // The upper end of the bucket, which the longest may not have reached.
        Some(Duration::from_nanos(end_of(bucket as u64)).min(self.max))
    }
}

/// Values below [`PER_DOUBLING`] have a bucket each; above, each doubling has as many.
const fn bucket_of(nanos: u64) -> u64 {
    if nanos < PER_DOUBLING {
        return nanos;
    }
    let shift = nanos.ilog2() - PER_DOUBLING.ilog2();
    (shift as u64 + 1) * PER_DOUBLING + ((nanos >> shift) - PER_DOUBLING)
}

/// Returns the largest value of a bucket.
const fn end_of(bucket: u64) -> u64 {
    if bucket < PER_DOUBLING {
        return bucket;
    }
    let shift = bucket / PER_DOUBLING - 1;
    (((bucket % PER_DOUBLING) + PER_DOUBLING + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_ends_at_or_just_above_it() {
        let mut nanos = 0_u64;
        while nanos < 1 << 45 {
            let (bucket, end) = (bucket_of(nanos), end_of(bucket_of(nanos)));
            assert!(end >= nanos && end - nanos <= nanos / PER_DOUBLING, "{nanos} in {bucket}, which ends at {end}");
            assert_eq!(bucket_of(end + 1), bucket + 1, "after {end}");
            nanos = nanos * 5 / 4 + 1;
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut first = Histogram::new();
        assert_eq!((first.quantile(500), first.total()), (None, 0));
        let mut second = first.clone();
        for ms in 1..=1000 {
            let half = if ms % 2 == 0 { &mut first } else { &mut second };
            half.record(Duration::from_millis(ms));
        }
        first.merge(&second);
        for (thousandths, ms) in [(500, 500), (900, 900), (990, 990), (999, 999), (1, 1)] {
            let found = first.quantile(thousandths).unwrap_or_default();
            let expected = Duration::from_millis(ms);
            assert!(found >= expected && found <= expected.mul_f64(1.016), "{thousandths}: {found:?}");
        }
        let longest = Duration::from_secs(1);
        assert_eq!((first.quantile(1000), first.max(), first.total()), (Some(longest), longest, 1000));
        first.record(Duration::MAX);
        assert_eq!(first.max(), Duration::MAX);
    }
}
