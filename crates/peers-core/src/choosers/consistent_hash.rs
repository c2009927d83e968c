//! The same peer for the same key, as long as it is not overloaded.

use twox_hash::XxHash64;

use crate::entropy::mix;
use crate::group::name_hash;
use crate::{Chooser, Entropy, Group, Peer, PickCx, Refusal};

/// Sizes of the table: primes, at least a hundred slots a peer up to 655 peers.
const SIZES: [u32; 5] = [251, 2_039, 8_191, 32_749, 65_537];
const SLOTS_A_PEER: usize = 100;

/// Up to this many peers, the mean of the pending leases is exact; beyond, it is of so many peers from a random one on.
const MEAN_OF: usize = 64;

/// The peer that a key belongs to (Maglev: Eisenbud and others, NSDI 2016), with bounded load (Mirrokni and others,
/// 2018): when it has more than its share of all pending leases, the next one of the table.
///
/// A call without a key goes to any peer. Nodes that know the same peers agree on who a key belongs to.
#[derive(Debug, Clone, Copy)]
pub struct ConsistentHash {
    load_percent: u32,
}

impl Default for ConsistentHash {
    fn default() -> Self {
        Self { load_percent: 125 }
    }
}

impl ConsistentHash {
    /// Makes the chooser that lets a peer have `load_percent` of the mean of pending leases: more than 100; default
    /// 125. More keeps more keys in their place, less evens the load out.
    #[must_use]
    pub fn new(load_percent: u32) -> Self {
        Self { load_percent: load_percent.max(101) }
    }

    /// Returns the most leases that a peer may have after this one.
    fn bound(self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> u64 {
        let looked_at = group.len().min(MEAN_OF);
        let start = if group.len() > MEAN_OF { entropy.below(group.len()) } else { 0 };
        let indexes = (start..start + looked_at).map(|index| index % group.len());
        let pending: u64 = indexes.map(|index| u64::from(group.pending(index, cx, entropy).unwrap_or(0))).sum();
        let all = (pending + 1) * u64::from(self.load_percent);
        all.div_ceil(100 * (looked_at as u64).max(1))
    }
}

impl Chooser for ConsistentHash {
    fn name(&self) -> &'static str {
        "hash"
    }

    fn arrange(&self, peers: &[&Peer]) -> Box<[u32]> {
        let wanted = peers.len() * SLOTS_A_PEER;
        let [.., largest] = SIZES;
        let size = SIZES.into_iter().find(|size| *size as usize >= wanted).unwrap_or(largest);
        maglev(peers, size)
    }

    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        let table = group.arrangement();
        let Some(key) = cx.key else {
            let index = entropy.below(group.len());
            return group.pending(index, cx, entropy).map(|_| index).ok_or(Refusal::Unlucky);
        };
        let bound = self.bound(group, cx, entropy);
        let slot = crate::entropy::scale(mix(key), table.len());
        let (before, from_slot) = table.split_at_checked(slot).unwrap_or_default();
        let owners = from_slot.iter().chain(before).map(|owner| *owner as usize);
        let within =
            |index: &usize| group.pending(*index, cx, entropy).is_some_and(|pending| u64::from(pending) < bound);
        // The peer with the least has at most the mean, so somebody is within the bound if anybody is usable.
        owners.into_iter().find(within).ok_or(Refusal::Unlucky)
    }
}

/// Fills the table: in turns, each peer takes the next free slot of its own permutation (§3.4).
fn maglev(peers: &[&Peer], size: u32) -> Box<[u32]> {
    const FREE: u32 = u32::MAX;
    if peers.is_empty() {
        return Box::default();
    }
    let mut walks: Vec<(u32, u32)> = peers.iter().map(|peer| permutation(name_hash(peer.id.as_str()), size)).collect();
    let mut table = vec![FREE; size as usize];
    let mut filled = 0;
    while filled < size {
        for ((next, skip), owner) in walks.iter_mut().zip(0..) {
            let slot = loop {
                let slot = *next;
                *next = (*next + *skip) % size;
                match table.get_mut(slot as usize) {
                    Some(taken) if *taken != FREE => {}
                    slot => break slot,
                }
            };
            if let Some(slot) = slot {
                *slot = owner;
            }
            filled += 1;
            if filled == size {
                break;
            }
        }
    }
    table.into_boxed_slice()
}

/// Returns where a peer's permutation starts and how far it steps: any step visits all slots, the size being prime.
#[expect(clippy::cast_possible_truncation, reason = "remainders of 32-bit numbers")]
fn permutation(hash: u64, size: u32) -> (u32, u32) {
    let size = u64::from(size);
    ((hash % size) as u32, (mix(hash) % (size - 1) + 1) as u32)
}

/// Returns the hash of a key's bytes: `XxHash64` with seed 0, the same on every node and in every version.
#[must_use]
pub fn hash_key(key: &[u8]) -> u64 {
    XxHash64::oneshot(0, key)
}
