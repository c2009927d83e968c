//! Successes and failures of the last ten seconds, exact.

use crate::Tick;
use crate::sync::{AtomicU64, Ordering};

const BUCKETS: usize = 10;
const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const SECOND_MASK: u64 = (1 << 24) - 1;

/// Ten buckets of a second: `[second:24 | succeeded:20 | failed:20]`. A bucket is taken over by the first call of
/// its next second, so an idle peer costs nothing and keeps nothing.
#[derive(Debug)]
pub(crate) struct Window([AtomicU64; BUCKETS]);

/// How the calls of a window ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
}

/// How a call ended, for a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Succeeded,
    Failed,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(crate) fn clear(&self) {
        for bucket in &self.0 {
            bucket.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a call that ended at `now`. One that ended ten seconds before the newest is dropped, and so is what is
    /// beyond a million in one second.
    #[inline]
    pub(crate) fn record(&self, now: Tick, ending: Ending) {
        let second = now.seconds();
        let tag = second & SECOND_MASK;
        let Some(bucket) = self.0.get(index(second)) else { return };
        let mut seen = bucket.load(Ordering::Relaxed);
        loop {
            let bucket_tag = seen >> (2 * COUNT_BITS);
            let counts = if bucket_tag == tag {
                seen
            } else if age(bucket_tag, tag) > SECOND_MASK / 2 {
                // The bucket is of a later second.
                return;
            } else {
                tag << (2 * COUNT_BITS)
            };
            let Some(next) = count(counts, ending) else { return };
            match bucket.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => seen = newer,
            }
        }
    }

    /// Returns what ended in the ten seconds up to `now`, the started one included.
    pub(crate) fn tally(&self, now: Tick) -> Tally {
        let tag = now.seconds() & SECOND_MASK;
        self.0.iter().fold(Tally::default(), |sum, bucket| {
            let word = bucket.load(Ordering::Relaxed);
            if age(word >> (2 * COUNT_BITS), tag) >= BUCKETS as u64 {
                return sum;
            }
            let succeeded = (word >> COUNT_BITS) & COUNT_MAX;
            Tally { succeeded: sum.succeeded + succeeded, failed: sum.failed + (word & COUNT_MAX) }
        })
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below ten")]
const fn index(second: u64) -> usize {
    (second % BUCKETS as u64) as usize
}

const fn age(tag: u64, now: u64) -> u64 {
    now.wrapping_sub(tag) & SECOND_MASK
}

#[inline]
fn count(word: u64, ending: Ending) -> Option<u64> {
    let shift = match ending {
        Ending::Succeeded => COUNT_BITS,
        Ending::Failed => 0,
    };
    ((word >> shift) & COUNT_MAX < COUNT_MAX).then(|| word + (1 << shift))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn a_call_counts_for_ten_seconds_by_the_clock_and_no_longer() {
        let window = Window::new();
        window.record(at(1_500), Ending::Failed);
        window.record(at(2_000), Ending::Succeeded);
        let tally = |millis| window.tally(at(millis));
        assert_eq!(tally(2_000), Tally { succeeded: 1, failed: 1 });
        assert_eq!(tally(10_999), Tally { succeeded: 1, failed: 1 });
        assert_eq!(tally(11_000), Tally { succeeded: 1, failed: 0 });
        assert_eq!(tally(12_000), Tally::default());
    }

    #[test]
    fn a_bucket_starts_anew_in_its_next_second_and_late_calls_are_dropped() {
        let window = Window::new();
        window.record(at(1_000), Ending::Failed);
        window.record(at(11_000), Ending::Succeeded);
        window.record(at(1_100), Ending::Failed);
        assert_eq!(window.tally(at(11_000)), Tally { succeeded: 1, failed: 0 });
    }

    #[test]
    fn a_full_bucket_stays_full() {
        let window = Window([const { AtomicU64::new(COUNT_MAX) }; BUCKETS]);
        window.record(at(0), Ending::Failed);
        assert_eq!(window.0.first().map(|bucket| bucket.load(Ordering::Relaxed)), Some(COUNT_MAX));
    }
}
