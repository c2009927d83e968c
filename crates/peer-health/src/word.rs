//! Evidence as an atomic word, and what it says after a while.

use std::time::Duration;

use crate::evidence::{Freshness, Said, Source, Verdict};
use crate::time::Tick;

/// [`Freshness`] in milliseconds, by source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes([u64; SOURCES]);

const SOURCES: usize = Source::ALL.len();

impl Lifetimes {
    pub(crate) fn new(freshness: &Freshness) -> Self {
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self(Source::ALL.map(|source| match source {
            Source::Gossip => millis(freshness.gossip),
            Source::Lease => millis(freshness.lease),
            Source::Transport => millis(freshness.transport),
            Source::Breaker => millis(freshness.breaker),
            Source::Probe => millis(freshness.probe),
            Source::Admin => u64::MAX,
            Source::CustomA | Source::CustomB => millis(freshness.custom),
        }))
    }

    /// Returns the rules of the moment `now`.
    #[inline]
    pub(crate) fn at(&self, now: Tick) -> Judge {
        Judge { eldest: self.0.map(|lifetime| Word::eldest(now.as_millis().saturating_sub(lifetime))) }
    }
}

/// Says what words mean at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge {
    /// By source: a word that is no less than this counts.
    eldest: [Word; SOURCES],
}

impl Judge {
    /// Returns what the word of `source` says.
    #[inline]
    pub(crate) fn judge(&self, source: Source, word: Word) -> Said {
        let eldest = self.eldest.get(source as usize).copied().unwrap_or(Word::NONE);
        let said = word.said();
        if said == Said::NOTHING || word >= eldest || word.is_final() {
            return said;
        }
        // A lease says *down* by falling silent, and stays down until it is heard of again.
        if matches!(source, Source::Lease) { Said::DOWN } else { Said::STALE }
    }
}

/// One source's evidence as an atomic word: `[tick:40 | count:21 | kind:3]`; 0 is nothing said. The later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Word(pub(crate) u64);

const KIND_BITS: u32 = 3;
const KIND_MASK: u64 = (1 << KIND_BITS) - 1;
const COUNT_BITS: u32 = 21;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const TICK_SHIFT: u32 = KIND_BITS + COUNT_BITS;
/// One more than what [`Said`] knows.
const KIND_FINAL: u64 = Said::DOWN.0 as u64 + 1;

impl Word {
    pub(crate) const NONE: Self = Self(0);

    /// Returns the least word of the tick `millis`.
    const fn eldest(millis: u64) -> Self {
        Self(millis << TICK_SHIFT)
    }

    #[inline]
    pub(crate) const fn new(verdict: Verdict, tick: Tick) -> Self {
        Self(tick.as_millis() << TICK_SHIFT | Said::new(verdict).0 as u64)
    }

    /// *Down*, and no time passing will change it.
    pub(crate) const fn last(tick: Tick) -> Self {
        Self(tick.as_millis() << TICK_SHIFT | KIND_FINAL)
    }

    pub(crate) const fn counting(self, count: u64) -> Self {
        let count = if count > COUNT_MAX { COUNT_MAX } else { count };
        Self(self.0 & !(COUNT_MAX << KIND_BITS) | count << KIND_BITS)
    }

    pub(crate) const fn count(self) -> u64 {
        self.0 >> KIND_BITS & COUNT_MAX
    }

    pub(crate) const fn tick(self) -> Tick {
        Tick::from_millis(self.0 >> TICK_SHIFT)
    }

    pub(crate) const fn is_final(self) -> bool {
        self.0 & KIND_MASK == KIND_FINAL
    }

    /// Returns what it says as long as it counts.
    #[inline]
    pub(crate) const fn said(self) -> Said {
        if self.is_final() { Said::DOWN } else { Said((self.0 & KIND_MASK) as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_its_parts_apart() {
        let highest = Tick::from_millis(u64::MAX);
        for verdict in [Verdict::Up, Verdict::Degraded, Verdict::Down] {
            let word = Word::new(verdict, highest).counting(u64::MAX);
            let parts = (word.said(), word.tick(), word.count(), word.is_final());
            assert_eq!(parts, (Said::new(verdict), highest, (1 << 21) - 1, false));
        }
        let last = Word::last(Tick::from_millis(7));
        assert_eq!((last.said(), last.is_final(), last.count()), (Said::DOWN, true, 0));
        assert_eq!(Word::NONE.said(), Said::NOTHING);
    }
}
