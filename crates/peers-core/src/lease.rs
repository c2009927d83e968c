//! One use of a peer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_types::NodeId;

use crate::breaker::Pass;
use crate::cell::{Http3Learned, PeerCell};
use crate::published::Hold;
use crate::{Peer, Tick, Unreported};

/// Number of a peer within its table's life, for comparing and excluding without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub(crate) u64);

/// How a call ended, as far as the peer is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// The peer failed at what it was asked: no answer in time, or one that says so. It may serve others well.
    Failure,
    /// The peer was not reached: no connection, one that was lost, or nobody there who takes calls. Whatever it is asked,
    /// it fails, so all tables of a [`Fleet`](crate::Fleet) learn of it.
    Unreachable,
    /// The peer answered that it has too much to do: it gets less, and is not given up.
    Overloaded {
        /// How long it asks to be left alone; at most 300 s are honoured.
        retry_after: Option<Duration>,
    },
    /// The peer answered with an error that is not its fault.
    AppError,
    /// The caller went away. Nothing is learned.
    Cancelled,
}

/// One use of a peer, from [`Balancer::acquire`](crate::Balancer::acquire) to its report or its drop.
///
/// The peer stays chosen while its table changes, even when it is removed. Dropped without a report, the lease means
/// what [`BreakerOptions::unreported`](crate::BreakerOptions::unreported) says: by default that the call was cancelled.
#[must_use = "a lease dropped at once is a call cancelled at once"]
pub struct PeerLease {
    hold: Hold<PeerCell>,
    since: Tick,
    pass: Pass,
    on_drop: OnDrop,
}

/// What a dropped lease has to do beside giving itself back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    /// Nothing: it is reported, or nothing follows from that it is not.
    Nothing,
    /// Its cell has to know.
    Tell,
}

impl PeerLease {
    #[inline]
    pub(crate) fn new(hold: Hold<PeerCell>, since: Tick, pass: Pass, unreported: Unreported) -> Self {
        let is_nothing = unreported == Unreported::Cancelled && !pass.is_probe();
        Self { hold, since, pass, on_drop: if is_nothing { OnDrop::Nothing } else { OnDrop::Tell } }
    }

    /// Returns who is leased.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.hold.id
    }

    /// Returns the peer's number.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        self.hold.key
    }

    /// Returns the newest descriptor of the peer.
    #[must_use]
    pub fn peer(&self) -> Arc<Peer> {
        self.hold.descriptor.load()
    }

    /// Returns when the lease began.
    #[must_use]
    pub const fn since(&self) -> Tick {
        self.since
    }

    /// Returns whether to call the peer over HTTP/3 at `now`.
    #[must_use]
    pub fn http3(&self, now: Tick) -> bool {
        self.hold.http3(self.hold.descriptor.read(|peer| peer.http3), now)
    }

    /// Tells what the call has shown about the peer's HTTP/3.
    pub fn learn_http3(&self, learned: Http3Learned) {
        self.hold.learn_http3(learned);
    }

    /// Ends the lease and tells how its call ended at `now`.
    #[inline]
    pub fn report(mut self, now: Tick, outcome: Outcome) {
        self.on_drop = OnDrop::Nothing;
        let took_ns = now.as_nanos().saturating_sub(self.since.as_nanos());
        self.hold.report(now, took_ns, took_ns, self.pass, outcome);
    }

    /// Ends the lease with the latency that matters, when it is not the lease's length: a stream's first answer, say.
    pub fn report_with_latency(mut self, now: Tick, latency: Duration, outcome: Outcome) {
        self.on_drop = OnDrop::Nothing;
        let took_ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let lasted_ns = now.as_nanos().saturating_sub(self.since.as_nanos());
        self.hold.report(now, lasted_ns, took_ns, self.pass, outcome);
    }
}

impl Drop for PeerLease {
    #[inline]
    fn drop(&mut self) {
        if self.on_drop == OnDrop::Tell {
            self.hold.unreported(self.since, self.pass);
        }
    }
}

impl fmt::Debug for PeerLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerLease").field("id", self.id()).field("since", &self.since).finish_non_exhaustive()
    }
}
