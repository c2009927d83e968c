//! Peers and members made up for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mesh_types::{BootEpoch, Incarnation, Member, MemberState, MetadataVersion, NodeId, NodeMetadata};
use peers_core::Peer;

/// Returns a node's name; `text` is valid by construction of the tests.
pub(crate) fn id(text: &str) -> NodeId {
    text.parse().expect("tests name nodes by valid names")
}

pub(crate) fn metadata(labels: &[(&str, &str)]) -> NodeMetadata {
    NodeMetadata {
        role: "worker".parse().expect("valid"),
        cluster: "alpha".parse().expect("valid"),
        region: "eu-1".parse().expect("valid"),
        mesh_version: "1".into(),
        http3_support: true,
        endpoint: "127.0.0.1:17421".parse().expect("valid"),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a member carries when it was last seen; no test reads it")]
pub(crate) fn member(name: &str, state: MemberState, labels: &[(&str, &str)]) -> Member {
    Member {
        id: id(name),
        boot_epoch: BootEpoch(1),
        incarnation: Incarnation(0),
        state,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(metadata(labels)),
        last_seen: Instant::now(),
        rtt: None,
    }
}

/// Returns a healthy peer with these labels.
pub(crate) fn labelled(name: &str, labels: &[(&str, &str)]) -> Peer {
    Peer::from_member(&member(name, MemberState::Alive, labels)).expect("alive members are callable")
}
