//! Who uses a cell, in one word: `[picks:40 | pending:23 | retired:1]`.

use crate::sync::{AtomicU64, Ordering, fence};

const RETIRED: u64 = 1;
const PENDING_ONE: u64 = 1 << 1;
const PENDING_BITS: u32 = 23;
const PENDING_MASK: u64 = ((1 << PENDING_BITS) - 1) << 1;
const PICK_SHIFT: u32 = 24;
const PICK_ONE: u64 = 1 << PICK_SHIFT;

/// Counts the leases on a cell, those given (modulo 2^40) and those not yet given back.
///
/// Once it is retired, a call of [`LeaseWord::release`] or [`LeaseWord::retire`] is told that it was the one after
/// which nobody uses the cell: one call, and one more for each [`Acquired::RetiredAnew`].
#[derive(Debug)]
pub(crate) struct LeaseWord(AtomicU64);

/// What came of asking for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Acquired {
    /// A lease, to be given back by [`LeaseWord::release`].
    Lease,
    /// The cell is retired: give the lease back at once.
    Retired,
    /// The same, and nobody used the cell any more: whoever gives the last lease back ends it a second time.
    RetiredAnew,
    /// Nothing: there are as many leases as can be counted.
    Full,
}

/// Whether the call was the one after which nobody uses the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Users {
    Remain,
    NoneLeft,
}

/// What the word held at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Leases given so far, modulo 2^40.
    pub(crate) picks: u64,
    /// Leases not yet given back.
    pub(crate) pending: u32,
}

impl LeaseWord {
    pub(crate) const PENDING_MAX: u32 = (1 << PENDING_BITS) - 1;
    /// Picks are counted modulo this.
    pub(crate) const PICKS_WRAP: u64 = 1 << (64 - PICK_SHIFT);

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn with_picks(picks: u64) -> Self {
        Self(AtomicU64::new(picks << PICK_SHIFT))
    }

    /// Counts a lease. Whoever acquires holds a reference to the cell already, and keeps the lease only as the answer
    /// says.
    #[inline]
    pub(crate) fn acquire(&self) -> Acquired {
        // Relaxed as in Arc's clone, for the same reason.
        let before = self.0.fetch_add(PICK_ONE | PENDING_ONE, Ordering::Relaxed);
        if before & RETIRED == 0 && before & PENDING_MASK != PENDING_MASK {
            Acquired::Lease
        } else {
            self.acquired_in_vain(before)
        }
    }

    #[cold]
    fn acquired_in_vain(&self, before: u64) -> Acquired {
        if before & PENDING_MASK == PENDING_MASK {
            // What was carried into the picks comes back as it went.
            self.0.fetch_sub(PICK_ONE | PENDING_ONE, Ordering::Relaxed);
            Acquired::Full
        } else if before & PENDING_MASK == 0 {
            Acquired::RetiredAnew
        } else {
            Acquired::Retired
        }
    }

    /// Gives a lease back.
    #[inline]
    pub(crate) fn release(&self) -> Users {
        let before = self.0.fetch_sub(PENDING_ONE, Ordering::Release);
        if before & (PENDING_MASK | RETIRED) == PENDING_ONE | RETIRED {
            // Everything that other leases did happens before what the last one does, as in Arc's drop.
            fence(Ordering::Acquire);
            Users::NoneLeft
        } else {
            Users::Remain
        }
    }

    /// Refuses all leases from now on.
    pub(crate) fn retire(&self) -> Users {
        let before = self.0.fetch_or(RETIRED, Ordering::AcqRel);
        if before & (PENDING_MASK | RETIRED) == 0 { Users::NoneLeft } else { Users::Remain }
    }

    #[inline]
    pub(crate) fn usage(&self) -> Usage {
        let word = self.0.load(Ordering::Relaxed);
        Usage { picks: word >> PICK_SHIFT, pending: ((word & PENDING_MASK) >> 1) as u32 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn picks_wrap_without_touching_what_is_pending() {
        let word = LeaseWord::with_picks(LeaseWord::PICKS_WRAP - 1);
        assert_eq!(word.acquire(), Acquired::Lease);
        assert_eq!(word.usage(), Usage { picks: 0, pending: 1 });
        assert_eq!(word.acquire(), Acquired::Lease);
        assert_eq!(word.usage(), Usage { picks: 1, pending: 2 });
        assert_eq!((word.release(), word.release()), (Users::Remain, Users::Remain));
        assert_eq!(word.usage(), Usage { picks: 1, pending: 0 });
    }

    #[test]
    fn pending_stops_at_its_limit_instead_of_spilling_into_picks() {
        let word = LeaseWord(AtomicU64::new(PENDING_MASK - PENDING_ONE));
        assert_eq!([word.acquire(), word.acquire()], [Acquired::Lease, Acquired::Full]);
        assert_eq!(word.usage(), Usage { picks: 1, pending: LeaseWord::PENDING_MAX });
    }

    #[test]
    fn the_last_user_after_retirement_is_told_so_and_nobody_else() {
        let word = LeaseWord::new();
        assert_eq!([word.acquire(), word.acquire()], [Acquired::Lease, Acquired::Lease]);
        assert_eq!(word.retire(), Users::Remain);
        assert_eq!([word.release(), word.release()], [Users::Remain, Users::NoneLeft]);
        assert_eq!(word.retire(), Users::Remain);

        assert_eq!(LeaseWord::new().retire(), Users::NoneLeft);
    }

    #[test]
    fn a_lease_on_a_retired_cell_is_known_as_one_and_ends_the_cell_again_if_it_had_ended() {
        let word = LeaseWord::new();
        assert_eq!(word.retire(), Users::NoneLeft);
        assert_eq!([word.acquire(), word.acquire()], [Acquired::RetiredAnew, Acquired::Retired]);
        assert_eq!([word.release(), word.release()], [Users::Remain, Users::NoneLeft]);
    }
}
