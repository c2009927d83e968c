//! The members of a node without gossip: itself.

use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use mesh_types::{BootEpoch, Incarnation, Member, MemberState, Membership, MetadataVersion, NodeId, NodeMetadata};
use peers_core::{MembershipView, PeerSource, PeerUpdate, PeerUpdates, VersionFuture};

/// Shows the local node, alive, and nobody else, for ever.
#[derive(Debug)]
pub(crate) struct Standalone {
    membership: Arc<Membership>,
}

impl Standalone {
    /// Makes the view of the node `id`, which started at `now`.
    pub(crate) fn new(id: NodeId, metadata: NodeMetadata, now: Instant) -> Self {
        let member = Member {
            id: id.clone(),
            boot_epoch: BootEpoch(0),
            incarnation: Incarnation(0),
            state: MemberState::Alive,
            metadata_version: MetadataVersion(1),
            metadata: Arc::new(metadata),
            last_seen: now,
            rtt: None,
        };
        Self { membership: Arc::new(Membership { version: 1, local: id, members: vec![member] }) }
    }
}

impl PeerSource for Standalone {
    fn subscribe(&self) -> PeerUpdates {
        Box::pin(stream::once(ready(PeerUpdate::Reset(Vec::new()))).chain(stream::pending()))
    }
}

impl MembershipView for Standalone {
    fn current(&self) -> Arc<Membership> {
        Arc::clone(&self.membership)
    }

    fn changed(&self, seen: u64) -> VersionFuture<'_> {
        let version = self.membership.version;
        if seen == version { Box::pin(pending()) } else { Box::pin(ready(version)) }
    }
}
