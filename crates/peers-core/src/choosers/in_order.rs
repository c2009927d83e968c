//! Choosers that look at no load.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::entropy::mix;
use crate::group::name_hash;
use crate::{Chooser, Entropy, Group, Peer, PickCx, Refusal};

/// Any peer, all with the same chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

impl Chooser for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    #[inline]
    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        let index = entropy.below(group.len());
        group.pending(index, cx, entropy).map(|_| index).ok_or(Refusal::Unlucky)
    }
}

/// One peer after the other, in the order of their ids. All threads take turns on one counter.
#[derive(Debug, Default)]
pub struct RoundRobin {
    turn: AtomicUsize,
}

impl Chooser for RoundRobin {
    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        // A peer out of turn is passed over: the next one takes the call, and the turn after it is the next.
        for _ in 0..group.len() {
            let index = self.turn.fetch_add(1, Ordering::Relaxed) % group.len();
            if group.pending(index, cx, entropy).is_some() {
                return Ok(index);
            }
        }
        Err(Refusal::Unlucky)
    }
}

/// The first usable peer of an order that each caller draws for itself, and the same one as long as it is usable.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickFirst {
    seed: u64,
}

impl PickFirst {
    /// Makes the chooser whose order is drawn from `seed`, which differs from caller to caller.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Chooser for PickFirst {
    fn name(&self) -> &'static str {
        "pick-first"
    }

    fn arrange(&self, peers: &[&Peer]) -> Box<[u32]> {
        let rank = |peer: &Peer| mix(name_hash(peer.id.as_str()) ^ mix(self.seed));
        let mut order: Vec<(u64, u32)> = peers.iter().map(|peer| rank(peer)).zip(0..).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, index)| index).collect()
    }

    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        let mut order = group.arrangement().iter().map(|index| *index as usize);
        order.find(|index| group.pending(*index, cx, entropy).is_some()).ok_or(Refusal::Unlucky)
    }
}
