//! Circuit breakers as a provider of health.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_types::NodeId;
use peers_core::{BreakerState, Fleet, PeerHandle};

use crate::evidence::{Source, Verdict, Verdicts};
use crate::lease::PeerFacts;
use crate::provider::{HealthProvider, HealthRecord};
use crate::time::{Moment, Tick};

/// Says of the peers of a fleet what their breakers do, read when somebody asks.
///
/// A peer whose breakers are closed is not spoken of: that nothing was held against it says little. It is down if one is
/// isolated, or open because calls do not reach it. Else one that is open or half open makes it degraded: it may serve others
/// well. An open breaker whose time is over stays open until somebody wants to call, so it counts for a while only: a peer
/// that nobody calls would be down for ever.
#[derive(Debug)]
pub struct BreakerProvider {
    fleet: Fleet,
    lifetime_ms: u64,
    /// The peers of which a breaker was not closed at the last look.
    seen: Mutex<BTreeMap<NodeId, Seen>>,
}

/// The breakers of one peer that are not closed, taken together.
#[derive(Debug)]
struct Seen {
    facts: Arc<PeerFacts>,
    word: Word,
    /// When they were first seen like that.
    since: Tick,
}

/// What breakers of one peer say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Word {
    is_isolated: bool,
    is_out_of_reach: bool,
    /// How often they have changed.
    changes: u64,
}

impl BreakerProvider {
    /// Makes a provider for the breakers of `fleet`. That one is open, or half open, counts for `lifetime` from when it was
    /// first seen after its last change; see [`Freshness::breaker`](crate::Freshness::breaker).
    #[must_use]
    pub fn new(fleet: Fleet, lifetime: Duration) -> Self {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        Self { fleet, lifetime_ms, seen: Mutex::default() }
    }

    fn words(&self) -> BTreeMap<NodeId, Word> {
        let mut words = BTreeMap::<NodeId, Word>::new();
        self.fleet.visit_out(&mut |peer| {
            let state = peer.breaker();
            // It may have closed since.
            if state != BreakerState::Closed {
                words.entry(peer.id().clone()).or_default().add(&peer, state);
            }
        });
        words
    }
}

impl HealthProvider for BreakerProvider {
    fn id(&self) -> &str {
        "breakers"
    }

    fn visit(&self, now: Moment, visit: &mut dyn FnMut(HealthRecord<'_>)) {
        let words = self.words();
        // A visitor that panics leaves each peer as it was last seen.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|peer, _seen| words.contains_key(peer));
        for (peer, word) in words {
            let seen = match seen.entry(peer) {
                Entry::Occupied(entry) => entry.into_mut().look(word, now.tick),
                Entry::Vacant(entry) => {
                    let facts = Arc::new(PeerFacts::new(entry.key().clone()));
                    entry.insert(Seen { facts, word, since: now.tick })
                }
            };
            let verdicts = seen.verdicts(now.tick, self.lifetime_ms);
            visit(HealthRecord { facts: &seen.facts, verdicts, last_heartbeat: None, last_disconnect: None });
        }
    }
}

impl Seen {
    fn look(&mut self, word: Word, now: Tick) -> &mut Self {
        if self.word != word {
            (self.word, self.since) = (word, now);
        }
        self
    }

    fn verdicts(&self, now: Tick, lifetime_ms: u64) -> Verdicts {
        let none = Verdicts::default();
        if self.word.is_isolated {
            none.with(Source::Breaker, Verdict::Down)
        } else if now.millis_since(self.since) > lifetime_ms {
            none.with_stale(Source::Breaker)
        } else if self.word.is_out_of_reach {
            none.with(Source::Breaker, Verdict::Down)
        } else {
            none.with(Source::Breaker, Verdict::Degraded)
        }
    }
}

impl Word {
    fn add(&mut self, peer: &PeerHandle, state: BreakerState) {
        self.is_isolated |= state == BreakerState::Isolated;
        self.is_out_of_reach |= state == BreakerState::Open && peer.is_out_of_reach();
        self.changes += peer.breaker_changes();
    }
}
