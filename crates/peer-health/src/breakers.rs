//! Circuit breakers as a provider of health.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peers_core::{BreakerState, Peer, PeerHandle, PeerTable};

use crate::evidence::{Source, Verdict, Verdicts};
use crate::lease::PeerFacts;
use crate::provider::{HealthProvider, HealthRecord};
use crate::time::{Moment, Tick};

/// Says of the peers of a table what their breakers do, read when somebody asks.
///
/// A peer whose breaker is closed is not spoken of: that nothing was held against it says little. One that is half
/// open is degraded; one that is open or isolated is down. An open breaker whose time is over stays open until
/// somebody wants to call, so it counts for a while only: a peer that nobody calls would be down for ever.
#[derive(Debug)]
pub struct BreakerProvider {
    table: Arc<PeerTable>,
    lifetime_ms: u64,
    watched: Mutex<Watched>,
}

/// The peers of a table of some version, ascending.
#[derive(Debug, Default)]
struct Watched {
    version: Option<u64>,
    peers: Vec<Breaker>,
}

#[derive(Debug)]
struct Breaker {
    peer: Arc<Peer>,
    handle: PeerHandle,
    facts: Arc<PeerFacts>,
    state: BreakerState,
    /// When it was first seen like that.
    since: Tick,
}

impl BreakerProvider {
    /// Makes a provider for the breakers of `table`. That one is open, or half open, counts for `lifetime` from when it
    /// was first seen; see [`Freshness::breaker`](crate::Freshness::breaker).
    #[must_use]
    pub fn new(table: Arc<PeerTable>, lifetime: Duration) -> Self {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        Self { table, lifetime_ms, watched: Mutex::default() }
    }
}

impl HealthProvider for BreakerProvider {
    fn id(&self) -> &str {
        "breakers"
    }

    fn visit(&self, now: Moment, visit: &mut dyn FnMut(HealthRecord<'_>)) {
        // A visitor that panics leaves each breaker as it was last seen.
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.follow(&self.table, now.tick);
        for breaker in &mut watched.peers {
            breaker.look(now.tick);
            let is_fresh = now.tick.millis_since(breaker.since) <= self.lifetime_ms;
            let none = Verdicts::default();
            let verdicts = match breaker.state {
                BreakerState::Closed => continue,
                BreakerState::Open | BreakerState::HalfOpen if !is_fresh => none.with_stale(Source::Breaker),
                BreakerState::Open | BreakerState::Isolated => none.with(Source::Breaker, Verdict::Down),
                BreakerState::HalfOpen => none.with(Source::Breaker, Verdict::Degraded),
            };
            visit(HealthRecord { facts: &breaker.facts, verdicts, last_heartbeat: None, last_disconnect: None });
        }
    }
}

impl Watched {
    /// Takes in who came to `table` and who went.
    fn follow(&mut self, table: &PeerTable, now: Tick) {
        let version = table.version();
        if self.version == Some(version) {
            return;
        }
        let mut known = mem::take(&mut self.peers).into_iter().peekable();
        for peer in table.peers() {
            while known.next_if(|breaker| breaker.peer.id < peer.id).is_some() {}
            let breaker = match known.next_if(|breaker| breaker.peer.id == peer.id) {
                Some(same) if Arc::ptr_eq(&same.peer, &peer) => Some(same),
                earlier => Breaker::find(table, peer, earlier, now),
            };
            // A peer that is gone by now is seen to be so with the next version.
            self.peers.extend(breaker);
        }
        self.version = Some(version);
    }
}

impl Breaker {
    /// Finds the breaker of `peer`; it may be the same as `earlier`.
    fn find(table: &PeerTable, peer: Arc<Peer>, earlier: Option<Self>, now: Tick) -> Option<Self> {
        let handle = table.handle(&peer.id)?;
        let facts = Arc::new(PeerFacts::new(peer.id.clone()));
        let new = Self { state: handle.breaker(), since: now, facts, handle, peer };
        Some(match earlier.filter(|earlier| earlier.handle.key() == new.handle.key()) {
            Some(earlier) => Self { peer: new.peer, ..earlier },
            None => new,
        })
    }

    fn look(&mut self, now: Tick) {
        let state = self.handle.breaker();
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }
}
