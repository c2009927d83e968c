//! How long to wait after a failure.

use std::time::{Duration, Instant};

/// How long nothing is tried after failures: doubling from `min` to `max`, each time shortened or stretched by up to a fifth, so
/// that those who failed together do not try together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub(crate) const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0, until: None }
    }

    /// Begins or lengthens the wait; `random` is any number.
    pub(crate) fn failed(&mut self, now: Instant, random: u64) {
        let doubled = self.min.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + jittered(doubled.min(self.max), random));
    }

    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// Returns whether the wait is not over.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// Returns from 0.8 to 1.2 times `length` (gRFC A6).
pub(crate) fn jittered(length: Duration, random: u64) -> Duration {
    // 10 bits are plenty, and exact.
    let thousandths = 800 + u32::try_from(random % 401).unwrap_or_default();
    length.saturating_mul(thousandths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How long a wait is after `failures`, in milliseconds, with `random`.
    fn wait(failures: u32, random: u64, start: Instant) -> u128 {
        let mut backoff = Backoff::new(50 * MS, 1000 * MS);
        for _ in 0..failures {
            backoff.failed(start, random);
        }
        backoff.until.map_or(0, |until| until.duration_since(start).as_millis())
    }

    #[test]
    fn the_wait_doubles_from_the_least_to_the_most_and_stays_there() {
        let start = tokio::time::Instant::now().into_std();
        let waits: Vec<u128> = [0, 1, 2, 3, 5, 6, 40, 1000].map(|failures| wait(failures, 200, start)).to_vec();
        assert_eq!(waits, [0, 50, 100, 200, 800, 1000, 1000, 1000]);
    }

    #[test]
    fn chance_moves_the_wait_by_a_fifth_at_most() {
        let start = tokio::time::Instant::now().into_std();
        assert_eq!((wait(1, 0, start), wait(1, 400, start), wait(1, 401, start)), (40, 60, 40));
    }

    #[test]
    fn the_wait_ends_by_time_or_by_success() {
        let start = tokio::time::Instant::now().into_std();
        let mut backoff = Backoff::new(50 * MS, 1000 * MS);
        assert!(!backoff.holds(start));
        backoff.failed(start, 200);
        assert!(backoff.holds(start + 49 * MS) && !backoff.holds(start + 50 * MS));
        backoff.succeeded();
        assert!(!backoff.holds(start));
        backoff.failed(start, 200);
        assert!(!backoff.holds(start + 50 * MS), "the first wait after a success is the shortest");
    }
}
