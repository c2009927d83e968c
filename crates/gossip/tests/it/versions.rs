//! Nodes that speak other protocol numbers, as the node that dials them sees it.

use test_cluster::{Cluster, Tuning};
use tokio::time::timeout;

use crate::raw_peer::RawPeer;
use crate::{Failure, LIMIT};

/// Starts a node with `mallory` as its seed.
async fn start() -> Result<(Cluster, RawPeer), Failure> {
    let mut cluster = Cluster::start(0, Tuning::fast()).await?;
    let mallory = RawPeer::listen(cluster.authority().credentials("mallory")?)?;
    let mut setup = cluster.setup("node-0")?;
    setup.options.seed_peers = vec![mallory.address()?.into()];
    cluster.join(setup).await?;
    Ok((cluster, mallory))
}

async fn check_log(cluster: &Cluster, words: &[&str]) -> Result<(), Failure> {
    let told = |c: &Cluster| {
        c.node(0).log().lines().any(|line| line.contains("dial failed") && words.iter().all(|word| line.contains(word)))
    };
    cluster.wait_until("it is logged", LIMIT, told).await?;
    assert!(cluster.node(0).metric("mesh_gossip_dials_total{outcome=\"refused\"}") >= 1.0);
    Ok(())
}

#[tokio::test]
async fn an_answer_with_a_protocol_number_outside_the_range_is_refused_and_told_on_both_sides() -> Result<(), Failure> {
    let (cluster, mallory) = start().await?;
    let mut caller = timeout(LIMIT, mallory.called()).await??;
    caller.answer(&mallory, 9).await?;
    let closed = timeout(LIMIT, caller.connection.closed()).await?.to_string();
    assert!(closed.contains("no common protocol: it speaks gossip protocol 9 to 9, this node 1 to 1"), "{closed}");
    check_log(&cluster, &["it speaks gossip protocol 9 to 9, this node 1 to 1"]).await
}

#[tokio::test]
async fn what_an_incompatible_node_says_as_it_refuses_is_logged_by_who_dialled_it() -> Result<(), Failure> {
    let (cluster, mallory) = start().await?;
    let caller = timeout(LIMIT, mallory.called()).await??;
    let reason = b"no common protocol: it speaks gossip protocol 1 to 1, this node 7 to 9";
    caller.connection.close(18_u32.into(), reason);
    check_log(&cluster, &["no common protocol: it speaks gossip protocol 1 to 1, this node 7 to 9"]).await
}
