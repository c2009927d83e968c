//! Ten peers, one of them slow, one of them failing: who gets the calls?
//!
//! Runs alone: `cargo run -p peers-core --example choose -- two-random`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_types::{BootEpoch, Incarnation, Member, MemberState, MetadataVersion, NodeMetadata};
use peers_core::{
    ChooserPorts, ChooserSpec, Entropy, Outcome, Peer, PeerLease, PeerTable, PeerUpdate, PickCx, TableOptions, Tick,
};

const PEERS: usize = 10;
const CALLS: u64 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "adaptive".to_owned());
    let spec: ChooserSpec = name.parse()?;
    let table = PeerTable::new(TableOptions::default());
    let peers = (0..PEERS).map(peer).collect::<Result<_, _>>()?;
    table.apply(Tick::ZERO, PeerUpdate::Reset(peers));
    let balancer = table.balancer(spec.filters(), spec.chooser(&ChooserPorts::default())?);

    // Time is a number here: a real caller reads its clock once a call and passes it on.
    let mut entropy = Entropy::seeded(1);
    let mut pending: Vec<(Tick, Outcome, PeerLease)> = Vec::new();
    let mut calls: BTreeMap<String, u64> = BTreeMap::new();
    for call in 0..CALLS {
        let now = Tick::ZERO.after(Duration::from_millis(call));
        for (_, outcome, lease) in pending.extract_if(.., |(end, ..)| *end <= now) {
            lease.report(now, outcome);
        }
        let lease = balancer.acquire_with(&PickCx::at(now), &mut entropy)?;
        *calls.entry(lease.id().to_string()).or_default() += 1;
        let (took_ms, outcome) = match lease.id().as_str() {
            "node-0" => (100, Outcome::Success),
            "node-1" => (1, Outcome::Failure),
            _ => (5 + entropy.next_u64() % 10, Outcome::Success),
        };
        pending.push((now.after(Duration::from_millis(took_ms)), outcome, lease));
    }
    report(&name, &calls);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn report(name: &str, calls: &BTreeMap<String, u64>) {
    println!("{name}: node-0 takes 100 ms instead of 10, node-1 fails at once");
    for (peer, count) in calls {
        println!("  {peer:8} {:6.2} %", *count as f64 * 100.0 / CALLS as f64);
    }
}

/// Returns the peer that a member of the mesh is; the node's gossip gives real ones.
#[expect(clippy::disallowed_methods, reason = "a member says when it was last seen; nothing here reads it")]
fn peer(n: usize) -> Result<Peer, Box<dyn Error>> {
    let member = Member {
        id: format!("node-{n}").parse()?,
        boot_epoch: BootEpoch(1),
        incarnation: Incarnation(0),
        state: MemberState::Alive,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(NodeMetadata {
            role: "worker".parse()?,
            cluster: "alpha".parse()?,
            region: "eu-1".parse()?,
            mesh_version: "0.1.0".into(),
            http3_support: true,
            endpoint: "127.0.0.1:17421".parse()?,
            labels: BTreeMap::from([("peer.zone".to_owned(), "eu-1a".to_owned())]),
            features: mesh_types::Features::default(),
            lifecycle: mesh_types::NodeLifecycle::default(),
            services: std::collections::BTreeSet::new(),
            rpc_endpoint: None,
        }),
        last_seen: Instant::now(),
        rtt: None,
    };
    Peer::from_member(&member).ok_or_else(|| "an alive member is callable".into())
}
