//! Those of the mesh that calls of one kind may go to.

use std::collections::BTreeSet;
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use futures_util::StreamExt as _;
use mesh_types::{NodeId, ServiceName};
use peers_core::{Peer, PeerSource, PeerUpdate, PeerUpdates};

use super::Mesh;

/// Whom calls of one kind may go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Whom {
    /// Whoever announces the service.
    Service {
        name: ServiceName,
        /// Whether those that belong together find the same peer.
        by_key: bool,
    },
    /// One node, whatever it announces.
    Node(NodeId),
}

impl Whom {
    pub(crate) const fn by_key(&self) -> bool {
        matches!(self, Self::Service { by_key: true, .. })
    }

    fn holds(&self, peer: &Peer) -> bool {
        match self {
            Self::Service { name, .. } => peer.metadata.services.contains(name),
            Self::Node(id) => peer.id == *id,
        }
    }

    /// Returns those of `mesh`.
    pub(crate) fn source(&self, mesh: &Arc<dyn Mesh>) -> Members {
        Members { mesh: Arc::clone(mesh), whom: self.clone() }
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { name, .. } => fmt::Display::fmt(name, f),
            Self::Node(id) => write!(f, "node {id}"),
        }
    }
}

/// Those of a mesh that calls of one kind may go to. Whether they take new work is for choosers to say.
#[derive(Debug)]
pub(crate) struct Members {
    mesh: Arc<dyn Mesh>,
    whom: Whom,
}

impl PeerSource for Members {
    fn subscribe(&self) -> PeerUpdates {
        let (whom, mut told) = (self.whom.clone(), BTreeSet::new());
        Box::pin(self.mesh.subscribe().filter_map(move |update| ready(narrow(&whom, &mut told, update))))
    }
}

/// Returns what an update of the mesh is to those who follow `whom` and were told of `told`.
fn narrow(whom: &Whom, told: &mut BTreeSet<NodeId>, update: PeerUpdate) -> Option<PeerUpdate> {
    match update {
        PeerUpdate::Reset(mut peers) => {
            peers.retain(|peer| whom.holds(peer));
            *told = peers.iter().map(|peer| peer.id.clone()).collect();
            Some(PeerUpdate::Reset(peers))
        }
        PeerUpdate::Upsert(peer) if whom.holds(&peer) => {
            told.insert(peer.id.clone());
            Some(PeerUpdate::Upsert(peer))
        }
        PeerUpdate::Upsert(Peer { id, .. }) | PeerUpdate::Remove(id) => {
            told.remove(&id).then_some(PeerUpdate::Remove(id))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::directory::tests::peer;

    #[test]
    fn a_peer_is_told_of_while_it_announces_the_service() {
        let whom = Whom::Service { name: "orders".parse().expect("a name"), by_key: false };
        let mut told = BTreeSet::new();
        let mut after = |update| narrow(&whom, &mut told, update);
        let (a, b) = (peer("node-a", &["orders"]), peer("node-b", &["carts"]));
        let reset = after(PeerUpdate::Reset(vec![a.clone(), b.clone()]));
        assert_eq!(reset, Some(PeerUpdate::Reset(vec![a.clone()])));
        assert_eq!(after(PeerUpdate::Upsert(b.clone())), None);
        let more = peer("node-b", &["carts", "orders"]);
        assert_eq!(after(PeerUpdate::Upsert(more.clone())), Some(PeerUpdate::Upsert(more)));
        assert_eq!(after(PeerUpdate::Upsert(b.clone())), Some(PeerUpdate::Remove(b.id.clone())));
        assert_eq!(after(PeerUpdate::Remove(b.id)), None);
        assert_eq!(after(PeerUpdate::Remove(a.id.clone())), Some(PeerUpdate::Remove(a.id)));
    }

    #[test]
    fn a_node_is_followed_whatever_it_announces() {
        let whom = Whom::Node("node-b".parse().expect("a name"));
        let (a, b) = (peer("node-a", &["orders"]), peer("node-b", &[]));
        let reset = narrow(&whom, &mut BTreeSet::new(), PeerUpdate::Reset(vec![a, b.clone()]));
        assert_eq!(reset, Some(PeerUpdate::Reset(vec![b])));
    }
}
