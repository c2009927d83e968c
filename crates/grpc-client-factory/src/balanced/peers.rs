//! The peers of a balanced channel, as their source tells of them, and the way to each.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Weak;
use std::task::{Context, Poll, Waker};

use mesh_types::NodeId;
use peers_core::{Http3Hint, Peer, PeerUpdate, PeerUpdates, Protocol};

use crate::balanced::Balanced;
use crate::channel::Channel;
use crate::factory::{ChannelError, ChannelFactory as _};
use crate::target::Target;

/// The ways to the peers of a table. Those of peers that are gone are not held here, so that the factory lets go of them.
pub(crate) type Routes = HashMap<NodeId, Channel>;

/// Returns whether a peer may speak HTTP/3 where it is called, which is the first of its endpoints.
fn supports_http3(peer: &Peer) -> bool {
    let speaks = || peer.endpoints.first().is_some_and(|endpoint| endpoint.protocols.contains(Protocol::Http3));
    match peer.http3 {
        Http3Hint::ForcedOn => true,
        Http3Hint::Advertised => speaks(),
        Http3Hint::Absent | Http3Hint::ForcedOff => false,
    }
}

impl Balanced {
    /// Makes the way to a peer.
    pub(crate) fn route(&self, peer: &Peer) -> Result<Channel, ChannelError> {
        let address = peer.endpoints.first().map_or_else(|| peer.endpoint(), |endpoint| &endpoint.address);
        let target = Target::new(address.clone(), (self.expect)(peer)).with_http3(supports_http3(peer));
        self.factory.channel(&target, &self.profile_name)
    }

    /// Takes in one step of the peer list.
    pub(crate) fn apply(&self, update: PeerUpdate) {
        self.table.apply(self.clock.now(), update);
        let routes = self.table.peers().into_iter().filter_map(|peer| match self.route(&peer) {
            Ok(channel) => Some((peer.id.clone(), channel)),
            Err(error) => {
                // Each call that picks it asks again, and fails with this error.
                tracing::warn!(peer = %peer.id, error = &error as &dyn std::error::Error, "no channel to a peer");
                None
            }
        });
        self.routes.publish(routes.collect());
    }

    /// Takes in what the source has told already, so that the first call finds peers.
    pub(crate) fn apply_first(&self, updates: &mut PeerUpdates) {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Some(first)) = updates.as_mut().poll_next(&mut cx) {
            self.apply(first);
        }
    }
}

/// Keeps the peers up to date until the channel or the source is gone. Without a source they stay as they were last.
pub(crate) async fn follow(balanced: Weak<Balanced>, mut updates: PeerUpdates) {
    while let Some(update) = poll_fn(|cx| updates.as_mut().poll_next(cx)).await {
        let Some(balanced) = balanced.upgrade() else { return };
        balanced.apply(update);
    }
    tracing::debug!("the source of a balanced channel's peers has ended");
}
