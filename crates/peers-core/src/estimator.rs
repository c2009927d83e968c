//! How long a peer takes, as far as this node can tell.

use crate::Tick;
use crate::sync::{AtomicU64, Ordering};

/// Time constant: without samples an estimate moves this fast towards the fleet's mean.
const TAU_MS: f32 = 3_000.0;
/// Weight of a sample that follows another at once.
const SAMPLE_WEIGHT: f32 = 0.15;
/// The same for a sample that shows a sudden slowness, and the ratio that makes it one.
const SURPRISE_WEIGHT: f32 = 0.4;
const SURPRISE_RATIO: f32 = 3.0;
/// No single sample counts for more, however long the silence before it. With half, a slow peer that is tried every few
/// seconds looked twice as good as the trial had just shown.
const WEIGHT_MAX: f32 = 0.7;
/// A failure counts as at least this, lest a peer that fails fast looks like one that works fast.
const PENALTY_NS: f32 = 1e9;

/// A latency estimate that relaxes to the fleet's mean, not to zero: silence is no merit. `[estimate:f32 | ms:32]`,
/// both read and written at once; of two writers at the same moment one is lost, which an average survives.
#[derive(Debug)]
pub(crate) struct Estimator(AtomicU64);

impl Estimator {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Returns the estimate at `now` in nanoseconds: `mean` of a peer never called.
    #[inline]
    pub(crate) fn read(&self, now: Tick, mean: f32) -> f32 {
        let (estimate, decay) = self.load().decayed(now);
        if estimate > 0.0 { mean + (estimate - mean) * decay } else { mean }
    }

    /// Returns what is known, to be used by [`Known::after`].
    #[inline(always)]
    pub(crate) fn load(&self) -> Known {
        Known(self.0.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn store(&self, now: Tick, estimate: f32) {
        self.0.store((u64::from(estimate.to_bits()) << 32) | u64::from(low(now.millis())), Ordering::Relaxed);
    }

    /// Takes in a failure after `took_ns`.
    pub(crate) fn penalise(&self, now: Tick, took_ns: f32, mean: f32) {
        let estimate = self.read(now, mean);
        self.store(now, self.load().after(now, took_ns.max(PENALTY_NS).max(2.0 * estimate), mean));
    }
}

/// An estimate as it was stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known(u64);

impl Known {
    /// Returns what the estimate is after a call that took `took_ns`, to be stored.
    #[inline(always)]
    pub(crate) fn after(self, now: Tick, took_ns: f32, mean: f32) -> f32 {
        let (known, decay) = self.decayed(now);
        if known > 0.0 {
            let relaxed = mean + (known - mean) * decay;
            let base = if took_ns > SURPRISE_RATIO * relaxed { SURPRISE_WEIGHT } else { SAMPLE_WEIGHT };
            // A sample after silence weighs more.
            let weight = (1.0 - (1.0 - base) * decay).min(WEIGHT_MAX);
            (relaxed + (took_ns - relaxed) * weight).max(1.0)
        } else {
            took_ns.max(1.0)
        }
    }

    /// Returns the stored estimate, 0 for none, and how much of its distance from the mean is left at `now`.
    #[inline]
    fn decayed(self, now: Tick) -> (f32, f32) {
        let Self(word) = self;
        let silent_ms = low(now.millis()).wrapping_sub(low(word)).cast_signed();
        let estimate = f32::from_bits(low(word >> 32));
        if silent_ms <= 0 {
            return (estimate, 1.0);
        }
        // e^-x as the fourth power of the quotient of the series of x/4: within 0.002 everywhere, monotone, and the
        // same on every machine.
        let x = silent_ms as f32 * (0.25 / TAU_MS);
        // Not `mul_add`: where there is no such instruction it is a call.
        let quarter = 1.0 / (1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0))));
        let half = quarter * quarter;
        (estimate, half * half)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half, on purpose")]
pub(crate) const fn low(word: u64) -> u32 {
    word as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    const MEAN: f32 = 10e6;

    fn at(secs: u64) -> Tick {
        Tick::ZERO.after(Duration::from_secs(secs))
    }

    fn sample(estimator: &Estimator, now: Tick, took_ns: f32, mean: f32) -> f32 {
        let estimate = estimator.load().after(now, took_ns, mean);
        estimator.store(now, estimate);
        estimate
    }

    #[test]
    fn a_peer_never_called_is_taken_for_an_average_one() {
        assert_eq!(Estimator::new().read(at(9), MEAN), MEAN);
    }

    #[test]
    fn silence_moves_an_estimate_to_the_mean_from_both_sides() {
        for first in [1e6, 100e6] {
            let estimator = Estimator::new();
            assert_eq!(sample(&estimator, at(1), first, MEAN), first);
            assert_eq!(estimator.read(at(1), MEAN), first);
            let left = (estimator.read(at(4), MEAN) - MEAN) / (first - MEAN);
            assert!((left - (-1.0_f32).exp()).abs() < 2e-3, "{left} of the distance is left after one time constant");
            let left_of_two = (estimator.read(at(7), MEAN) - MEAN) / (first - MEAN);
            assert!((left_of_two - (-2.0_f32).exp()).abs() < 2e-3, "{left_of_two} is left after two");
            assert!(((estimator.read(at(61), MEAN) - MEAN) / MEAN).abs() < 0.01);
        }
    }

    #[test]
    fn a_sample_weighs_more_after_silence_and_when_it_surprises_but_never_alone() {
        let weight = |then: u64, took: f32| {
            let estimator = Estimator::new();
            sample(&estimator, at(1), MEAN, MEAN);
            (sample(&estimator, at(then), took, MEAN) - MEAN) / (took - MEAN)
        };
        assert!((weight(1, 2.0 * MEAN) - 0.15).abs() < 1e-3);
        assert!((weight(1, 4.0 * MEAN) - 0.40).abs() < 1e-3);
        assert!((weight(2, 2.0 * MEAN) - 0.39).abs() < 1e-2);
        assert!((weight(60, 2.0 * MEAN) - 0.70).abs() < 1e-3);
    }

    #[test]
    fn a_fast_failure_makes_a_peer_slow() {
        let estimator = Estimator::new();
        sample(&estimator, at(1), MEAN, MEAN);
        estimator.penalise(at(1), 0.5e6, MEAN);
        let after = estimator.read(at(1), MEAN);
        assert!((after - 406e6).abs() < 1e6, "{after}");
    }

    #[test]
    fn a_clock_that_steps_back_between_threads_does_no_harm() {
        let estimator = Estimator::new();
        sample(&estimator, at(5), MEAN, MEAN);
        assert_eq!(estimator.read(at(4), MEAN), MEAN);
    }
}
