//! Labels that are changed while nodes run.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::application::Application;
use crate::load::{Load, client, until_all_answer};
use crate::mesh::{Mesh, Node, VISITOR};
use crate::process::within_limit;
use crate::view::Said;
use crate::{Failure, Outcome};

type Labels = BTreeMap<String, String>;

/// Returns what a node says of the labels of `of`.
async fn labels(mesh: &Mesh, node: &Node, of: &str) -> Result<Said<Labels>, Failure> {
    let list = mesh.cli(VISITOR, node, &["mesh", "peers", "list", "-o", "wide"]).await?.done()?;
    let row = list.lines().find(|line| line.split_whitespace().next() == Some(of)).ok_or("no such row")?;
    let cell = row.split_whitespace().next_back().unwrap_or_default();
    let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let peers = mesh.document(node, "/control/peers").await?;
    let health = mesh.document(node, "/omnirelay/control/lease-health").await?;
    let of_peer = |document: &Value, id: &str, labels: fn(&Value) -> &Value, prefix: &str| -> Labels {
        let all = document["peers"].as_array().into_iter().flatten();
        let peer = all.filter(|peer| peer[id] == of).filter_map(|peer| labels(peer).as_object()).flatten();
        let text =
            |(key, value): (&String, &Value)| Some((key.strip_prefix(prefix)?.to_owned(), value.as_str()?.to_owned()));
        peer.filter_map(text).collect()
    };
    Ok([
        ("mesh peers list", cell.split(',').filter_map(pair).collect()),
        ("/control/peers", of_peer(&peers, "nodeId", |peer| &peer["metadata"]["labels"], "")),
        ("lease-health", of_peer(&health, "peerId", |peer| &peer["metadata"], "label.")),
    ])
}

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn a_label_is_shown_alike_by_all_and_steers_calls_at_once() -> Outcome {
    let (one, other) = (Application::start().await?, Application::start().await?);
    let (mesh, nodes) = Mesh::start(&[&one, &other]).await?;
    let [dispatcher, gateway, worker, _] = nodes.as_slice() else { return Err("four nodes were started".into()) };
    let mut client = client(dispatcher).await?;
    until_all_answer(&mut client, &[&one, &other]).await?;
    let load = Load::start(&client);
    let rack = || ("rack".to_owned(), "r7".to_owned());
    let cordoned = || ("peer.cordoned".to_owned(), "true".to_owned());
    for (change, expected, gets_calls) in [
        (&["rack=r7", "peer.cordoned=true"][..], Labels::from([rack(), cordoned()]), false),
        (&["peer.cordoned-"], Labels::from([rack()]), true),
    ] {
        let label = [&["mesh", "peers", "label", "self"][..], change].concat();
        let said = mesh.operate(worker, &label).await?;
        let lines: String = expected.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        assert_eq!(said, lines);
        for node in [dispatcher, gateway, worker] {
            let what = format!("{change:?}, seen by {}", node.name);
            mesh.agreed(&what, &expected, async || labels(&mesh, node, &worker.name).await).await?;
        }
        load.more(20).await?;
        let before = one.echo.calls().begun;
        if gets_calls {
            within_limit("calls come again", one.echo.wait_for(|calls| calls.begun > before)).await?;
        } else {
            load.more(100).await?;
            assert_eq!(one.echo.calls().begun, before, "{change:?}");
        }
    }
    load.end().await
}
