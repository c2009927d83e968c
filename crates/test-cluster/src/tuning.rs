//! How fast the nodes of a test gossip.

use std::time::Duration;

/// How fast the nodes of a cluster gossip; everything else is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Time between two probes of a node.
    pub interval: Duration,
    /// Time in which a silent member is judged. Shorter makes a test faster, and a busy machine more likely to fail it.
    pub suspicion_interval: Duration,
    /// Longest wait for an answer.
    pub ping_timeout: Duration,
}

impl Tuning {
    /// Probes every 100 ms and judges within 1 s: for tests that wait for a death.
    #[must_use]
    pub const fn fast() -> Self {
        Self {
            interval: Duration::from_millis(100),
            suspicion_interval: Duration::from_secs(1),
            ping_timeout: Duration::from_millis(500),
        }
    }
}

impl Default for Tuning {
    /// What a node does out of the box: probes every second and judges within 5 s.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            suspicion_interval: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(2),
        }
    }
}
