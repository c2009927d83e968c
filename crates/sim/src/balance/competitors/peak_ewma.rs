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
