//! Servers as the peers of a channel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use mesh_types::{
    BootEpoch, Features, Incarnation, Member, MemberState, MetadataVersion, NodeLifecycle, NodeMetadata, ServiceName,
};
use peers_core::{Peer, PeerSource, PeerUpdate, PeerUpdates};

/// Peers that stay as they are.
#[derive(Debug)]
pub(super) struct Peers(pub(super) Vec<Peer>);

impl PeerSource for Peers {
    fn subscribe(&self) -> PeerUpdates {
        stream::iter([PeerUpdate::Reset(self.0.clone())]).chain(stream::pending()).boxed()
    }
}

/// Returns the node at `address`, which announces `services`.
#[expect(clippy::disallowed_methods, reason = "a member carries when it was last seen; nobody reads it here")]
pub(super) fn peer(name: &str, address: SocketAddr, services: BTreeSet<ServiceName>) -> anyhow::Result<Option<Peer>> {
    let metadata = NodeMetadata {
        role: "worker".parse()?,
        cluster: "test".parse()?,
        region: "here".parse()?,
        mesh_version: "1".into(),
        http3_support: true,
        endpoint: address.into(),
        labels: BTreeMap::new(),
        services,
        rpc_endpoint: Some(address.into()),
        features: Features::default(),
        lifecycle: NodeLifecycle::default(),
    };
    let member = Member {
        id: name.parse()?,
        boot_epoch: BootEpoch(1),
        incarnation: Incarnation(0),
        state: MemberState::Alive,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(metadata),
        last_seen: Instant::now(),
        rtt: None,
    };
    Ok(Peer::from_member(&member))
}
