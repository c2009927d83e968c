//! `/control/peers` of nodes that are really there.

use serde_json::Value;
use test_cluster::{Cluster, Tuning};

use crate::control::Control;
use crate::{Failure, LIMIT};

/// What all nodes must say alike of a member.
fn facts(peer: &Value) -> [&Value; 5] {
    [&peer["nodeId"], &peer["state"], &peer["generation"], &peer["metadata"]["endpoint"], &peer["metadata"]["role"]]
}

#[tokio::test]
async fn the_control_endpoints_of_three_nodes_agree_on_the_members() -> Result<(), Failure> {
    let mut cluster = Cluster::start(4, Tuning::fast()).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    // One that has left is shown as such by all.
    cluster.stop(3).await;

    let mut told = Vec::new();
    for node in cluster.running() {
        let body = Control::start(&cluster, node, String::new).await?.get("/control/peers").await?;
        let document: Value = serde_json::from_str(&body)?;
        assert_eq!(document["localNodeId"], node.id().as_str());
        let mut peers = document["peers"].as_array().ok_or("peers is a list")?.clone();
        assert_eq!(peers[0]["nodeId"], node.id().as_str(), "the local node is first");
        assert_eq!(peers[0]["metadata"]["endpoint"], node.local_addr().to_string());
        peers.sort_by_key(|peer| peer["nodeId"].to_string());
        told.push(peers);
    }
    let [first, second, third] = told.as_slice() else { return Err("three nodes run".into()) };
    let facts_of = |peers: &[Value]| -> Vec<String> { peers.iter().map(|p| format!("{:?}", facts(p))).collect() };
    assert_eq!(facts_of(first), facts_of(second));
    assert_eq!(facts_of(first), facts_of(third));
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let states: Vec<_> = first.iter().map(|peer| ["nodeId", "state", "status"].map(|key| word(&peer[key]))).collect();
    let expected = [
        ["node-0", "Alive", "Alive"],
        ["node-1", "Alive", "Alive"],
        ["node-2", "Alive", "Alive"],
        ["node-3", "Left", "Left"],
    ];
    assert_eq!(states, expected);
    Ok(())
}
