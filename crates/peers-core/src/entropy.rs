//! Cheap random numbers from a seed.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// A generator of random numbers: wyrand (Wang Yi, 2019), 64 bits of state, one multiplication a number.
///
/// One seed gives one sequence. It is for spreading load, not for secrets.
#[derive(Debug, Clone)]
pub struct Entropy {
    state: u64,
    /// The number after this one, made ahead: whoever asks has it without the wait for the multiplication.
    next: u64,
}

thread_local! {
    /// State and next number.
    static OF_THREAD: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

static THREADS: AtomicU64 = AtomicU64::new(0);

impl Entropy {
    /// Makes the generator of `seed`.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        let state = mix(seed).wrapping_add(STEP);
        Self { state, next: output(state) }
    }

    /// Calls `draw` with this thread's generator. The first call on a thread seeds it from `seed` and the thread's
    /// number.
    pub(crate) fn of_thread<R>(seed: u64, draw: impl FnOnce(&mut Self) -> R) -> R {
        OF_THREAD.with(|state| {
            let (known, next) = state.get();
            let mut entropy = Self { state: known, next };
            if known == 0 {
                entropy = Self::seeded(seed ^ mix(THREADS.fetch_add(1, Ordering::Relaxed)));
            }
            let drawn = draw(&mut entropy);
            state.set((entropy.state, entropy.next));
            drawn
        })
    }

    /// Lends the generator to a call that is seldom made, without giving its address away: on the usual way it stays
    /// in registers.
    #[inline(always)]
    pub(crate) fn lend<R>(&mut self, draw: impl FnOnce(&mut Self) -> R) -> R {
        let mut lent = self.clone();
        let drawn = draw(&mut lent);
        *self = lent;
        drawn
    }

    /// Returns the next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let drawn = self.next;
        self.state = self.state.wrapping_add(STEP);
        self.next = output(self.state);
        drawn
    }

    /// Returns a number below `bound`; 0 if `bound` is 0.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        scale(self.next_u64(), bound)
    }

    /// Returns two different numbers below `bound`, or `None` if there are no two.
    #[inline]
    pub fn two_below(&mut self, bound: usize) -> Option<(usize, usize)> {
        if bound < 2 {
            return None;
        }
        let bits = self.next_u64();
        let first = scale(bits, bound);
        let second = scale(bits.rotate_left(32), bound - 1);
        Some((first, if second >= first { second + 1 } else { second }))
    }

    /// Returns whether a thing of this probability happens.
    #[inline]
    pub fn happens(&mut self, probability: f32) -> bool {
        unit(self.next_u64()) < probability
    }
}

const STEP: u64 = 0xa076_1d64_78bd_642f;

#[inline]
const fn output(state: u64) -> u64 {
    let wide = (state as u128) * ((state ^ 0xe703_7ed1_a0b4_28db) as u128);
    let (high, low) = halves(wide);
    high ^ low
}

/// Spreads the bits of `seed` over the whole word (splitmix64's finaliser).
pub(crate) const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Maps the high half of `bits` to 0 .. `bound` (Lemire 2019; the bias is below `bound` / 2^32).
#[inline]
pub(crate) const fn scale(bits: u64, bound: usize) -> usize {
    (((bits >> 32) * (bound as u64)) >> 32) as usize
}

/// Maps `bits` to 0 ≤ x < 1.
#[inline]
pub(crate) fn unit(bits: u64) -> f32 {
    // 24 bits are what an f32 holds exactly.
    (bits >> 40) as f32 * (1.0 / 16_777_216.0)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a wide word, taken on purpose")]
const fn halves(wide: u128) -> (u64, u64) {
    ((wide >> 64) as u64, wide as u64)
}
