//! What the planes ask of whoever knows the mesh.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use mesh_types::{Membership, NodeId};

use crate::{Outcome, Peer, PeerUpdate, ProbeTicket, Tick};

/// Resolves to a version of a snapshot.
pub type VersionFuture<'a> = Pin<Box<dyn Future<Output = u64> + Send + 'a>>;

/// A peer list as a stream of steps; it ends when its source is gone.
pub type PeerUpdates = Pin<Box<dyn Stream<Item = PeerUpdate> + Send>>;

/// Shows the members of the mesh.
///
/// Any number of readers may call it from any thread; nothing blocks.
pub trait MembershipView: Send + Sync {
    /// Returns the newest snapshot.
    fn current(&self) -> Arc<Membership>;

    /// Waits until the snapshot's version is not `seen`, and resolves to the version then. Versions in
    /// between may be skipped. Never resolves again once the source has stopped at `seen`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    fn changed(&self, seen: u64) -> VersionFuture<'_>;
}

/// Gives peer lists that stay up to date.
pub trait PeerSource: Send + Sync {
    /// Returns a new list: first a [`PeerUpdate::Reset`] with all peers, then every difference. A
    /// reader that falls behind misses steps in between, never the latest state.
    fn subscribe(&self) -> PeerUpdates;
}

/// Version of a shard map: the one this node has, and the newest it has heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardMapVersion {
    /// Of the map that [`ShardOwners::visit`] reads.
    pub held: u64,
    /// Of the newest map that anybody has told of.
    pub newest: u64,
}

/// Knows who owns which shard.
///
/// Called on every pick of a call with a shard, from any thread: nothing may block.
pub trait ShardOwners: Send + Sync {
    /// Returns the version of the map.
    fn version(&self) -> ShardMapVersion;

    /// Calls `visit` with the owner of `shard` (`namespace/shard`) and then with its replicas, the best first, until it
    /// breaks. Calls it with nobody if nobody owns the shard.
    fn visit(&self, shard: &str, visit: &mut dyn FnMut(&NodeId) -> ControlFlow<()>);
}

/// Asks peers how busy they are, for [`Probed`](crate::Probed).
///
/// Called on the way of a pick, from any thread, so it must return at once: hand the question to whoever sends it, and
/// drop the ticket where there is no room. At most 1,024 tickets of one chooser are out at a time; one that will not
/// be answered should be dropped after a second, when its answer would count for nothing.
pub trait LoadProbe: Send + Sync {
    /// Begins to ask `peer`. What it says goes to [`ProbeTicket::answer`]; on the peer's side, a
    /// [`LoadGauge`](crate::LoadGauge) knows it.
    fn request(&self, peer: &Arc<Peer>, ticket: ProbeTicket);
}

/// Is told how calls to peers end, wherever they are made.
pub trait OutcomeObserver: Send + Sync {
    /// Takes in that a call to `peer` ended at `now` with `outcome` and took `took`. Does nothing about a peer that is not
    /// known. Must not block.
    fn observe(&self, peer: &NodeId, now: Tick, took: Duration, outcome: Outcome);
}
