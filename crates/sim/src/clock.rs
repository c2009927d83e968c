//! The clock of one node: as far from virtual time as it likes, and as fast or slow as a quartz may be.

use std::time::{Duration, Instant};

const MILLION: u128 = 1_000_000;

/// A clock that runs at a rate of its own, and never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// A moment of virtual time, and what the clock showed then.
    at: Instant,
    shown: Instant,
    /// How much faster than virtual time it is, in millionths.
    ppm: i32,
}

impl Clock {
    pub(crate) fn new(at: Instant, ahead: Duration) -> Self {
        Self { at, shown: at + ahead, ppm: 0 }
    }

    /// Returns what it shows at a moment of virtual time.
    pub(crate) fn shows(&self, at: Instant) -> Instant {
        self.shown + scaled(at.saturating_duration_since(self.at), self.rate(), MILLION)
    }

    /// Returns when it shows this, a nanosecond late at most.
    pub(crate) fn when(&self, shown: Instant) -> Instant {
        let ahead = shown.saturating_duration_since(self.shown);
        self.at + scaled(ahead, MILLION, self.rate()) + Duration::from_nanos(1)
    }

    /// Lets it run at another rate from now on.
    pub(crate) fn set_rate(&mut self, now: Instant, ppm: i32) {
        *self = Self { at: now, shown: self.shows(now), ppm };
    }

    /// Lets it jump ahead.
    pub(crate) fn jump(&mut self, now: Instant, by: Duration) {
        *self = Self { at: now, shown: self.shows(now) + by, ..*self };
    }

    fn rate(&self) -> u128 {
        u128::try_from(1_000_000 + i64::from(self.ppm)).unwrap_or(1).max(1)
    }
}

fn scaled(time: Duration, by: u128, of: u128) -> Duration {
    let nanos = time.as_nanos() * by / of;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_keeps_its_rate_and_what_it_showed_when_it_changes() {
        #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        let begin = Instant::now();
        let secs = Duration::from_secs;
        let mut clock = Clock::new(begin, secs(100));
        clock.set_rate(begin, 200);
        assert_eq!(clock.shows(begin + secs(1_000)) - begin, secs(1_100) + Duration::from_millis(200));
        clock.jump(begin + secs(1_000), secs(10));
        clock.set_rate(begin + secs(1_000), -200);
        let shown = clock.shows(begin + secs(2_000));
        assert_eq!(shown - begin, secs(2_110));
        let when = clock.when(shown);
        assert!(when >= begin + secs(2_000) && when < begin + secs(2_000) + Duration::from_nanos(10));
        assert!(clock.shows(when) >= shown);
    }
}
