//! When a breaker opens, and how it closes again.

use std::time::Duration;

use crate::Rails;

/// How breakers of a table behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Hard failures in a row that open it; 0 never, at most 31, default 5. Lower reacts sooner and to less.
    pub consecutive_failures: u8,
    /// Share of failures over ten seconds that opens it, in percent; 0 never, default 50.
    pub failure_percent: u8,
    /// Calls within ten seconds below which the share says nothing; default 20.
    pub min_samples: u32,
    /// How long it stays open the first time; default 1 s. It doubles with each time after.
    pub base_delay: Duration,
    /// Longest time it stays open; default 30 s.
    pub max_delay: Duration,
    /// Whether that time is shortened by chance, so that peers do not come back together; default equal.
    pub jitter: Jitter,
    /// Quiet time after which one doubling is forgotten; default 30 s. Zero forgets all of them on closing.
    pub forget_after: Duration,
    /// Probes at once while half open: 1 to 7, default 1.
    pub half_open_probes: u8,
    /// Probes that must succeed before it closes: 1 to 31, default 2.
    pub half_open_successes: u8,
    /// After this a probe counts as lost and another may go; default 10 s. Stay above the calls' own timeout.
    pub probe_timeout: Duration,
    /// How long a peer that closes again, or has just joined, takes to get its full share; default 10 s, zero none.
    pub slow_start: Duration,
    /// How many peers breakers may keep out.
    pub rails: Rails,
    /// What a lease dropped without a report means; default cancelled.
    pub unreported: Unreported,
}

/// Whether open times are shortened by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// They are exact.
    None,
    /// They are between half and the whole.
    Equal,
}

/// What a lease dropped without a report means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreported {
    /// The caller went away: nothing is learned about the peer.
    Cancelled,
    /// The peer failed.
    Failure,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_percent: 50,
            min_samples: 20,
            base_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
            jitter: Jitter::Equal,
            forget_after: Duration::from_secs(30),
            half_open_probes: 1,
            half_open_successes: 2,
            probe_timeout: Duration::from_secs(10),
            slow_start: Duration::from_secs(10),
            rails: Rails::default(),
            unreported: Unreported::Cancelled,
        }
    }
}

impl BreakerOptions {
    /// Returns the numbers that OmniRelay's configuration has always had: one failure opens it for 100 ms, doubling up
    /// to 5 s; one success closes it; every peer may be out; a lease without a report is a failure.
    #[must_use]
    pub fn parity() -> Self {
        Self {
            consecutive_failures: 1,
            failure_percent: 0,
            base_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(5),
            jitter: Jitter::None,
            forget_after: Duration::ZERO,
            half_open_successes: 1,
            slow_start: Duration::ZERO,
            rails: Rails::OFF,
            unreported: Unreported::Failure,
            ..Self::default()
        }
    }
}
