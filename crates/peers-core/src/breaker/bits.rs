//! A breaker's whole state as one word.

use crate::{BreakerState, Tick};

/// `[until:37 | generation:12 | exponent:4 | probes:3 | streak:5 | warming:1 | state:2]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) state: BreakerState,
    /// The peer gets less than its share for now.
    pub(super) warming: bool,
    /// Failures in a row while closed; successful probes while half open.
    pub(super) streak: u8,
    /// Probes not yet reported. [`Bits::GONE`] while isolated: for ever.
    pub(super) probes: u8,
    /// How often the open time has doubled.
    pub(super) exponent: u8,
    /// Counts the changes of state: what a lease of an earlier one reports is stale.
    pub(super) generation: u16,
    /// Milliseconds modulo 2^37: the end of the open time; while half open, when probes are lost; while closed, when
    /// it closed.
    pub(super) until: u64,
}

const UNTIL_MASK: u64 = (1 << 37) - 1;
const GENERATION_MAX: u16 = (1 << 12) - 1;
const GENERATION_MASK: u64 = GENERATION_MAX as u64;

impl Bits {
    pub(super) const STREAK_MAX: u8 = 31;
    pub(super) const PROBES_MAX: u8 = 7;
    pub(super) const EXPONENT_MAX: u8 = 15;
    pub(super) const GONE: u8 = Self::PROBES_MAX;

    /// What is zero when a peer takes calls without further question.
    const ASK_MASK: u64 = 0b111;

    #[inline]
    pub(super) const fn takes_calls(word: u64) -> bool {
        word & Self::ASK_MASK == 0
    }

    #[inline]
    pub(super) fn unpack(word: u64) -> Self {
        Self {
            state: match word & 3 {
                0 => BreakerState::Closed,
                1 => BreakerState::Open,
                2 => BreakerState::HalfOpen,
                _ => BreakerState::Isolated,
            },
            warming: word & 4 != 0,
            streak: byte(word >> 3, 5),
            probes: byte(word >> 8, 3),
            exponent: byte(word >> 11, 4),
            generation: generation(word),
            until: word >> 27,
        }
    }

    pub(super) fn pack(self) -> u64 {
        self.state as u64
            | u64::from(self.warming) << 2
            | u64::from(self.streak.min(Self::STREAK_MAX)) << 3
            | u64::from(self.probes.min(Self::PROBES_MAX)) << 8
            | u64::from(self.exponent.min(Self::EXPONENT_MAX)) << 11
            | (u64::from(self.generation) & GENERATION_MASK) << 15
            | (self.until & UNTIL_MASK) << 27
    }

    pub(super) const fn next_generation(self) -> u16 {
        self.generation.wrapping_add(1) & GENERATION_MAX
    }

    /// Returns how many milliseconds `until` is ahead of `now`; negative when it has passed.
    pub(super) const fn ahead_ms(self, now: Tick) -> i64 {
        // Sign-extends the difference of two 37-bit numbers.
        (self.until.wrapping_sub(now.millis()) << 27).cast_signed() >> 27
    }
}

#[inline]
pub(super) const fn generation(word: u64) -> u16 {
    ((word >> 15) & GENERATION_MASK) as u16
}

#[expect(clippy::cast_possible_truncation, reason = "masked to at most 5 bits")]
const fn byte(word: u64, bits: u32) -> u8 {
    (word & ((1 << bits) - 1)) as u8
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_field_survives_the_word_at_its_limit() {
        for state in [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen, BreakerState::Isolated] {
            let full =
                Bits { state, warming: true, streak: 31, probes: 7, exponent: 15, generation: 4095, until: UNTIL_MASK };
            assert_eq!(Bits::unpack(full.pack()), full);
            assert_eq!(full.next_generation(), 0);
        }
    }

    #[test]
    fn until_is_ahead_or_past_across_its_wrap() {
        let wrap = Duration::from_millis(1 << 37);
        let bits = Bits { until: 5, ..Bits::unpack(0) };
        assert_eq!(bits.ahead_ms(Tick::ZERO), 5);
        assert_eq!(bits.ahead_ms(Tick::ZERO.after(Duration::from_millis(7))), -2);
        assert_eq!(bits.ahead_ms(Tick::ZERO.after(wrap - Duration::from_millis(1))), 6);
    }
}
