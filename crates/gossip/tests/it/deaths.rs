//! Nodes that are killed, and come back.

use std::time::Duration;

use gossip::RunError;
use mesh_types::MemberState;
use peers_core::MembershipView as _;
use test_cluster::{Cluster, Ended, Tuning};
use tokio::time::timeout;

use crate::{Failure, LIMIT};

/// What a busy machine may add to a death.
const SLACK: Duration = Duration::from_secs(2);

/// Returns whether each node has an answer to a probe of each other.
fn all_probed(cluster: &Cluster) -> bool {
    cluster.running().all(|node| {
        let view = node.handle().current();
        let probed = view.members.iter().filter(|member| member.rtt.is_some()).count();
        probed + 1 == cluster.running().count()
    })
}

#[tokio::test]
async fn a_killed_node_is_unreachable_then_dead_to_all_others_within_the_suspicion_interval() -> Result<(), Failure> {
    let tuning = Tuning { suspicion_interval: Duration::from_secs(2), ..Tuning::fast() };
    let mut cluster = Cluster::start(3, tuning).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    // Who has no round trip of a member yet waits longer for it.
    cluster.wait_until("all know their round trips", LIMIT, all_probed).await?;
    cluster.kill(2);
    let first = cluster.wait_until("it is unreachable", LIMIT, |c| c.all_hold(2, MemberState::Unreachable)).await?;
    let then = cluster.wait_until("it is dead", LIMIT, |c| c.all_hold(2, MemberState::Dead)).await?;
    assert!(first + then <= tuning.suspicion_interval + SLACK, "unreachable after {first:?}, dead {then:?} later");
    for node in cluster.running() {
        for event in ["unreachable", "dead"] {
            let count = node.metric(&format!("mesh_gossip_events_total{{event=\"{event}\"}}"));
            assert!(count == 1.0, "{} saw {event} {count} times:\n{}", node.id(), node.log());
        }
        assert!(node.metric("mesh_gossip_links") == 1.0, "{} keeps its link to the dead", node.id());
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_node_comes_back_at_another_port_in_a_new_generation() -> Result<(), Failure> {
    let mut cluster = Cluster::start(3, Tuning::fast()).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    let first_life = cluster.handle(0).current().get(cluster.node(2).id()).ok_or("all see all")?.boot_epoch;
    let same_identity = cluster.setup("node-2")?;
    let old_address = cluster.node(2).local_addr();
    cluster.kill(2);
    cluster.wait_until("it is dead", LIMIT, |c| c.all_hold(2, MemberState::Dead)).await?;

    let again = cluster.join(same_identity).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    assert_ne!(cluster.node(again).local_addr(), old_address);
    for node in cluster.running() {
        let view = node.handle().current();
        let back = view.get(cluster.node(again).id()).ok_or("all see all")?;
        assert!(back.boot_epoch > first_life, "{}: {} after {first_life}", node.id(), back.boot_epoch);
        assert_eq!(back.metadata.endpoint, cluster.node(again).local_addr().into());
    }
    Ok(())
}

#[tokio::test]
async fn the_older_of_two_processes_with_one_certificate_stops_and_says_why() -> Result<(), Failure> {
    let mut cluster = Cluster::start(3, Tuning::fast()).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    let mut second = cluster.setup("node-2")?;
    second.options.seed_peers.truncate(1);
    let second = cluster.join(second).await?;

    let ended = timeout(LIMIT, cluster.ended(2)).await?;
    let Ended::ByItself { result: Err(error), tasks_left: 0 } = ended else { return Err(format!("{ended:?}").into()) };
    let address = cluster.node(second).local_addr();
    assert!(
        matches!(&error, RunError::Superseded { node, endpoint }
        if node.as_str() == "node-2" && *endpoint == address.into()),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!("another process runs as `node-2` at {address}: stop one of them, or give it a name of its own")
    );
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    assert_eq!(cluster.running().count(), 3);
    Ok(())
}
