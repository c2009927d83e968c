//! Nodes that say goodbye.

use std::net::UdpSocket;
use std::time::Duration;

use mesh_types::MemberState;
use peers_core::MembershipView as _;
use test_cluster::{Cluster, Ended, Tuning};
use tokio::time::timeout;

use crate::{Failure, LIMIT};

/// Events that a node must not have seen of one that left by itself.
const FAILURES: [&str; 3] = ["suspect", "unreachable", "dead"];

#[tokio::test]
async fn a_node_that_stops_is_left_to_all_others_within_an_interval_and_never_suspected() -> Result<(), Failure> {
    let tuning = Tuning::default();
    let mut cluster = Cluster::start(4, tuning).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;

    let leaver = cluster.node(1).handle().clone();
    let seen = leaver.current().version;
    let ended = timeout(LIMIT, cluster.stop(1)).await?;
    assert!(matches!(ended, Ended::ByItself { result: Ok(()), tasks_left: 0 }), "{ended:?}");
    assert_ne!(leaver.current().version, seen, "the leaver's last view says that it has left");
    // It is back only once its farewell has arrived, so the others know by now, give or take a thread's turn.
    let took = cluster.wait_until("it has left", tuning.interval, |c| c.all_hold(1, MemberState::Left)).await?;
    assert!(took < tuning.interval, "took {took:?}");
    for node in cluster.running() {
        for event in FAILURES {
            let count = node.metric(&format!("mesh_gossip_events_total{{event=\"{event}\"}}"));
            assert!(count == 0.0, "{} saw {event} {count} times:\n{}", node.id(), node.log());
        }
        assert!(node.log().contains("peer left peer_id=node-1"), "{}", node.log());
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
