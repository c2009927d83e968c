//! How many peers there are, and how many of them breakers keep out.

use crate::sync::{AtomicU64, Ordering};

/// Limits to what breakers may take out of a table. All are computed with the ejection in question already made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rails {
    /// Most peers that may be out at once, in percent of those that take work; at least one may, if others remain.
    /// Default 30. Higher trusts the breakers more; lower keeps more of a failing mesh in use.
    pub max_ejected_percent: u8,
    /// With fewer than this share of peers in, all but the isolated are used: so many cannot all be at fault. In
    /// percent, default 50; 0 turns panic off.
    pub panic_percent: u8,
    /// Whether the last peer stays in whatever it does.
    pub last_peer: LastPeer,
}

/// What happens to the last peer that is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastPeer {
    /// It is never ejected.
    Stays,
    /// It is ejected like any other.
    MayGo,
}

impl Default for Rails {
    fn default() -> Self {
        Self { max_ejected_percent: 30, panic_percent: 50, last_peer: LastPeer::Stays }
    }
}

impl Rails {
    /// No limits: every peer may be ejected.
    pub const OFF: Self = Self { max_ejected_percent: 100, panic_percent: 0, last_peer: LastPeer::MayGo };

    /// Returns whether `ejected` of `total` may be out.
    fn allow(&self, ejected: u64, total: u64) -> bool {
        if self.last_peer == LastPeer::Stays && ejected >= total {
            return false;
        }
        let most = total * u64::from(self.max_ejected_percent) / 100;
        ejected <= most.max(1)
    }
}

/// `[peers that take work:32 | peers out:32]`: out is every peer whose breaker is not closed.
#[derive(Debug)]
pub(crate) struct Census(AtomicU64);

const OUT_MASK: u64 = 0xffff_ffff;

impl Census {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn set_total(&self, total: usize) {
        let total = u64::from(u32::try_from(total).unwrap_or(u32::MAX));
        self.update(|word| Some(total << 32 | word & OUT_MASK));
    }

    /// Counts one more peer out if `rails` allow that; the caller takes it back with [`Census::readmit`].
    pub(crate) fn try_eject(&self, rails: &Rails) -> bool {
        self.update(|word| rails.allow((word & OUT_MASK) + 1, word >> 32).then_some(word + 1))
    }

    /// Counts one more peer out, whatever the rails say: an operator wants it.
    pub(crate) fn eject(&self) {
        self.update(|word| Some(word + 1));
    }

    pub(crate) fn readmit(&self) {
        self.update(|word| (word & OUT_MASK > 0).then(|| word - 1));
    }

    pub(crate) fn out(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & OUT_MASK
    }

    /// Returns whether so few peers are in that breakers are no longer believed.
    pub(crate) fn panics(&self, rails: &Rails) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        let (total, out) = (word >> 32, word & OUT_MASK);
        total.saturating_sub(out) * 100 < total * u64::from(rails.panic_percent)
    }

    fn update(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rails: &Rails, total: usize, may_be_out: usize) {
        let census = Census::new();
        census.set_total(total);
        let out = (0..=total).take_while(|_| census.try_eject(rails)).count();
        assert_eq!(out, may_be_out, "of {total}");
    }

    #[test]
    fn the_limit_holds_after_the_ejection_and_the_last_peer_stays() {
        let rails = |max_ejected_percent| Rails { max_ejected_percent, ..Rails::default() };
        for (total, may_be_out) in [(0, 0), (1, 0), (2, 1), (3, 1), (6, 1), (7, 2), (10, 3), (100, 30)] {
            check(&rails(30), total, may_be_out);
        }
        check(&rails(67), 3, 2);
        check(&rails(100), 3, 2);
        check(&rails(0), 10, 1);
        check(&Rails::OFF, 1, 1);
        check(&Rails::OFF, 3, 3);
    }

    #[test]
    fn panic_starts_below_the_share_and_ends_with_a_readmission() {
        let census = Census::new();
        census.set_total(4);
        let rails = Rails::default();
        let panics = |change: fn(&Census)| {
            change(&census);
            census.panics(&rails)
        };
        assert!(!panics(|c| c.eject()));
        assert!(!panics(|c| c.eject()), "half are in");
        assert!(panics(|c| c.eject()));
        assert!(!panics(|c| c.readmit()));
        assert!(!Census::new().panics(&rails), "nobody to panic about");
    }
}
