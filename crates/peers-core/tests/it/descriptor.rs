//! From members to descriptors.

use std::sync::Arc;

use mesh_types::{MemberState, Membership, NodeLifecycle, NodeMetadata};
use peers_core::{Health, Http3Hint, LabelError, Lifecycle, Peer, Protocol};

use crate::support::{id, labelled, member, metadata};

#[test]
fn labels_fill_the_descriptor_whatever_the_case_of_their_keys() {
    let peer = labelled(
        "node-b",
        &[
            ("Peer.Zone", "eu-1a"),
            ("PEER.WEIGHT", "250"),
            ("peer.tier", "2"),
            ("peer.slot", "7"),
            ("peer.lifecycle", "draining"),
            ("peer.cordoned", "true"),
            ("peer.endpoints", "h3+h2@10.0.0.7:8443, h1@[::1]:80"),
            ("Rack", "r1"),
        ],
    );
    assert_eq!(peer.zone.as_deref(), Some("eu-1a"));
    assert_eq!((peer.weight, peer.tier, peer.slot), (250, 2, Some(7)));
    assert_eq!((peer.lifecycle, peer.cordoned, peer.takes_work()), (Lifecycle::Draining, true, false));
    let spoken = |index: usize| {
        let endpoint = peer.endpoints.get(index).expect("two endpoints");
        let all = [Protocol::Http3, Protocol::Http2, Protocol::Http1];
        (endpoint.address.to_string(), all.map(|protocol| endpoint.protocols.contains(protocol)))
    };
    assert_eq!(spoken(0), ("10.0.0.7:8443".to_owned(), [true, true, false]));
    assert_eq!(spoken(1), ("[::1]:80".to_owned(), [false, false, true]));
    assert_eq!((peer.label("rack"), peer.label("RACK"), peer.label("row")), (Some("r1"), Some("r1"), None));
    assert_eq!(peer.flaws, []);
}

#[test]
fn a_member_without_labels_has_defaults_and_its_own_address() {
    let peer = labelled("node-b", &[]);
    assert_eq!((peer.weight, peer.tier, peer.slot, peer.zone.clone()), (100, 0, None, None));
    assert_eq!((peer.lifecycle, peer.health), (Lifecycle::Active, Health::Healthy));
    assert_eq!(peer.http3, Http3Hint::Advertised);
    let addresses: Vec<String> = peer.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:17421"]);
    assert!(peer.takes_work());
}

#[test]
fn a_member_is_called_where_it_takes_calls_unless_a_label_says_where() {
    let called_at = |labels: &[(&str, &str)]| {
        let mut member = member("node-b", MemberState::Alive, labels);
        let rpc_endpoint = Some("10.0.0.7:7420".parse().expect("an endpoint"));
        member.metadata = Arc::new(NodeMetadata { rpc_endpoint, ..metadata(labels) });
        let endpoints = Peer::from_member(&member).expect("callable").endpoints;
        endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(called_at(&[]), ["10.0.0.7:7420"]);
    assert_eq!(called_at(&[("peer.endpoints", "h2@10.0.0.8:1")]), ["10.0.0.8:1"]);
}

#[test]
fn of_lifecycle_and_labels_that_counts_which_asks_for_less_work() {
    let peer = |lifecycle, labels: &[(&str, &str)]| {
        let mut member = member("node-b", MemberState::Alive, labels);
        member.metadata = Arc::new(NodeMetadata { lifecycle, ..metadata(labels) });
        Peer::from_member(&member).map(|peer| (peer.lifecycle, peer.cordoned, peer.takes_work()))
    };
    assert_eq!(peer(NodeLifecycle::Active, &[]), Some((Lifecycle::Active, false, true)));
    assert_eq!(peer(NodeLifecycle::Cordoned, &[]), Some((Lifecycle::Active, true, false)));
    assert_eq!(peer(NodeLifecycle::Draining, &[]), Some((Lifecycle::Draining, false, false)));
    let draining = [("peer.lifecycle", "draining")];
    assert_eq!(peer(NodeLifecycle::Active, &draining), Some((Lifecycle::Draining, false, false)));
    assert_eq!(peer(NodeLifecycle::Cordoned, &draining), Some((Lifecycle::Draining, true, false)));
    let left = [("peer.lifecycle", "left"), ("peer.cordoned", "true")];
    assert_eq!(peer(NodeLifecycle::Draining, &left), Some((Lifecycle::Left, true, false)));
}

#[test]
fn a_label_that_cannot_be_read_keeps_the_default_and_is_told() {
    let peer = labelled("node-b", &[("peer.weight", "heavy"), ("peer.endpoints", "h4@a:1"), ("peer.tier", "1")]);
    assert_eq!((peer.weight, peer.tier, peer.endpoints.len()), (100, 1, 1));
    let flaw = |key, value: &str, problem| LabelError { key, value: value.to_owned(), problem };
    assert_eq!(
        peer.flaws,
        [
            flaw("peer.endpoints", "h4@a:1", "holds a protocol other than `h3`, `h2` and `h1`"),
            flaw("peer.weight", "heavy", "0 to 65535 is valid"),
        ]
    );
}

#[test]
fn only_members_that_may_be_called_become_peers_and_suspicion_is_a_doubt() {
    let members = [
        ("node-a", MemberState::Alive),
        ("node-b", MemberState::Suspect),
        ("node-c", MemberState::Unreachable),
        ("node-d", MemberState::Dead),
        ("node-e", MemberState::Left),
        ("node-f", MemberState::Alive),
    ];
    let membership = Membership {
        version: 1,
        local: id("node-a"),
        members: members.map(|(name, state)| member(name, state, &[])).to_vec(),
    };
    let peers: Vec<_> = Peer::from_membership(&membership).into_iter().map(|p| (p.id, p.health)).collect();
    assert_eq!(peers, [(id("node-b"), Health::Degraded), (id("node-f"), Health::Healthy)]);
}

#[test]
fn leaders_are_labelled_by_scope() {
    let mut peers = vec![labelled("node-a", &[]), labelled("node-b", &[])];
    Peer::label_leader(&mut peers, "Global-Control", Some(&id("node-b")));
    let words: Vec<_> = peers.iter().map(|peer| peer.label("mesh.leader.scope.global-control")).collect();
    assert_eq!(words, [Some("follower"), Some("leader")]);
}
