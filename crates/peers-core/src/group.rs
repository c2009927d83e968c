//! The peers that a chooser chooses among.

use std::sync::Arc;

use mesh_types::NodeId;

use crate::breaker::{Admission, Pass};
use crate::candidates::{Candidate, Candidates};
use crate::entropy::mix;
use crate::lease::{PeerKey, PeerLease};
use crate::shared::Shared;
use crate::{Entropy, Peer, Tick, Unreported};

/// What a pick is for.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickCx<'a> {
    /// When the pick is made.
    pub now: Tick,
    /// Hash of what the call is about, for [`ConsistentHash`](crate::ConsistentHash): see [`hash_key`](crate::hash_key).
    pub key: Option<u64>,
    /// Shard of the call, for [`ShardAware`](crate::ShardAware).
    pub shard: Option<&'a str>,
    /// Peers not to choose, because the call has been there.
    pub exclude: &'a [PeerKey],
    /// When the caller stops waiting for a peer.
    pub deadline: Option<Tick>,
}

impl PickCx<'_> {
    /// Returns the context of a pick at `now` of which nothing else is known.
    #[must_use]
    pub fn at(now: Tick) -> Self {
        Self { now, ..Self::default() }
    }
}

/// What a group asks of its peers beside being usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    Nothing,
    Http3,
}

/// Peers that are equally welcome, by ascending id, and what their chooser has prepared for them.
#[derive(Debug)]
pub struct Group {
    pub(crate) candidates: Candidates,
    pub(crate) arrangement: Box<[u32]>,
    pub(crate) demand: Demand,
    /// Copies of what every pick asks of the options.
    pub(crate) max_pending: u32,
    /// The same where nothing else is asked of a peer, else 0: below it, a peer can be had without a question.
    pub(crate) quick_max: u32,
    pub(crate) unreported: Unreported,
    pub(crate) shared: Arc<Shared>,
}

/// What asking every peer of a group has shown.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Some peer has as much as it may have.
    pub(crate) busy: bool,
    /// When the first breaker lets a call through.
    pub(crate) retry_at: Option<Tick>,
    /// Some peer is kept away by an operator.
    pub(crate) isolated: bool,
}

/// What came of asking for one peer.
#[derive(Debug)]
pub(crate) enum Asked {
    Leased(PeerLease, Panic),
    Refused,
}

/// Whether a breaker was overruled because too many are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Panic {
    No,
    Yes,
}

impl Group {
    /// Returns how many peers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the peer at `index`.
    #[must_use]
    pub fn peer(&self, index: usize) -> Option<&Peer> {
        self.candidates.peer(index).map(|peer| &**peer)
    }

    /// Returns where the peer `id` is.
    #[must_use]
    pub fn position(&self, id: &NodeId) -> Option<usize> {
        self.candidates.position(id)
    }

    /// Returns what [`Chooser::arrange`](crate::Chooser::arrange) made of these peers.
    #[must_use]
    pub const fn arrangement(&self) -> &[u32] {
        &self.arrangement
    }

    /// Returns the leases pending on the peer at `index`, or `None` if it is not to be chosen for `cx`: its breaker is
    /// open, it is busy, it was tried before. A peer that starts slowly is usable now and then.
    #[inline(always)]
    pub fn pending(&self, index: usize, cx: &PickCx<'_>, entropy: &mut Entropy) -> Option<u32> {
        let cell = self.candidates.cell(index)?;
        let pending = cell.usage().pending;
        let takes_calls = cell.breaker.quick_pass().is_some();
        if takes_calls && pending < self.quick_max && cx.exclude.is_empty() {
            return Some(pending);
        }
        entropy.lend(|entropy| self.is_usable(index, &{ *cx }, entropy)).then_some(pending)
    }

    /// Returns the expected cost of one more lease on the peer at `index` that has `pending`: its latency estimate, in
    /// nanoseconds, times the leases it would have, over its weight.
    #[inline(always)]
    #[must_use]
    pub fn cost(&self, index: usize, pending: u32, now: Tick) -> f32 {
        let Some(cell) = self.candidates.cell(index) else { return f32::INFINITY };
        // Before the first sample of all every peer counts the same.
        let estimate = cell.estimator.read(now, self.shared.mean.read()).max(1.0);
        estimate * (pending as f32 + 1.0) * self.candidates.burden(index)
    }

    /// Returns the factor of the load of the peer at `index`: the usual weight over its own; infinite for weight 0.
    pub(crate) fn burden(&self, index: usize) -> f32 {
        self.candidates.burden(index)
    }

