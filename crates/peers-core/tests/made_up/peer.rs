//! A peer made up for a test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mesh_types::{BootEpoch, Incarnation, Member, MemberState, MetadataVersion, NodeMetadata};
use peers_core::Peer;

#[expect(clippy::disallowed_methods, reason = "a member carries when it was last seen; no test reads it")]
pub(crate) fn peer(n: usize) -> Peer {
    let member = Member {
        id: format!("node-{n}").parse().expect("valid"),
        boot_epoch: BootEpoch(1),
        incarnation: Incarnation(0),
        state: MemberState::Alive,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(NodeMetadata {
            role: "worker".parse().expect("valid"),
            cluster: "alpha".parse().expect("valid"),
            region: "eu-1".parse().expect("valid"),
            mesh_version: "1".into(),
            http3_support: true,
            endpoint: "127.0.0.1:1".parse().expect("valid"),
            labels: BTreeMap::new(),
            features: mesh_types::Features::default(),
            lifecycle: mesh_types::NodeLifecycle::default(),
            services: std::collections::BTreeSet::new(),
            rpc_endpoint: None,
        }),
        last_seen: Instant::now(),
        rtt: None,
    };
    Peer::from_member(&member).expect("callable")
}
