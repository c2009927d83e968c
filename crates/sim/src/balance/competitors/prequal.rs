//! Prequal: probes kept in a pool, and the hot-cold rule over them.

use std::collections::VecDeque;

use peers_core::ServerLoad;

use crate::balance::chance::Chance;
use crate::balance::policy::{Choice, Outcome, Policy, Probe};

/// Probe replies kept.
const POOL_MAX: usize = 16;
/// With fewer, a server is chosen at random.
const POOL_MIN: usize = 2;
/// Probes for each call.
const PROBES: usize = 3;
/// Replies thrown away for each call, besides the one used up.
const REMOVED: f64 = 1.0;
/// Quantile of requests in flight above which a server is hot.
const HOT_QUANTILE: f64 = 0.84;
/// A reply older than this is worth nothing.
const AGE_MAX_NS: u64 = 1_000_000_000;
/// How much faster the pool fills than it empties.
const SURPLUS: f64 = 1.0;
/// Replies that the quantile is taken over.
const HISTORY: usize = 128;
const RIF_MAX: usize = 255;

/// Prequal as its paper describes it (Wydrowski et al., NSDI'24, §4): asynchronous probes, each used a few times,
/// hot-cold lexicographic choice, and one reply removed for each call, the oldest and the worst by turns.
#[derive(Debug)]
pub(crate) struct Prequal {
    chance: Chance,
    peers: usize,
    uses: f64,
    /// Oldest first.
    pool: VecDeque<Kept>,
    history: VecDeque<usize>,
    counts: Vec<usize>,
    removes_worst: bool,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    peer: usize,
    load: ServerLoad,
    since_ns: u64,
    uses_left: u32,
}

impl Prequal {
    pub(crate) fn new(peers: usize, chance: Chance) -> Self {
        let filled = (1.0 - POOL_MAX as f64 / peers as f64) * PROBES as f64 - REMOVED;
        // The paper's b_reuse, equation (1).
        let uses = if filled > 0.0 { ((1.0 + SURPLUS) / filled).max(1.0) } else { 1.0 };
        Self {
            chance,
            peers,
            uses,
            pool: VecDeque::with_capacity(POOL_MAX + 1),
            history: VecDeque::with_capacity(HISTORY + 1),
            counts: vec![0; RIF_MAX + 1],
            removes_worst: false,
        }
    }

    /// Returns the number of requests in flight above which a server is hot.
    fn hot_above(&self) -> u32 {
        let mut left = HOT_QUANTILE * self.history.len() as f64;
        let limit = self.counts.iter().position(|count| {
            left -= *count as f64;
            left <= 0.0
        });
        limit.map_or(u32::MAX, |limit| u32::try_from(limit).unwrap_or(u32::MAX))
    }

    /// Returns how good a server is; the lowest is the best. Cold before hot; cold by latency, hot by requests.
    fn rank(kept: &Kept, hot_above: u32) -> (bool, u128) {
        let ServerLoad { in_flight, latency } = kept.load;
        let is_hot = in_flight > hot_above;
        (is_hot, if is_hot { in_flight.into() } else { latency.map_or(0, |latency| latency.as_nanos()) })
    }

    fn expire(&mut self, now_ns: u64) {
        while self.pool.front().is_some_and(|kept| kept.since_ns + AGE_MAX_NS < now_ns) {
            self.pool.pop_front();
        }
    }

    fn use_best(&mut self, hot_above: u32) -> Option<usize> {
        let ranks = self.pool.iter().enumerate().map(|(place, kept)| (Self::rank(kept, hot_above), place));
        let (_, place) = ranks.min()?;
        let kept = self.pool.get_mut(place)?;
        kept.load.in_flight += 1;
        kept.uses_left -= 1;
        let (peer, is_used_up) = (kept.peer, kept.uses_left == 0);
        if is_used_up {
            self.pool.remove(place);
        }
        Some(peer)
    }

    fn remove_one(&mut self, hot_above: u32) {
        let ranks = self.pool.iter().enumerate().map(|(place, kept)| (Self::rank(kept, hot_above), place));
        if self.removes_worst
            && let Some((_, place)) = ranks.max()
        {
            self.pool.remove(place);
        } else {
            self.pool.pop_front();
        }
        self.removes_worst = !self.removes_worst;
    }

    fn remember(&mut self, rif: u32) {
        let rif = (rif as usize).min(RIF_MAX);
        self.counts[rif] += 1;
        self.history.push_back(rif);
        if self.history.len() > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.counts[oldest] -= 1;
        }
    }
}

impl Policy for Prequal {
    fn choose(&mut self, now_ns: u64) -> Option<Choice> {
        self.expire(now_ns);
        let hot_above = self.hot_above();
        let best = if self.pool.len() < POOL_MIN { None } else { self.use_best(hot_above) };
        let peer = best.unwrap_or_else(|| self.chance.below(self.peers));
        if self.pool.len() > POOL_MIN {
            self.remove_one(hot_above);
        }
        Some(Choice { peer, ticket: 0 })
    }

    fn done(&mut self, _: u64, _: Choice, _: u64, _: Outcome) {}

    fn probes(&mut self, wanted: &mut Vec<Probe>) {
        while wanted.len() < PROBES.min(self.peers) {
            let probe = Probe { peer: self.chance.below(self.peers), ticket: 0 };
            if !wanted.contains(&probe) {
                wanted.push(probe);
            }
        }
    }

    fn probed(&mut self, now_ns: u64, probe: Probe, load: ServerLoad) {
        self.remember(load.in_flight);
        // A part of a use is a use by chance.
        let extra = u32::from(self.chance.unit() <= self.uses.fract());
        let uses_left = extra + if self.uses >= 2.0 { 2 } else { 1 };
        self.pool.push_back(Kept { peer: probe.peer, load, since_ns: now_ns, uses_left });
        if self.pool.len() > POOL_MAX {
            self.pool.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// Fills the pool with these replies, in requests in flight and milliseconds, and returns who is chosen at `at_ns`.
    fn chosen(replies: &[(u32, u64)], at_ns: u64) -> usize {
        let mut policy = Prequal::new(1_000_000, Chance::new(7, 0));
        for ((rif, latency_ms), peer) in replies.iter().zip(0..) {
            let load = ServerLoad { in_flight: *rif, latency: Some(Duration::from_millis(*latency_ms)) };
            policy.probed(0, Probe { peer, ticket: 0 }, load);
        }
        policy.choose(at_ns).expect("there are peers").peer
    }

    #[test]
    fn the_fastest_of_the_cold_is_chosen_and_the_least_loaded_when_all_are_hot() {
        let cold = [(5, 30), (5, 20), (5, 40), (5, 50), (5, 60), (5, 70), (50, 1)];
        assert_eq!(chosen(&cold, 0), 1, "the last is faster, but hot");
        assert_eq!(chosen(&[(3, 30), (3, 20)], SECOND_NS), 1);
    }

    #[test]
    fn old_replies_and_a_nearly_empty_pool_are_not_believed() {
        assert!(chosen(&[(3, 30), (3, 20)], SECOND_NS + 1) > 1);
        assert!(chosen(&[(3, 30)], 0) > 0);
    }
}