    #[cold]
    fn is_usable(&self, index: usize, cx: &PickCx<'_>, entropy: &mut Entropy) -> bool {
        let Some(candidate) = self.candidates.get(index) else { return false };
        let cell = candidate.cell;
        if !self.may_ask(candidate, cx) || cell.usage().pending >= self.max_pending {
            return false;
        }
        let admits = cell.breaker.would_admit(cx.now, &self.shared.options.breaker);
        let share = cell.share(cx.now);
        (admits || self.panics_for(candidate)) && (share >= 1.0 || entropy.happens(share))
    }

    fn may_ask(&self, candidate: Candidate<'_>, cx: &PickCx<'_>) -> bool {
        let speaks = self.demand == Demand::Nothing || candidate.cell.http3(candidate.peer.http3, cx.now);
        speaks && !cx.exclude.contains(&candidate.cell.key)
    }

    fn panics_for(&self, candidate: Candidate<'_>) -> bool {
        let isolated = candidate.cell.breaker.state() == crate::BreakerState::Isolated;
        !isolated && self.shared.census.panics(&self.shared.options.breaker.rails)
    }

    /// Leases the peer at `index`, which was found usable a moment ago, if its breaker has nothing to ask.
    #[inline(always)]
    pub(crate) fn lease_quickly(&self, index: usize, cx: &PickCx<'_>) -> Option<PeerLease> {
        let cell = self.candidates.cell(index)?;
        let pass = cell.breaker.quick_pass()?;
        Some(PeerLease::new(cell.lease()?, cx.now, pass, self.unreported))
    }

    /// Leases the peer at `index`, which was found usable a moment ago, through its breaker.
    #[cold]
    pub(crate) fn lease(&self, index: usize, cx: &PickCx<'_>) -> Asked {
        let Some(candidate) = self.candidates.get(index) else { return Asked::Refused };
        self.lease_through_breaker(candidate, cx, &mut Refusals::default())
    }

    /// Asks every peer, from a random one on, whatever its share; what is in the way is added to `refusals`.
    #[cold]
    pub(crate) fn lease_any(&self, cx: &PickCx<'_>, entropy: &mut Entropy, refusals: &mut Refusals) -> Asked {
        let start = entropy.below(self.len());
        let from_start = self.candidates.iter().skip(start).chain(self.candidates.iter().take(start));
        for candidate in from_start.filter(|candidate| candidate.peer.weight > 0) {
            let full = candidate.cell.usage().pending >= self.max_pending;
            let wants_peace = candidate.cell.share(cx.now) == 0.0;
            if !self.may_ask(candidate, cx) || full || wants_peace {
                refusals.busy = true;
                continue;
            }
            if let Asked::Leased(lease, panic) = self.lease_through_breaker(candidate, cx, refusals) {
                return Asked::Leased(lease, panic);
            }
        }
        Asked::Refused
    }

    #[cold]
    fn lease_through_breaker(&self, candidate: Candidate<'_>, cx: &PickCx<'_>, refusals: &mut Refusals) -> Asked {
        match candidate.cell.breaker.admit(cx.now, &self.shared.options.breaker) {
            Admission::Granted { pass, transition } => {
                if let Some(transition) = transition {
                    candidate.cell.count(transition);
                }
                self.hold(candidate, cx, pass, Panic::No)
            }
            Admission::Refused { .. } if self.panics_for(candidate) => {
                self.hold(candidate, cx, candidate.cell.breaker.observer(), Panic::Yes)
            }
            Admission::Refused { retry_at } => {
                let earlier = |known: Tick| retry_at.map_or(known, |at| known.min(at));
                refusals.isolated |= retry_at.is_none();
                refusals.retry_at = refusals.retry_at.map(earlier).or(retry_at);
                Asked::Refused
            }
        }
    }

    #[inline]
    fn hold(&self, candidate: Candidate<'_>, cx: &PickCx<'_>, pass: Pass, panic: Panic) -> Asked {
        if let Some(hold) = candidate.cell.lease() {
            Asked::Leased(PeerLease::new(hold, cx.now, pass, self.unreported), panic)
        } else {
            candidate.cell.breaker.cancel(pass);
            Asked::Refused
        }
    }
}

/// Returns a hash of a peer's name that is the same on every node.
pub(crate) fn name_hash(name: &str) -> u64 {
    mix(crate::hash_key(name.as_bytes()))
}
