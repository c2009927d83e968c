//! What the planes ask of whoever knows the mesh.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use mesh_types::Membership;

use crate::PeerUpdate;

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
