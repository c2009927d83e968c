//! The one place that reads clocks, and how a time is written.

use std::time::{Instant, SystemTime};

use jiff::Timestamp;
use peer_health::WallTime;

/// One moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For people.
    pub(crate) wall: Timestamp,
    /// For lengths of time.
    pub(crate) monotonic: Instant,
}

impl Now {
    #[expect(clippy::disallowed_methods, reason = "the edge: an answer says when it was made")]
    pub(crate) fn read() -> Self {
        Self { wall: Timestamp::now(), monotonic: Instant::now() }
    }

    /// Returns what the wall clock shows for `instant`, if it has run evenly since; never later than now.
    pub(crate) fn wall_at(&self, instant: Instant) -> Timestamp {
        let age = self.monotonic.saturating_duration_since(instant);
        // Out of jiff's range means before the year -9999.
        self.wall.checked_sub(age).unwrap_or(Timestamp::MIN)
    }
}

/// Writes a time as contracts §2 has it: up to 7 fraction digits, no trailing zeros, `+00:00` and never `Z`.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    WallTime::from(SystemTime::from(time)).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_has_up_to_seven_fraction_digits_without_trailing_zeros() {
        let written = |nanos: i128| Timestamp::from_nanosecond(nanos).map(rfc3339).map_err(|error| error.to_string());
        let noon = 1_763_565_784_000_000_000;
        let check = |nanos: i128, text: &str| assert_eq!(written(noon + nanos), Ok(text.to_owned()));
        check(0, "2025-11-19T15:23:04+00:00");
        check(123_456_789, "2025-11-19T15:23:04.1234567+00:00");
        check(120_000_000, "2025-11-19T15:23:04.12+00:00");
        check(99, "2025-11-19T15:23:04+00:00");
        check(100, "2025-11-19T15:23:04.0000001+00:00");
        check(-1, "2025-11-19T15:23:03.9999999+00:00");
    }

    #[test]
    fn an_instant_is_shown_on_the_wall_clock_of_now() {
        let now = Now::read();
        let earlier = now.monotonic.checked_sub(Duration::from_millis(1500));
        assert_eq!(earlier.map(|at| (now.wall - now.wall_at(at)).total(jiff::Unit::Second).ok()), Some(Some(1.5)));
        assert_eq!(now.wall_at(now.monotonic + Duration::from_secs(1)), now.wall);
    }
}
