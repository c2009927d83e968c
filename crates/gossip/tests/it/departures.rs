//! Nodes that say goodbye.

use std::net::UdpSocket;
use std::time::Duration;

use mesh_types::{MemberState, Membership, NodeId};
use peers_core::MembershipView as _;
use test_cluster::{Cluster, Ended, Node, Tuning};
use tokio::time::timeout;

use crate::{Failure, LIMIT};

fn holds_left(view: &Membership, subject: &NodeId) -> bool {
    view.get(subject).is_some_and(|member| member.state == MemberState::Left)
}

/// Returns how often `node` logged that it missed answers of node-1, or held it for dead.
fn failures(node: &Node) -> usize {
    let words = ["suspect", "unreachable", "dead"].map(|event| format!("peer {event} peer_id=node-1 "));
    node.log().lines().filter(|line| words.iter().any(|word| line.contains(word))).count()
}

#[tokio::test]
async fn a_node_that_stops_is_left_to_all_others_within_an_interval_and_never_suspected() -> Result<(), Failure> {
    let tuning = Tuning::default();
    let mut cluster = Cluster::start(4, tuning).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;

    // A busy machine may have been late with an answer before.
    let before: Vec<usize> = [0, 2, 3].map(|number| failures(cluster.node(number))).into();
    let others = [0, 2, 3].map(|number| cluster.handle(number).clone());
    let leaver = cluster.node(1).id().clone();
    let all_hold_it_left = async {
        for other in &others {
            let mut view = other.current();
            while !holds_left(&view, &leaver) {
                other.changed(view.version).await;
                view = other.current();
            }
        }
    };
    let (ended, left_to_all) = tokio::join!(cluster.stop(1), timeout(tuning.interval, all_hold_it_left));
    left_to_all?;
    assert!(matches!(ended, Ended::ByItself { result: Ok(()), tasks_left: 0 }), "{ended:?}");
    let after: Vec<usize> = cluster.running().map(failures).collect();
    assert_eq!(after, before);
    for node in cluster.running() {
        assert!(node.log().contains("peer left peer_id=node-1 "), "{}", node.log());
    }
    Ok(())
}

#[tokio::test]
async fn who_has_left_stays_left_while_the_others_go_on_probing() -> Result<(), Failure> {
    let mut cluster = Cluster::start(3, Tuning::fast()).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    cluster.stop(2).await;
    let answers = |c: &Cluster| c.node(0).metric("mesh_gossip_rtt_ms_count");
    let before = answers(&cluster);
    cluster.wait_until("twelve more probes", LIMIT, |c| answers(c) >= before + 12.0).await?;
    assert!(cluster.all_hold(2, MemberState::Left) && cluster.all_see_all());
    Ok(())
}

#[tokio::test]
async fn when_all_have_stopped_no_task_and_no_port_is_left() -> Result<(), Failure> {
    let mut cluster = Cluster::start(3, Tuning::fast()).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    for number in 0..3 {
        let ended = timeout(LIMIT, cluster.stop(number)).await?;
        assert!(matches!(ended, Ended::ByItself { result: Ok(()), tasks_left: 0 }), "node-{number}: {ended:?}");
        UdpSocket::bind(cluster.node(number).local_addr())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_node_alone_stops_at_once() -> Result<(), Failure> {
    let mut cluster = Cluster::start(1, Tuning::fast()).await?;
    let ended = timeout(Duration::from_secs(5), cluster.stop(0)).await?;
    assert!(matches!(ended, Ended::ByItself { result: Ok(()), tasks_left: 0 }), "{ended:?}");
    Ok(())
}
