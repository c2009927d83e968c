//! Peers as a mesh has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_types::{BootEpoch, Incarnation, Member, MemberState, MetadataVersion, NodeId, NodeMetadata};
use peer_health::{
    HealthBoard, HealthHandle, Lease, LeaseId, Moment, Options, Outcome, Source, Tick, Timeline, Tracker, Verdict,
};
use peers_core::{Fleet, Outcome as Call, OutcomeObserver as _, Peer, PeerTable, PeerUpdate, TableOptions};

use crate::Failure;

/// What is written beside each peer.
pub(crate) const METADATA: [(&str, &str); 6] = [
    ("mesh.role", "worker"),
    ("mesh.cluster", "prod"),
    ("mesh.region", "eu-1"),
    ("mesh.version", "1.0.0"),
    ("mesh.http3", "true"),
    ("label.rack", "r1"),
];

/// Tracked peers, of each of which gossip, its lease and its transport speak well; it has metadata and holds a lease.
pub(crate) struct Peers {
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) board: HealthBoard,
    pub(crate) known: Vec<(NodeId, HealthHandle)>,
}

/// Returns the moment `millis` after the peers came.
pub(crate) fn at(millis: u64) -> Moment {
    // Long after the host has started, and at no whole second.
    let wall = SystemTime::UNIX_EPOCH + Duration::from_micros(1_763_565_784_123_457) + Duration::from_millis(millis);
    Moment { tick: Tick::from_millis(1_000_000 + millis), wall: wall.into() }
}

pub(crate) fn lease(n: usize) -> Lease {
    let bits = 0x0F8F_AD5B_D9CB_469F_A165_7086_0000_0000 | n as u128;
    Lease { sequence_id: 42_000 + n as u64, attempt: 1, lease_id: LeaseId::from_u128(bits) }
}

impl Peers {
    pub(crate) fn new(count: usize) -> Result<Self, Failure> {
        let tracker = Arc::new(Tracker::new(Options::default()));
        let mut known = Vec::with_capacity(count);
        for n in 0..count {
            let id: NodeId = format!("worker-{n:05}").parse()?;
            tracker.set_metadata(&id, &METADATA, at(0))?;
            tracker.record_assignment(&id, lease(n), at(0))?;
            let handle = tracker.handle(&id, at(0))?;
            handle.record(Source::Gossip, Verdict::Up, at(0));
            handle.outcome(Outcome::Reached, at(0));
            handle.heartbeat(at(n as u64 % 5_000));
            known.push((id, handle));
        }
        let board = HealthBoard::new(Timeline::starting(Instant::now()), vec![Arc::clone(&tracker) as _]);
        Ok(Self { tracker, board, known })
    }
}

/// Returns a fleet with one table of the same `peers`, of which so many have open breakers.
pub(crate) fn fleet(peers: &Peers, open: usize) -> Result<(Fleet, Arc<PeerTable>), Failure> {
    let fleet = Fleet::default();
    let table = fleet.table(TableOptions::default());
    let all = peers.known.iter().map(|(id, _)| Ok(Peer::from_member(&member(id)?).ok_or("no peer")?));
    table.apply(peers_core::Tick::ZERO, PeerUpdate::Reset(all.collect::<Result<_, Failure>>()?));
    for (id, _) in peers.known.iter().step_by(peers.known.len() / open) {
        for _call in 0..10 {
            table.observe(id, peers_core::Tick::from_nanos(1), Duration::ZERO, Call::Failure);
        }
    }
    Ok((fleet, table))
}

fn member(id: &NodeId) -> Result<Member, Failure> {
    let metadata = NodeMetadata {
        role: "worker".parse()?,
        cluster: "prod".parse()?,
        region: "eu-1".parse()?,
        mesh_version: "1.0.0".into(),
        http3_support: true,
        endpoint: "127.0.0.1:1".parse()?,
        labels: BTreeMap::new(),
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::default(),
        services: std::collections::BTreeSet::new(),
        rpc_endpoint: None,
    };
    Ok(Member {
        id: id.clone(),
        boot_epoch: BootEpoch(1),
        incarnation: Incarnation(0),
        state: MemberState::Alive,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(metadata),
        last_seen: Instant::now(),
        rtt: None,
    })
}
