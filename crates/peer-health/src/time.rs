//! A moment on both clocks, in the units that fit into an atomic word.

use std::fmt::{self, Write as _};
use std::num::NonZeroU64;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

/// A point on the host's monotonic clock: whole milliseconds since a start that the host chooses.
///
/// Ticks of one tracker come from one [`Timeline`]. The highest is 2^40 − 1, about 34 years.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    pub(crate) const BITS: u32 = 40;
    const MAX: u64 = (1 << Self::BITS) - 1;

    /// Returns the tick `millis` after the start; stays at the highest.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > Self::MAX { Self::MAX } else { millis })
    }

    /// Returns the milliseconds since the start.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the milliseconds since `earlier`; 0 if it is not earlier.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<peers_core::Tick> for Tick {
    fn from(tick: peers_core::Tick) -> Self {
        Self::from_millis(tick.as_nanos() / NANOS_A_MILLI)
    }
}

const NANOS_A_MILLI: u64 = 1_000_000;

/// A time for people, in steps of 100 ns since 1970: the finest that readers of the API know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(NonZeroU64);

const NANOS_A_STEP: u32 = 100;

impl WallTime {
    /// The first step after the beginning of 1970; nothing is earlier.
    pub const MIN: Self = Self(NonZeroU64::MIN);

    pub(crate) const STEPS_A_SECOND: u64 = 10_000_000;

    /// Returns the steps of 100 ns since the beginning of 1970, never 0.
    #[must_use]
    pub const fn steps(self) -> u64 {
        self.0.get()
    }

    /// Returns the whole seconds since the beginning of 1970, and the steps since then.
    pub(crate) const fn second_and_steps(self) -> (u64, u64) {
        (self.steps() / Self::STEPS_A_SECOND, self.steps() % Self::STEPS_A_SECOND)
    }

    pub(crate) const fn from_steps(steps: u64) -> Option<Self> {
        match NonZeroU64::new(steps) {
            Some(steps) => Some(Self(steps)),
            None => None,
        }
    }
}

/// Up to 7 fraction digits, no trailing zeros, `+00:00` and never `Z`.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (second, steps) = self.second_and_steps();
        f.write_str(&date(second))?;
        fraction(steps).try_for_each(|c| f.write_char(char::from(c)))?;
        f.write_str("+00:00")
    }
}

/// Returns a second as it is shown.
pub(crate) fn date(second: u64) -> String {
    // Past the year 9999 there is nothing to write.
    let second = i64::try_from(second).unwrap_or(i64::MAX);
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// Returns steps after a second as they are shown.
pub(crate) fn fraction(steps: u64) -> impl Iterator<Item = u8> {
    const PLACES: [u64; 7] = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
    let digits = PLACES.map(|place| digit(steps / place % 10));
    let shown = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let point = (shown > 0).then_some(b'.');
    point.into_iter().chain(digits.into_iter().take(shown))
}

/// Returns the digit of a number below 10.
#[expect(clippy::cast_possible_truncation, reason = "callers divide")]
pub(crate) const fn digit(number: u64) -> u8 {
    b'0' + number as u8
}

impl From<SystemTime> for WallTime {
    fn from(time: SystemTime) -> Self {
        // Before 1970 the clock is not set: the first step then.
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let steps = since
            .as_secs()
            .saturating_mul(Self::STEPS_A_SECOND)
            .saturating_add(u64::from(since.subsec_nanos() / NANOS_A_STEP));
        Self::from_steps(steps).unwrap_or(Self::MIN)
    }
}

impl From<WallTime> for SystemTime {
    fn from(time: WallTime) -> Self {
        let (second, steps) = time.second_and_steps();
        Self::UNIX_EPOCH + Duration::from_secs(second) + Duration::from_nanos(steps * u64::from(NANOS_A_STEP))
    }
}

/// One moment on both clocks. The host reads its clocks once for a batch of records; nothing here reads any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// For lengths of time.
    pub tick: Tick,
    /// For people.
    pub wall: WallTime,
}

/// Turns what the host's clocks show into moments. One a process: trackers and boards share it by copy.
#[derive(Debug, Clone, Copy)]
pub struct Timeline {
    start: Instant,
}

impl Timeline {
    /// Starts a line at `start`. What comes before it is shown as tick 0.
    #[must_use]
    pub const fn starting(start: Instant) -> Self {
        Self { start }
    }

    /// Returns the moment at which the clocks show `monotonic` and `wall`.
    #[must_use]
    pub fn moment(&self, monotonic: Instant, wall: SystemTime) -> Moment {
        Moment { tick: self.call_tick(monotonic).into(), wall: wall.into() }
    }

    /// Returns the tick that calls to the peers of a [`PeerTable`](peers_core::PeerTable) are timed by, when the clock
    /// shows `monotonic`.
    #[must_use]
    pub fn call_tick(&self, monotonic: Instant) -> peers_core::Tick {
        peers_core::Tick::ZERO.after(monotonic.saturating_duration_since(self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_time_keeps_steps_of_100_ns_and_nothing_before_1970() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_763_565_784, 123_456_789);
        let kept = SystemTime::UNIX_EPOCH + Duration::new(1_763_565_784, 123_456_700);
        assert_eq!(SystemTime::from(WallTime::from(at)), kept);
        assert_eq!(WallTime::from(SystemTime::UNIX_EPOCH), WallTime::MIN);
        assert_eq!(WallTime::from(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), WallTime::MIN);
    }

    #[test]
    fn a_wall_time_is_shown_with_up_to_seven_fraction_digits_without_trailing_zeros() {
        #[track_caller]
        fn check(nanos: u64, text: &str) {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_565_784) + Duration::from_nanos(nanos);
            assert_eq!(WallTime::from(at).to_string(), text);
        }
        check(0, "2025-11-19T15:23:04+00:00");
        check(123_456_789, "2025-11-19T15:23:04.1234567+00:00");
        check(120_000_000, "2025-11-19T15:23:04.12+00:00");
        check(99, "2025-11-19T15:23:04+00:00");
        check(100, "2025-11-19T15:23:04.0000001+00:00");
        assert_eq!(WallTime::MIN.to_string(), "1970-01-01T00:00:00.0000001+00:00");
        assert_eq!(WallTime::from_steps(u64::MAX).map(|time| time.to_string().len()), Some(33));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made out of nothing")]
    fn a_timeline_counts_milliseconds_from_its_start() {
        let start = Instant::now();
        let line = Timeline::starting(start);
        let tick = |at: Instant| line.moment(at, SystemTime::UNIX_EPOCH).tick.as_millis();
        assert_eq!(tick(start + Duration::from_micros(1_234_999)), 1234);
        assert_eq!(start.checked_sub(Duration::from_secs(1)).map(tick), Some(0));
        assert_eq!(Tick::from_millis(u64::MAX).as_millis(), (1 << 40) - 1);
        assert_eq!(Tick::from_millis(3).millis_since(Tick::from_millis(5)), 0);
    }
}
