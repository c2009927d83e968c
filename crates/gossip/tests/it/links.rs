//! Links between nodes: one for each pair.

use test_cluster::{Cluster, Node, Tuning};

use crate::{Failure, LIMIT};

const NODES: u32 = 6;

/// Returns how many dials of `node` came through to a hello.
fn dials(node: &Node) -> f64 {
    node.metric("mesh_gossip_dials_total{outcome=\"success\"}")
}

fn answers(node: &Node) -> f64 {
    node.metric("mesh_gossip_rtt_ms_count")
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_end_with_one_link_a_pair() -> Result<(), Failure> {
    // Five nodes learn of each other in the same moment, so that most pairs dial from both ends.
    let cluster = Cluster::start(NODES.try_into()?, Tuning::fast()).await?;
    let others = f64::from(NODES - 1);
    let all_linked = |c: &Cluster| c.all_see_all() && c.running().all(|n| n.metric("mesh_gossip_links") == others);
    cluster.wait_until("all are linked", LIMIT, all_linked).await?;

    // Twenty rounds outlast the second for which a duplicate lingers. Were the wrong ones closed, they would dial again.
    let goals: Vec<f64> = cluster.running().map(|node| answers(node) + 20.0 * others).collect();
    let probed = |c: &Cluster| c.running().zip(&goals).all(|(node, goal)| answers(node) >= *goal);
    let total = |c: &Cluster| c.running().map(dials).sum::<f64>();
    let before = total(&cluster);
    cluster.wait_until("twenty rounds of probes", LIMIT, probed).await?;
    assert!(all_linked(&cluster), "links were lost");
    let after = total(&cluster);
    let pairs = f64::from(NODES * (NODES - 1) / 2);
    assert!(before >= pairs && after == before, "{pairs} pairs, {before} dials, then {after}");
    Ok(())
}
