//! The table: order of updates, and what survives them.

use std::time::Duration;

use mesh_types::{BootEpoch, MetadataVersion};
use peers_core::{
    Applied, Filters, Http3Learned, Outcome, OutcomeObserver, Peer, PeerTable, PeerUpdate, PickCx, Random,
};

use crate::support::{at, id, numbered};

fn versioned(n: usize, generation: u64, metadata_version: u64) -> Peer {
    let (generation, metadata_version) = (BootEpoch(generation), MetadataVersion(metadata_version));
    Peer { generation, metadata_version, ..numbered(n) }
}

fn applied(version: u64) -> Applied {
    Applied { version, ..Applied::default() }
}

#[test]
fn the_same_again_changes_nothing_and_older_news_is_ignored() {
    let table = PeerTable::default();
    let upsert = |peer: &Peer| table.apply(at(0), PeerUpdate::Upsert(peer.clone()));
    let peer = versioned(0, 2, 5);
    assert_eq!(upsert(&peer), Applied { added: 1, ..applied(1) });
    assert_eq!(upsert(&peer), applied(1));
    assert_eq!(upsert(&versioned(0, 2, 4)), Applied { stale: 1, ..applied(1) });
    assert_eq!(upsert(&versioned(0, 1, 9)), Applied { stale: 1, ..applied(1) });
    assert_eq!(upsert(&versioned(0, 2, 6)), Applied { changed: 1, ..applied(2) });
    assert_eq!(upsert(&versioned(0, 3, 1)), Applied { changed: 1, ..applied(3) });
    let drains = Peer { cordoned: true, ..versioned(0, 3, 1) };
    assert_eq!(upsert(&drains), Applied { changed: 1, ..applied(4) }, "an operator's word carries no version");
}

#[test]
fn older_news_does_not_bring_a_removed_peer_back_and_the_same_version_does() {
    let table = PeerTable::default();
    table.apply(at(0), PeerUpdate::Upsert(versioned(0, 2, 5)));
    assert_eq!(table.apply(at(0), PeerUpdate::Remove(id("node-000"))), Applied { removed: 1, ..applied(2) });
    assert_eq!(table.apply(at(0), PeerUpdate::Remove(id("node-000"))), applied(2));
    let late = PeerUpdate::Upsert(versioned(0, 2, 4));
    assert_eq!(table.apply(at(0), late), Applied { stale: 1, ..applied(2) });
    let back = PeerUpdate::Upsert(versioned(0, 2, 5));
    assert_eq!(table.apply(at(0), back), Applied { added: 1, ..applied(3) });
}

#[test]
fn a_reset_forgets_the_rest_and_many_updates_are_one_publish() {
    let table = PeerTable::default();
    let updates = (0..100).map(|n| PeerUpdate::Upsert(numbered(n)));
    assert_eq!(table.apply_all(at(0), updates), Applied { added: 100, ..applied(1) });
    let reset = PeerUpdate::Reset((98..101).map(numbered).collect());
    assert_eq!(table.apply(at(0), reset), Applied { added: 1, removed: 98, ..applied(2) });
    let ids: Vec<_> = table.peers().iter().map(|peer| peer.id.to_string()).collect();
    assert_eq!(ids, ["node-098", "node-099", "node-100"]);
}

#[test]
fn a_peer_keeps_what_is_known_of_it_across_updates() {
    let table = PeerTable::default();
    table.apply(at(0), PeerUpdate::Upsert(versioned(0, 1, 1)));
    let balancer = table.balancer(Filters::none(), Random);
    let lease = balancer.acquire(&PickCx::at(at(0))).expect("usable");
    balancer.acquire(&PickCx::at(at(0))).expect("usable").report(at(20), Outcome::Success);
    let before = table.handle(&id("node-000")).expect("known");
    table.apply(at(1), PeerUpdate::Upsert(Peer { weight: 7, ..versioned(0, 1, 2) }));
    let after = table.handle(&id("node-000")).expect("known");
    assert_eq!((after.key(), after.pending(), after.picks()), (before.key(), 1, 2));
    assert_eq!(after.latency(at(20)), Duration::from_millis(20));
    assert_eq!((lease.peer().weight, balancer.version(), table.version()), (7, 2, 2));
}

#[test]
fn what_the_control_plane_observes_moves_the_same_cell() {
    let table = PeerTable::default();
    table.apply(at(0), PeerUpdate::Upsert(numbered(0)));
    let handle = table.handle(&id("node-000")).expect("known");
    table.observe(&id("node-000"), at(0), Duration::from_millis(8), Outcome::Success);
    table.observe(&id("nobody"), at(0), Duration::from_millis(8), Outcome::Success);
    assert_eq!(handle.latency(at(0)), Duration::from_millis(8));
    handle.learn_http3(Http3Learned::Broken { until: at(5) });
    assert_eq!([at(4), at(5)].map(|now| handle.http3(now)), [false, true]);
}
