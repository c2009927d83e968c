//! tower's balancer: two random choices by Peak-EWMA cost.

use crate::balance::chance::Chance;
use crate::balance::policy::{Choice, Outcome, Policy};

/// What a peer is taken for before its first answer; linkerd's default.
const DEFAULT_RTT_NS: f64 = 30e6;

/// `tower::balance::p2c` over `tower::load::PeakEwma` (0.5.3): of two random peers the one with the lower cost, that is
/// estimate × (pending + 1). A slower answer replaces the estimate, and every read decays it towards zero *and*
/// dates it anew, as tower does.
#[derive(Debug)]
pub(crate) struct PeakEwma {
    chance: Chance,
    decay_ns: f64,
    peers: Vec<Estimate>,
}

#[derive(Debug, Clone)]
struct Estimate {
    rtt_ns: f64,
    updated_ns: u64,
    pending: u32,
}

impl PeakEwma {
    pub(crate) fn new(peers: usize, decay_ns: f64, chance: Chance) -> Self {
        Self { chance, decay_ns, peers: vec![Estimate { rtt_ns: DEFAULT_RTT_NS, updated_ns: 0, pending: 0 }; peers] }
    }

    fn cost(&mut self, peer: usize, now_ns: u64) -> f64 {
        let decay_ns = self.decay_ns;
        let estimate = &mut self.peers[peer];
        estimate.update(now_ns, 0.0, decay_ns);
        estimate.rtt_ns * f64::from(estimate.pending + 1)
    }
}

impl Estimate {
    fn update(&mut self, now_ns: u64, rtt_ns: f64, decay_ns: f64) {
        self.rtt_ns = if self.rtt_ns < rtt_ns {
            rtt_ns
        } else {
            let decay = (-((now_ns - self.updated_ns) as f64) / decay_ns).exp();
            self.rtt_ns * decay + rtt_ns * (1.0 - decay)
        };
        self.updated_ns = now_ns;
    }
}

impl Policy for PeakEwma {
    fn choose(&mut self, now_ns: u64) -> Option<Choice> {
        let (first, second) = self.chance.two_below(self.peers.len());
        let peer = if self.cost(first, now_ns) <= self.cost(second, now_ns) { first } else { second };
        self.peers[peer].pending += 1;
        Some(Choice { peer, ticket: 0 })
    }

    fn done(&mut self, now_ns: u64, choice: Choice, rtt_ns: u64, _: Outcome) {
        let estimate = &mut self.peers[choice.peer];
        estimate.pending -= 1;
        estimate.update(now_ns, rtt_ns as f64, self.decay_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI_NS: u64 = 1_000_000;

    /// Lets one of two peers answer after `rtt_ms` at 1 s, and returns how many of 100 calls at `at_ms` go to it.
    fn calls_to_the_one_that_took(rtt_ms: u64, at_ms: u64) -> usize {
        let mut policy = PeakEwma::new(2, 1e9, Chance::new(7, 0));
        policy.peers[0].pending = 1;
        policy.done(1_000 * MILLI_NS, Choice { peer: 0, ticket: 0 }, rtt_ms * MILLI_NS, Outcome::Ok);
        let mut calls = 0;
        for _ in 0..100 {
            let choice = policy.choose(at_ms * MILLI_NS).expect("there are two peers");
            calls += usize::from(choice.peer == 0);
        }
        calls
    }

    #[test]
    fn a_slower_answer_counts_at_once_and_is_forgotten_by_reading() {
        // The other peer stands at 30 ms · e^-1 = 11 ms, so a peer at 1.1 s gets a hundredth of its calls.
        assert!(calls_to_the_one_that_took(1_100, 1_000) <= 2);
        // Both decay alike, so the ratio stays however long nobody answers.
        assert!(calls_to_the_one_that_took(1_100, 9_000) <= 2);
        // A faster answer counts by the time since the last: 30 ms · e^-1 + 11 ms · (1 - e^-1) = 18 ms.
        assert!(calls_to_the_one_that_took(11, 1_000).abs_diff(38) <= 2);
    }
}
