//! Who knows the health of peers.

use std::sync::Arc;

use crate::evidence::Verdicts;
use crate::lease::PeerFacts;
use crate::time::{Moment, WallTime};

/// What one provider knows of one peer at one moment.
#[derive(Debug, Clone, Copy)]
pub struct HealthRecord<'a> {
    /// What changes rarely. Give the same `Arc` while it has not changed: it is compared first.
    pub facts: &'a Arc<PeerFacts>,
    /// What each source says now; the provider knows how long its word counts.
    pub verdicts: Verdicts,
    /// When the peer was last heard of.
    pub last_heartbeat: Option<WallTime>,
    /// When it was last disconnected; it may have recovered since.
    pub last_disconnect: Option<WallTime>,
}

/// Knows the health of some peers. Providers of one board are merged by peer.
///
/// Called from the thread that asks for a snapshot, one call at a time: it must not block, and must not ask the
/// board. Visiting in ascending order of ids is fastest; any order is right, and so is a peer twice. Of several
/// providers, the board is best given the one first that knows most peers.
pub trait HealthProvider: Send + Sync {
    /// Returns the provider's name for people.
    fn id(&self) -> &str;

    /// Calls `visit` for each peer it knows, as of `now`.
    fn visit(&self, now: Moment, visit: &mut dyn FnMut(HealthRecord<'_>));
}
