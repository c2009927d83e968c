//! A point in time that the caller names.

use std::time::Duration;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Nanoseconds on a monotonic clock of the caller's choice.
///
/// Only differences matter; all ticks that meet one table come from one clock. The crate reads no clock of its own,
/// so a caller that has just read one passes it on, and tests name any time they like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// The clock's origin.
    pub const ZERO: Self = Self(0);

    /// Returns the tick `nanos` after the clock's origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the clock's origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the tick `length` later; the last one if there is none.
    #[must_use]
    pub fn after(self, length: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the time since `earlier`; zero if that is in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the whole milliseconds.
    pub(crate) const fn millis(self) -> u64 {
        self.0 / NANOS_PER_MILLI
    }

    /// Returns the milliseconds, a started one counted whole.
    pub(crate) const fn millis_up(self) -> u64 {
        self.0.div_ceil(NANOS_PER_MILLI)
    }

    /// Returns the whole seconds.
    pub(crate) const fn seconds(self) -> u64 {
        self.0 / (1_000 * NANOS_PER_MILLI)
    }
}
