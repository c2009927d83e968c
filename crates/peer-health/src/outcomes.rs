//! How calls end, taken in as evidence of transport.

use std::sync::Arc;
use std::time::Duration;

use mesh_types::NodeId;
use peers_core::OutcomeObserver;

use crate::handle::Outcome;
use crate::time::Tick;
use crate::tracker::Tracker;

/// Tells a tracker how calls to peers end, whichever plane makes them.
///
/// As the observer of a [`Fleet`](peers_core::Fleet) it is told of the calls that did not reach their peer, and of the first
/// that did again. A failure is one, as [`HealthHandle::outcome`](crate::HealthHandle::outcome) counts them; any answer, be it an error
/// or that the peer is busy, shows that it was reached; a call that was cancelled shows nothing. Who calls a peer often
/// may ask for its handle instead, which finds no peer by id.
///
/// The ticks of the calls come from [`Timeline::call_tick`](crate::Timeline::call_tick) of the tracker's timeline.
#[derive(Debug, Clone)]
pub struct TransportFeed {
    tracker: Arc<Tracker>,
}

impl TransportFeed {
    /// Feeds `tracker`.
    #[must_use]
    pub const fn new(tracker: Arc<Tracker>) -> Self {
        Self { tracker }
    }
}

impl OutcomeObserver for TransportFeed {
    fn observe(&self, peer: &NodeId, now: peers_core::Tick, _took: Duration, outcome: peers_core::Outcome) {
        use peers_core::Outcome as Call;
        let outcome = match outcome {
            Call::Success | Call::Overloaded { .. } | Call::AppError => Outcome::Reached,
            Call::Failure | Call::Unreachable => Outcome::Failed,
            Call::Cancelled => return,
        };
        self.tracker.record_known_outcome(peer, outcome, Tick::from(now));
    }
}
