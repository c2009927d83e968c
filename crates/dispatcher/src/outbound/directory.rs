//! Which services the nodes of the mesh announce.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_types::{NodeId, NodeMetadata, ServiceName};
use peers_core::{PeerUpdate, Published};

/// What is asked on every call: an immutable value, replaced as a whole.
#[derive(Debug, Default)]
struct Known {
    services: BTreeSet<ServiceName>,
    nodes: BTreeSet<NodeId>,
}

/// Which services the nodes of the mesh announce. Asking takes no lock.
#[derive(Debug)]
pub(crate) struct Directory {
    known: Published<Known>,
}

impl Default for Directory {
    fn default() -> Self {
        Self { known: Published::new(Known::default()) }
    }
}

impl Directory {
    /// Returns whether a node other than this one announces `service`.
    pub(crate) fn serves(&self, service: &ServiceName) -> bool {
        self.known.read(|known| known.services.contains(service))
    }

    /// Returns whether there is a node of that name beside this one.
    pub(crate) fn has_node(&self, node: &NodeId) -> bool {
        self.known.read(|known| known.nodes.contains(node))
    }
}

/// The nodes, as far as the task that follows them has been told.
#[derive(Debug, Default)]
pub(crate) struct Roll(BTreeMap<NodeId, Arc<NodeMetadata>>);

impl Roll {
    /// Takes in a step of the list of peers, and shows it in `directory`.
    pub(crate) fn apply(&mut self, update: PeerUpdate, directory: &Directory) {
        match update {
            PeerUpdate::Reset(peers) => self.0 = peers.into_iter().map(|peer| (peer.id, peer.metadata)).collect(),
            PeerUpdate::Upsert(peer) => drop(self.0.insert(peer.id, peer.metadata)),
            PeerUpdate::Remove(id) => drop(self.0.remove(&id)),
        }
        let services = self.0.values().flat_map(|metadata| &metadata.services).cloned().collect();
        directory.known.publish(Known { services, nodes: self.0.keys().cloned().collect() });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use mesh_types::{BootEpoch, Features, Incarnation, Member, MemberState, MetadataVersion, NodeLifecycle};
    use peers_core::Peer;

    use super::*;

    pub(crate) fn peer(id: &str, services: &[&str]) -> Peer {
        let metadata = NodeMetadata {
            role: "worker".parse().expect("a name"),
            cluster: "alpha".parse().expect("a name"),
            region: "eu-1".parse().expect("a name"),
            mesh_version: "1".into(),
            http3_support: true,
            endpoint: "127.0.0.1:1".parse().expect("an endpoint"),
            labels: BTreeMap::new(),
            features: Features::OF_THIS_BUILD,
            lifecycle: NodeLifecycle::Active,
            services: services.iter().map(|name| name.parse().expect("a name")).collect(),
            rpc_endpoint: Some("127.0.0.1:2".parse().expect("an endpoint")),
        };
        let member = Member {
            id: id.parse().expect("a name"),
            boot_epoch: BootEpoch(1),
            incarnation: Incarnation(0),
            state: MemberState::Alive,
            metadata_version: MetadataVersion(1),
            metadata: Arc::new(metadata),
            last_seen: tokio::time::Instant::now().into_std(),
            rtt: None,
        };
        Peer::from_member(&member).expect("an alive member is callable")
    }

    #[test]
    fn a_service_is_known_while_a_node_announces_it() {
        let (directory, mut roll) = (Directory::default(), Roll::default());
        let orders: ServiceName = "orders".parse().expect("a name");
        let mut after = |update| {
            roll.apply(update, &directory);
            directory.serves(&orders)
        };
        let (a, b) = (peer("node-a", &["orders"]), peer("node-b", &["carts", "orders"]));
        let other = peer("node-b", &["carts"]);
        assert!(after(PeerUpdate::Reset(vec![a.clone(), b])));
        assert!(after(PeerUpdate::Remove(a.id.clone())));
        assert!(!after(PeerUpdate::Upsert(other)));
        assert!(after(PeerUpdate::Upsert(a.clone())));
        assert!(directory.has_node(&a.id));
    }
}
