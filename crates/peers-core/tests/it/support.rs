//! Peers and members made up for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_types::{BootEpoch, Incarnation, Member, MemberState, MetadataVersion, NodeId, NodeMetadata};
use peers_core::{Balancer, Chooser, Entropy, Peer, PeerTable, PeerUpdate, PickCx, TableOptions, Tick};

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
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::default(),
        services: std::collections::BTreeSet::new(),
        rpc_endpoint: None,
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

/// Returns the healthy peer `node-<n>`, padded so that ids and numbers sort alike.
pub(crate) fn numbered(n: usize) -> Peer {
    labelled(&format!("node-{n:03}"), &[])
}

/// Returns a table of `count` peers.
pub(crate) fn table_of(count: usize, options: TableOptions) -> PeerTable {
    let table = PeerTable::new(options);
    table.apply(Tick::ZERO, PeerUpdate::Reset((0..count).map(numbered).collect()));
    table
}

/// Returns the tick `ms` milliseconds after the start.
pub(crate) fn at(ms: u64) -> Tick {
    Tick::ZERO.after(Duration::from_millis(ms))
}

/// Returns the number in a name that [`numbered`] made.
pub(crate) fn number(id: &NodeId) -> usize {
    id.as_str().trim_start_matches("node-").parse().expect("a numbered node")
}

/// Picks `count` times with one seed, each lease dropped at once, and returns who was picked.
pub(crate) fn picks<C: Chooser>(balancer: &Balancer<C>, cx: &PickCx<'_>, count: usize) -> Vec<usize> {
    let mut entropy = Entropy::seeded(7);
    let mut pick = || balancer.acquire_with(cx, &mut entropy).map(|lease| number(lease.id()));
    (0..count).map(|_| pick().expect("a usable peer")).collect()
}

/// Counts how often each of `count` peers is in `picked`.
pub(crate) fn tally(picked: &[usize], count: usize) -> Vec<usize> {
    (0..count).map(|n| picked.iter().filter(|picked| **picked == n).count()).collect()
}
