//! Failures of the last ten seconds, and of how many calls.

use crate::Tick;
use crate::sync::{AtomicU64, Ordering};

const BUCKETS: usize = 10;
const FAILED_BITS: u32 = 18;
const FAILED_MAX: u64 = (1 << FAILED_BITS) - 1;
const BEFORE_BITS: u32 = 26;
const BEFORE_MASK: u64 = (1 << BEFORE_BITS) - 1;
const SECOND_SHIFT: u32 = FAILED_BITS + BEFORE_BITS;
const SECOND_MASK: u64 = (1 << 19) - 1;
const USED: u64 = 1 << 63;

/// Ten buckets of a second, `[used:1 | second:19 | ended before:26 | failed:18]`, exact by the clock and for any rate.
///
/// A bucket is taken over by the first call that ends in its next second, which notes how many calls had ended before,
/// modulo 2^26: so a call that goes well writes nothing, an idle peer costs nothing, and what is older than ten seconds
/// is not counted. The seconds wrap after six days: a bucket that nobody took over for exactly so long counts once more.
#[derive(Debug)]
pub(crate) struct Window([AtomicU64; BUCKETS]);

/// How the calls of a window ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ended: u64,
    pub(crate) failed: u64,
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

    /// Makes `now`'s bucket the newest, if it is not older. To be called before the first call of a second is counted in
    /// `ended`: all that have ended.
    pub(crate) fn turn(&self, now: Tick, ended: u64) {
        let second = now.seconds();
        let Some(bucket) = self.0.get(index(second)) else { return };
        let fresh = tag(second) << SECOND_SHIFT | (ended & BEFORE_MASK) << FAILED_BITS;
        let mut seen = bucket.load(Ordering::Relaxed);
        while seen & USED == 0 || is_later(tag(second), seen >> SECOND_SHIFT) {
            match bucket.compare_exchange_weak(seen, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => seen = newer,
            }
        }
    }

    /// Counts a failure at `now`, whose bucket was made the newest. One that ended ten seconds before the newest is
    /// dropped, and so is what is beyond 262,143 in one second.
    pub(crate) fn fail(&self, now: Tick) {
        let second = now.seconds();
        let Some(bucket) = self.0.get(index(second)) else { return };
        let mut seen = bucket.load(Ordering::Relaxed);
        while seen >> SECOND_SHIFT == tag(second) && seen & FAILED_MAX < FAILED_MAX {
            match bucket.compare_exchange_weak(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => seen = newer,
            }
        }
    }

    /// Returns what ended in the ten seconds up to `now`, the started one included, when `ended` have ended in all.
    pub(crate) fn tally(&self, now: Tick, ended: u64) -> Tally {
        let mut tally = Tally::default();
        for bucket in &self.0 {
            let word = bucket.load(Ordering::Relaxed);
            let seconds_ago = now.seconds().wrapping_sub(word >> SECOND_SHIFT) & SECOND_MASK;
            if word & USED != 0 && seconds_ago < BUCKETS as u64 {
                tally.failed += word & FAILED_MAX;
                // The oldest bucket has the most calls since.
                let since = ended.wrapping_sub(word >> FAILED_BITS) & BEFORE_MASK;
                tally.ended = tally.ended.max(since);
            }
        }
        tally
    }
}

const fn is_later(tag: u64, than: u64) -> bool {
    let ahead = tag.wrapping_sub(than) & SECOND_MASK;
    ahead != 0 && ahead <= SECOND_MASK / 2
}

/// Returns a second as the highest bits of a bucket that is used have it.
#[inline]
const fn tag(second: u64) -> u64 {
    (second & SECOND_MASK) | USED >> SECOND_SHIFT
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below ten")]
const fn index(second: u64) -> usize {
    (second % BUCKETS as u64) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::ZERO.after(Duration::from_millis(millis))
    }

    /// A window and what has ended, as a cell has them.
    struct Counted {
        window: Window,
        ended: Cell<u64>,
    }

    impl Counted {
        fn new() -> Self {
            Self { window: Window::new(), ended: Cell::new(BEFORE_MASK - 1) }
        }

        fn succeed(&self, millis: u64) {
            self.window.turn(at(millis), self.ended.get());
            self.ended.set(self.ended.get() + 1);
        }

        fn fail(&self, millis: u64) {
            self.succeed(millis);
            self.window.fail(at(millis));
        }

        #[track_caller]
        fn check(&self, millis: u64, ended: u64, failed: u64) {
            assert_eq!(self.window.tally(at(millis), self.ended.get()), Tally { ended, failed });
        }
    }

    #[test]
    fn a_call_counts_for_ten_seconds_by_the_clock_and_no_longer() {
        let calls = Counted::new();
        calls.check(0, 0, 0);
        calls.fail(1_500);
        calls.succeed(2_000);
        calls.succeed(2_999);
        calls.check(2_999, 3, 1);
        calls.check(10_999, 3, 1);
        calls.check(11_000, 2, 0);
        calls.check(12_000, 0, 0);
        calls.fail(12_000);
        calls.check(12_000, 1, 1);
    }

    #[test]
    fn a_bucket_starts_anew_in_its_next_second_and_a_late_failure_is_dropped() {
        let calls = Counted::new();
        calls.fail(1_000);
        calls.succeed(11_000);
        calls.fail(1_100);
        calls.check(11_000, 2, 0);
    }

    #[test]
    fn nothing_is_left_of_what_was_before_a_clear() {
        let calls = Counted::new();
        calls.fail(1_000);
        calls.window.clear();
        calls.check(1_000, 0, 0);
        calls.fail(1_001);
        calls.check(1_001, 1, 1);
    }

    #[test]
    fn seconds_count_across_their_wrap() {
        let calls = Counted::new();
        let wrap = (SECOND_MASK + 1) * 1_000;
        calls.fail(wrap - 1_000);
        calls.fail(wrap + 8_999);
        calls.check(wrap + 8_999, 2, 2);
        calls.check(wrap + 9_000, 1, 1);
    }

    #[test]
    fn a_full_bucket_stays_full() {
        let full = tag(0) << SECOND_SHIFT | FAILED_MAX;
        let window = Window([const { AtomicU64::new(0) }; BUCKETS]);
        for bucket in window.0.iter().take(1) {
            bucket.store(full, Ordering::Relaxed);
        }
        window.fail(at(0));
        assert_eq!(window.0.first().map(|bucket| bucket.load(Ordering::Relaxed)), Some(full));
    }
}
