//! `apply` against the plainest model of it.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_types::{BootEpoch, MetadataVersion};
use peers_core::{BreakerOptions, Filters, Peer, PeerTable, PeerUpdate, PickCx, RoundRobin, TableOptions};
use proptest::prelude::*;

use crate::support::{at, number, numbered};

fn peer() -> impl Strategy<Value = Peer> {
    (0_usize..6, 1_u64..3, 1_u64..3, any::<bool>()).prop_map(|(n, generation, version, cordoned)| Peer {
        generation: BootEpoch(generation),
        metadata_version: MetadataVersion(version),
        cordoned,
        ..numbered(n)
    })
}

fn update() -> impl Strategy<Value = PeerUpdate> {
    prop_oneof![
        6 => peer().prop_map(PeerUpdate::Upsert),
        3 => (0_usize..6).prop_map(|n| PeerUpdate::Remove(numbered(n).id)),
        1 => prop::collection::btree_map(0_usize..6, peer(), 0..4).prop_map(|peers| {
            PeerUpdate::Reset(peers.into_iter().map(|(n, peer)| Peer { id: numbered(n).id, ..peer }).collect())
        }),
    ]
}

/// Peers that are there, and the versions of all that ever were.
#[derive(Default)]
struct Model {
    there: BTreeMap<usize, Peer>,
    seen: BTreeMap<usize, (BootEpoch, MetadataVersion)>,
}

impl Model {
    fn upsert(&mut self, peer: Peer) {
        let version = (peer.generation, peer.metadata_version);
        let seen = self.seen.entry(number(&peer.id)).or_insert(version);
        if version >= *seen {
            *seen = version;
            self.there.insert(number(&peer.id), peer);
        }
    }

    fn apply(&mut self, update: PeerUpdate) {
        match update {
            PeerUpdate::Upsert(peer) => self.upsert(peer),
            PeerUpdate::Remove(id) => drop(self.there.remove(&number(&id))),
            PeerUpdate::Reset(peers) => {
                self.there.retain(|n, _| peers.iter().any(|peer| number(&peer.id) == *n));
                peers.into_iter().for_each(|peer| self.upsert(peer));
            }
        }
    }
}

proptest! {
    #[test]
    fn a_table_holds_what_its_model_holds(updates in prop::collection::vec(update(), 0..60)) {
        // A new process would start slowly, and be passed over.
        let breaker = BreakerOptions { slow_start: Duration::ZERO, ..BreakerOptions::default() };
        let table = PeerTable::new(TableOptions { breaker, ..TableOptions::default() });
        let balancer = table.balancer(Filters::none(), RoundRobin::default());
        let mut model = Model::default();
        for update in updates {
            table.apply(at(0), update.clone());
            table.apply(at(0), update.clone());
            model.apply(update);
            let peers: Vec<Peer> = table.peers().iter().map(|peer| Peer::clone(peer)).collect();
            prop_assert_eq!(&peers, &model.there.values().cloned().collect::<Vec<_>>());
            let mut usable: Vec<usize> = model.there.iter().filter(|(_, peer)| !peer.cordoned).map(|(n, _)| *n).collect();
            let mut picked: Vec<usize> = (0..usable.len())
                .filter_map(|_| balancer.acquire(&PickCx::at(at(0))).ok())
                .map(|lease| number(lease.id()))
                .collect();
            usable.sort_unstable();
            picked.sort_unstable();
            prop_assert_eq!(picked, usable);
        }
    }
}
