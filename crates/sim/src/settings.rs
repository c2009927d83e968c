//! What a simulated mesh is like.

use std::ops::RangeInclusive;
use std::time::Duration;

use membership::Options;

/// What a simulated mesh is like. Everything left to chance follows from the seed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many nodes there are.
    pub nodes: usize,
    /// What decides all that is left to chance.
    pub seed: u64,
    /// How every node is tuned.
    pub options: Options,
    /// Time a packet takes one way.
    pub latency: RangeInclusive<Duration>,
    /// Share of packets lost, each way, 0.0 to 1.0. Streams send again, datagrams do not.
    pub loss: f64,
    /// Clocks of the nodes are up to this far apart.
    pub clock_skew: Duration,
    /// The nodes start within this time of each other.
    pub start_within: Duration,
    /// How many of the first nodes everybody has as seeds.
    pub seeds: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: 3,
            seed: 1,
            options: Options::default(),
            latency: Duration::from_micros(100)..=Duration::from_micros(600),
            loss: 0.0,
            clock_skew: Duration::from_secs(6 * 3600),
            start_within: Duration::from_millis(100),
            seeds: 1,
        }
    }
}
