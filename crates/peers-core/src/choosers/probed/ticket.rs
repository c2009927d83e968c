//! What brings an answer back.

use std::fmt;
use std::sync::Arc;

use super::{Answer, Answers, steps};
use crate::estimator::low;
use crate::{PeerKey, ServerLoad, Tick};

/// Brings a peer's answer back to the [`Probed`](crate::Probed) chooser that asked, from any thread.
///
/// Dropped, it is a probe without an answer, which does no harm; neither does an answer that comes too late, for a peer
/// that was removed or to a chooser that is gone.
#[must_use = "a ticket dropped is a probe without an answer"]
pub struct ProbeTicket {
    answers: Arc<Answers>,
    question: Question,
}

/// Who was asked, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) key: PeerKey,
    /// Where the peer is in its group.
    pub(super) place: u32,
    pub(super) asked: Tick,
    /// Leases pending on the peer.
    pub(super) pending: u32,
}

impl ProbeTicket {
    pub(super) const fn new(answers: Arc<Answers>, question: Question) -> Self {
        Self { answers, question }
    }

    /// Takes in what the peer has said. It counts for a second from the question on. Never waits.
    pub fn answer(self, load: ServerLoad) {
        let Question { key, place, asked, pending } = self.question;
        // Own calls are counted anew at each pick.
        let others = load.in_flight.saturating_sub(pending);
        let latency_ns = load.latency.map_or(0.0, |latency| (latency.as_nanos() as f32).max(1.0));
        self.answers.put(&Answer { key: low(key.0), place, asked: steps(asked), others, latency_ns });
    }
}

impl fmt::Debug for ProbeTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProbeTicket").field(&self.question).finish()
    }
}
