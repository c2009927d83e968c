//! The connections that are open, and whose they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use identity::{Credentials, Side};
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::meter::Meter;
use crate::peer::PeerIdentity;

/// The connections that are open; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    open: Arc<Mutex<Open>>,
    meter: Arc<Meter>,
}

#[derive(Debug, Default)]
struct Open {
    last_id: u64,
    connections: BTreeMap<u64, Entry>,
}

/// One connection that is open.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    peer: PeerIdentity,
    not_after: Option<SystemTime>,
    cut: CancellationToken,
}

impl Entry {
    /// Returns whether the peer's certificate has run out.
    fn is_over(&self, now: SystemTime) -> bool {
        self.not_after.is_some_and(|not_after| not_after < now)
    }

    /// Cuts the connection if its peer would not be let in now; returns whether that is so, the first time.
    pub(crate) fn cut_unless_trusted(&self, credentials: &Credentials, now: SystemTime) -> bool {
        match credentials.recheck(Side::Client, self.peer.chain(), now) {
            Err(refused) if !self.cut.is_cancelled() => {
                audit::cut(&self.peer, &refused);
                self.cut.cancel();
                true
            }
            Ok(_) | Err(_) => false,
        }
    }
}

impl Registry {
    pub(crate) fn new(meter: &Arc<Meter>) -> Self {
        Self { open: Arc::default(), meter: Arc::clone(meter) }
    }

    /// Enters a connection until what this returns is dropped.
    pub(crate) fn enter(&self, peer: PeerIdentity, not_after: Option<SystemTime>) -> Registered {
        let cut = CancellationToken::new();
        self.meter.of(peer.protocol()).connections.increment(1);
        let mut open = self.lock();
        open.last_id += 1;
        let id = open.last_id;
        open.connections.insert(id, Entry { peer: peer.clone(), not_after, cut: cut.clone() });
        Registered { id, peer, cut, registry: self.clone() }
    }

    pub(crate) fn peers(&self) -> Vec<PeerIdentity> {
        self.lock().connections.values().map(|entry| entry.peer.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().connections.len()
    }

    /// Returns all connections, to be looked at one by one: checking signatures takes too long for a lock that each new
    /// connection needs.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().connections.values().cloned().collect()
    }

    /// Returns those whose peer's certificate has run out.
    pub(crate) fn over(&self, now: SystemTime) -> Vec<Entry> {
        self.lock().connections.values().filter(|entry| entry.is_over(now)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection's place in the registry.
#[derive(Debug)]
pub(crate) struct Registered {
    id: u64,
    peer: PeerIdentity,
    cut: CancellationToken,
    registry: Registry,
}

impl Registered {
    pub(crate) const fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    /// Resolves when the peer is no longer acceptable.
    pub(crate) async fn is_cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.lock().connections.remove(&self.id);
        self.registry.meter.of(self.peer.protocol()).connections.decrement(1);
    }
}

/// Returns what the clock on the wall says: certificates have their dates by it.
#[expect(clippy::disallowed_methods, reason = "the edge: what is checked with it takes the time as an argument")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
