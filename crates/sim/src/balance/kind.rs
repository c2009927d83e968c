//! The policies by name.

use peers_core::{Adaptive, FewestPending, RoundRobin, TwoRandom};

use super::chance::Chance;
use super::competitors::{PeakEwma, Prequal};
use super::ours::{Guards, Ours};
use super::policy::Policy;

/// A way of choosing that the simulator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ours: one after the other.
    RoundRobin,
    /// Ours: the fewest pending of two.
    TwoRandom,
    /// Ours: the fewest pending of all.
    FewestPending,
    /// tower's Peak-EWMA over two random choices, decay 10 s.
    PeakEwma10,
    /// The same, decay 3 s.
    PeakEwma3,
    /// Prequal with three probes a call.
    Prequal,
    /// Ours: the default.
    Adaptive,
    /// The same, without being told of failures.
    AdaptiveUnguarded,
    /// Ours: by the answers to load probes, one a call.
    Probed,
    /// The same with a probe every other call.
    ProbedHalf,
    /// The same with a probe every fourth call.
    ProbedQuarter,
    /// One a call, without being told of failures.
    ProbedUnguarded,
}

impl Kind {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 12] = [
        Self::RoundRobin,
        Self::TwoRandom,
        Self::FewestPending,
        Self::PeakEwma10,
        Self::PeakEwma3,
        Self::Prequal,
        Self::Adaptive,
        Self::AdaptiveUnguarded,
        Self::Probed,
        Self::ProbedHalf,
        Self::ProbedQuarter,
        Self::ProbedUnguarded,
    ];

    /// Those that limits compare.
    pub const LIMITED: [Self; 8] = [
        Self::RoundRobin,
        Self::TwoRandom,
        Self::PeakEwma3,
        Self::Prequal,
        Self::Adaptive,
        Self::AdaptiveUnguarded,
        Self::Probed,
        Self::ProbedUnguarded,
    ];

    /// Returns the name for people and the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::TwoRandom => "two-random",
            Self::FewestPending => "fewest-pending",
            Self::PeakEwma10 => "peak-ewma-10s",
            Self::PeakEwma3 => "peak-ewma-3s",
            Self::Prequal => "prequal",
            Self::Adaptive => "adaptive",
            Self::AdaptiveUnguarded => "adaptive-unguarded",
            Self::Probed => "probed",
            Self::ProbedHalf => "probed-half",
            Self::ProbedQuarter => "probed-quarter",
            Self::ProbedUnguarded => "probed-unguarded",
        }
    }

    /// Returns whether it is what a user gets; one without guards is of interest only where peers fail.
    #[must_use]
    pub const fn is_guarded(self) -> bool {
        !matches!(self, Self::AdaptiveUnguarded | Self::ProbedUnguarded)
    }

    /// Makes the policy of client number `client` for `peers` servers.
    #[must_use]
    pub fn policy(self, peers: usize, seed: u64, client: usize) -> Box<dyn Policy> {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(client as u64);
        let chance = Chance::new(seed, 3);
        match self {
            Self::RoundRobin => Box::new(Ours::new(peers, seed, Guards::On, RoundRobin::default())),
            Self::TwoRandom => Box::new(Ours::new(peers, seed, Guards::On, TwoRandom::default())),
            Self::FewestPending => Box::new(Ours::new(peers, seed, Guards::On, FewestPending)),
            Self::PeakEwma10 => Box::new(PeakEwma::new(peers, 10e9, chance)),
            Self::PeakEwma3 => Box::new(PeakEwma::new(peers, 3e9, chance)),
            Self::Prequal => Box::new(Prequal::new(peers, chance)),
            Self::Adaptive => Box::new(Ours::new(peers, seed, Guards::On, Adaptive)),
            Self::AdaptiveUnguarded => Box::new(Ours::new(peers, seed, Guards::Off, Adaptive)),
            Self::Probed => Box::new(Ours::probing(peers, seed, Guards::On, 100)),
            Self::ProbedHalf => Box::new(Ours::probing(peers, seed, Guards::On, 50)),
            Self::ProbedQuarter => Box::new(Ours::probing(peers, seed, Guards::On, 25)),
            Self::ProbedUnguarded => Box::new(Ours::probing(peers, seed, Guards::Off, 100)),
        }
    }
}
