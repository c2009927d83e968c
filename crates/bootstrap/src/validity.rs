//! From when to when a certificate is valid.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From when to when a certificate is valid, both ends included, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// How much earlier than `now` a certificate becomes valid: clocks of nodes differ a little.
    pub const BACKDATED_BY: Duration = Duration::from_secs(5 * 60);

    /// Last second of the year 9999, which X.509 takes for "no end" (RFC 5280 §4.1.2.5).
    pub(crate) const LAST_SECOND: u64 = 253_402_300_799;

    /// Returns the validity from five minutes before `now` until `lifetime` after it; the end of the year
    /// 9999 is the latest there is.
    #[must_use]
    pub fn starting(now: SystemTime, lifetime: Duration) -> Self {
        let latest = UNIX_EPOCH + Duration::from_secs(Self::LAST_SECOND);
        Self {
            not_before: now.checked_sub(Self::BACKDATED_BY).unwrap_or(now),
            not_after: now.checked_add(lifetime).map_or(latest, |end| end.min(latest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validity_starts_five_minutes_early_and_ends_within_the_year_9999() {
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        let an_hour = Validity { not_before: at(700), not_after: at(4600) };
        assert_eq!(Validity::starting(at(1000), Duration::from_secs(3600)), an_hour);
        let for_ever = Validity { not_before: at(700), not_after: at(253_402_300_799) };
        assert_eq!(Validity::starting(at(1000), Duration::MAX), for_ever);
    }
}
