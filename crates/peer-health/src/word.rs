//! Evidence as an atomic word, and what it says after a while.

use std::time::Duration;

use crate::evidence::{Freshness, Source, Verdict, Verdicts};
use crate::time::Tick;

/// [`Freshness`] in milliseconds, by source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes([u64; 8]);

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

    /// Adds to `verdicts` what the word of `source` says at `now`.
    pub(crate) fn judge(&self, verdicts: Verdicts, source: Source, word: Word, now: Tick) -> Verdicts {
        let Some(verdict) = word.verdict() else { return verdicts };
        let lifetime = self.0.get(source as usize).copied().unwrap_or(0);
        let is_fresh = word.is_final() || now.millis_since(word.tick()) <= lifetime;
        match (source, verdict) {
            // A lease says *down* by falling silent, and stays down until it is heard of again.
            (Source::Lease, Verdict::Down) => verdicts.with(source, Verdict::Down),
            (Source::Lease, _) if !is_fresh => verdicts.with(source, Verdict::Down),
            _ if is_fresh => verdicts.with(source, verdict),
            _ => verdicts.with_stale(source),
        }
    }
}

/// One source's evidence as an atomic word: `[kind:3 | count:21 | tick:40]`; 0 is nothing said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

const COUNT_BITS: u32 = 21;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const KIND_SHIFT: u32 = Tick::BITS + COUNT_BITS;
const KIND_UP: u64 = 1;
const KIND_DEGRADED: u64 = 2;
const KIND_DOWN: u64 = 3;
const KIND_FINAL: u64 = 4;

impl Word {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn new(verdict: Verdict, tick: Tick) -> Self {
        let kind = match verdict {
            Verdict::Up => KIND_UP,
            Verdict::Degraded => KIND_DEGRADED,
            Verdict::Down => KIND_DOWN,
        };
        Self(kind << KIND_SHIFT | tick.as_millis())
    }

    /// *Down*, and no time passing will change it.
    pub(crate) const fn last(tick: Tick) -> Self {
        Self(KIND_FINAL << KIND_SHIFT | tick.as_millis())
    }

    pub(crate) const fn counting(self, count: u64) -> Self {
        let count = if count > COUNT_MAX { COUNT_MAX } else { count };
        Self(self.0 & !(COUNT_MAX << Tick::BITS) | count << Tick::BITS)
    }

    pub(crate) const fn count(self) -> u64 {
        self.0 >> Tick::BITS & COUNT_MAX
    }

    pub(crate) const fn tick(self) -> Tick {
        Tick::from_millis(self.0 & ((1 << Tick::BITS) - 1))
    }

    pub(crate) const fn is_final(self) -> bool {
        self.0 >> KIND_SHIFT == KIND_FINAL
    }

    pub(crate) const fn verdict(self) -> Option<Verdict> {
        match self.0 >> KIND_SHIFT {
            KIND_UP => Some(Verdict::Up),
            KIND_DEGRADED => Some(Verdict::Degraded),
            KIND_DOWN | KIND_FINAL => Some(Verdict::Down),
            _ => None,
        }
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
            let parts = (word.verdict(), word.tick(), word.count(), word.is_final());
            assert_eq!(parts, (Some(verdict), highest, (1 << 21) - 1, false));
        }
        let last = Word::last(Tick::from_millis(7));
        assert_eq!((last.verdict(), last.is_final(), last.count()), (Some(Verdict::Down), true, 0));
        assert_eq!(Word::NONE.verdict(), None);
    }
}
