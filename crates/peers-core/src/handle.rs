//! A peer by handle.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_types::NodeId;

use crate::cell::{Http3Learned, PeerCell};
use crate::lease::PeerKey;
use crate::published::Kept;
use crate::sync::Ordering;
use crate::{BreakerReason, BreakerState, Outcome, Peer, Tick};

/// A peer for those who call it otherwise than by a lease: what the control plane learns moves the data plane's picks.
///
/// It stays valid when the peer is removed; what it says then moves nothing.
#[derive(Clone)]
pub struct PeerHandle {
    cell: Kept<PeerCell>,
}

impl PeerHandle {
    pub(crate) const fn new(cell: Kept<PeerCell>) -> Self {
        Self { cell }
    }

    /// Returns who it is.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.cell.id
    }

    /// Returns the peer's number.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        self.cell.key
    }

    /// Returns the newest descriptor.
    #[must_use]
    pub fn peer(&self) -> Arc<Peer> {
        self.cell.descriptor.load()
    }

    /// Returns how many leases are pending.
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.cell.usage().pending
    }

    /// Returns how often the peer was picked, modulo 2^40.
    #[must_use]
    pub fn picks(&self) -> u64 {
        self.cell.usage().picks
    }

    /// Returns what the breaker was last moved to. An open one whose time is over moves when it is asked for a call.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.cell.breaker.state()
    }

    /// Returns how often the breaker has changed.
    #[must_use]
    pub fn breaker_changes(&self) -> u64 {
        self.cell.counters.transitions.load(Ordering::Relaxed)
    }

    /// Returns whether the peer is not reached: so many calls in a row, or among other failures, as open a breaker.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        self.cell.is_out_of_reach()
    }

    /// Returns the latency expected of a call at `now`; zero before any call of the table.
    #[must_use]
    pub fn latency(&self, now: Tick) -> Duration {
        Duration::from_secs_f32(self.cell.estimator.read(now, self.cell.shared().mean.read()) / 1e9)
    }

    /// Takes in that a call made without a lease ended at `now` with `outcome`, and took `took`. It moves
    /// the estimate and the breaker as a lease does, but is no probe: it neither closes a breaker nor reopens it.
    pub fn observe(&self, now: Tick, took: Duration, outcome: Outcome) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.cell.observe(now, took_ns, outcome);
    }

    /// Keeps calls away for now, as so many calls that did not reach the peer do.
    pub(crate) fn lose(&self, now: Tick) {
        self.cell.lose(now);
    }

    /// Keeps all calls away until [`PeerHandle::restore`].
    pub fn isolate(&self) {
        self.cell.isolate();
    }

    /// Closes the breaker at `now`, whatever it is.
    pub fn restore(&self, now: Tick) {
        self.cell.reset(now, BreakerReason::Manual);
    }

    /// Tells what calls have shown about HTTP/3. A peer that proves to speak it unadvertised becomes a preferred one at
    /// the table's next change, or at once by [`PeerTable::learn_http3`](crate::PeerTable::learn_http3).
    pub fn learn_http3(&self, learned: Http3Learned) {
        self.cell.learn_http3(learned);
    }

    /// Returns whether to call the peer over HTTP/3 at `now`.
    #[must_use]
    pub fn http3(&self, now: Tick) -> bool {
        self.cell.http3(self.cell.descriptor.read(|peer| peer.http3), now)
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("PeerHandle");
        out.field("id", self.id()).field("pending", &self.pending()).field("breaker", &self.breaker());
        out.finish_non_exhaustive()
    }
}
