//! How nodes find each other.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use mesh_types::{MemberState, NodeId};
use peers_core::{MembershipView as _, Peer, PeerSource as _, PeerUpdate};
use test_cluster::{Cluster, Tuning};
use tokio::time::timeout;

use crate::{Failure, LIMIT, unused_address};

/// What a newcomer to the product must not wait longer for.
const DISCOVERY: Duration = Duration::from_secs(2);

#[tokio::test]
async fn three_nodes_see_each_other_within_two_seconds() -> Result<(), Failure> {
    let cluster = Cluster::start(3, Tuning::default()).await?;
    cluster.wait_until("all see all", DISCOVERY, Cluster::all_see_all).await?;

    for viewer in cluster.running() {
        for seen in cluster.running() {
            let view = viewer.handle().current();
            let member = view.get(seen.id()).ok_or("seen a moment ago")?;
            assert_eq!(member.state, MemberState::Alive);
            assert_eq!(member.metadata.endpoint, seen.local_addr().into());
            assert_eq!(member.metadata.region.as_str(), "local");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_follower_of_the_peers_ends_up_with_the_members_that_can_be_called() -> Result<(), Failure> {
    let mut cluster = Cluster::start(1, Tuning::fast()).await?;
    let mut updates = cluster.handle(0).subscribe();
    let mut peers: BTreeMap<NodeId, Peer> = BTreeMap::new();
    for number in 1..3 {
        let setup = cluster.setup(&format!("node-{number}"))?;
        cluster.join(setup).await?;
    }
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    cluster.kill(1);
    cluster.wait_until("the killed one is dead", LIMIT, |c| c.all_hold(1, MemberState::Dead)).await?;

    let expected = || -> BTreeMap<NodeId, Peer> {
        let view = cluster.handle(0).current();
        let others = view.members.iter().filter(|member| member.id != view.local);
        others.filter_map(Peer::from_member).map(|peer| (peer.id.clone(), peer)).collect()
    };
    assert_eq!(expected().keys().map(NodeId::as_str).collect::<Vec<_>>(), ["node-2"]);
    let follow = async {
        while let Some(update) = updates.next().await {
            match update {
                PeerUpdate::Reset(all) => peers = all.into_iter().map(|peer| (peer.id.clone(), peer)).collect(),
                PeerUpdate::Upsert(peer) => drop(peers.insert(peer.id.clone(), peer)),
                PeerUpdate::Remove(id) => drop(peers.remove(&id)),
            }
            if peers == expected() {
                return Ok(());
            }
        }
        Err("the updates ended before they said what the membership says")
    };
    Ok(timeout(LIMIT, follow).await??)
}

#[tokio::test]
async fn a_node_finds_the_mesh_through_a_seed_that_starts_later() -> Result<(), Failure> {
    let seed = unused_address([127, 0, 17, 3])?;
    let mut cluster = Cluster::start(0, Tuning::fast()).await?;
    let mut early = cluster.setup("node-0")?;
    early.options.seed_peers = vec![seed.into()];
    cluster.join(early).await?;
    let failed = "mesh_gossip_dials_total{outcome=\"timeout\"}";
    cluster.wait_until("a dial has failed", LIMIT, |c| c.node(0).metric(failed) >= 1.0).await?;

    let mut late = cluster.setup("node-1")?;
    late.options.seed_peers = Vec::new();
    (late.options.bind_address, late.options.port) = (seed.ip(), seed.port());
    cluster.join(late).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    Ok(())
}
