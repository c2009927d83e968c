//! What a simulated mesh is like.

use std::ops::RangeInclusive;
use std::time::Duration;

use membership::Options;
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::release::Release;

/// What the network does to packets.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Time a packet takes one way.
    pub latency: RangeInclusive<Duration>,
    /// Share of packets lost, each way, 0.0 to 1.0. Streams send again, datagrams do not.
    pub loss: f64,
    /// Share of datagrams that arrive twice, 0.0 to 1.0.
    pub duplication: f64,
    /// Share of packets that are held up and overtaken by later ones, 0.0 to 1.0.
    pub reordering: f64,
    /// How long a packet is held up at most.
    pub held_up: Duration,
}

impl Weather {
    /// Draws the time that one packet takes one way.
    pub(crate) fn one_way(&self, rng: &mut SmallRng) -> Duration {
        let time = rng.random_range(self.latency.clone());
        if rng.random_bool(self.reordering) { time + rng.random_range(Duration::ZERO..=self.held_up) } else { time }
    }
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(100)..=Duration::from_micros(600),
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            held_up: Duration::from_millis(20),
        }
    }
}

/// What a simulated mesh is like. Everything left to chance follows from the seed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many nodes there are.
    pub nodes: usize,
    /// What decides all that is left to chance.
    pub seed: u64,
    /// How every node is tuned.
    pub options: Options,
    /// What the network does to packets at first; [`Mesh::set_weather`](crate::Mesh::set_weather) changes it.
    pub weather: Weather,
    /// Clocks of the nodes are up to this far apart.
    pub clock_skew: Duration,
    /// The nodes start within this time of each other.
    pub start_within: Duration,
    /// How many of the first nodes everybody has as seeds.
    pub seeds: usize,
    /// Which release all nodes are of at first; [`Mesh::set_release`](crate::Mesh::set_release) changes it.
    pub release: Release,
    /// Whether what happened is kept to be read, besides being hashed.
    pub keeps_log: bool,
}

impl Settings {
    /// Loses this share of all packets, 0.0 to 1.0.
    #[must_use]
    pub fn lossy(self, loss: f64) -> Self {
        Self { weather: Weather { loss, ..self.weather }, ..self }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: 3,
            seed: 1,
            options: Options::default(),
            weather: Weather::default(),
            clock_skew: Duration::from_secs(6 * 3600),
            start_within: Duration::from_millis(100),
            seeds: 1,
            release: Release::This,
            keeps_log: true,
        }
    }
}
