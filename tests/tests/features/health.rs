//! A node that is there and that calls do not reach.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use test_rpc::Way;
use tokio::time::interval;

use crate::application::{Application, SERVICE};
use crate::load::{client, says, until_all_answer};
use crate::mesh::{Mesh, Node, VISITOR};
use crate::process::within_limit;
use crate::view::{Said, series, sum};
use crate::{Failure, Outcome};

/// How many members a node holds for what, and how many of its calls have not reached the one in question.
type Health = (BTreeMap<String, u64>, u64);

fn counted(words: impl IntoIterator<Item = String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    words.into_iter().for_each(|word| *counts.entry(word).or_default() += 1);
    counts
}

/// Returns the cells of a column.
fn column(table: &str, title: &str) -> Result<Vec<String>, Failure> {
    // Titles and cells are at least three blanks apart; a title may have one in it.
    let cells =
        |line: &str| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
    let mut rows = table.lines().map(cells);
    let titles: Vec<String> = rows.next().ok_or("no table")?;
    let place = titles.iter().position(|known| known == title).ok_or_else(|| format!("no {title}: {table}"))?;
    Ok(rows.filter_map(|row| row.get(place).cloned()).collect())
}

/// Returns what command line, control endpoint and metrics of `node` say, `worker` being the one in question.
async fn health(mesh: &Mesh, node: &Node, worker: &str) -> Result<Said<Health>, Failure> {
    let table = mesh.cli(VISITOR, node, &["mesh", "peers", "list", "-o", "wide"]).await?.done()?;
    let nodes = column(&table, "NODE")?;
    let place = nodes.iter().position(|name| name == worker).ok_or("no such row")?;
    let missed = column(&table, "UNREACHABLE")?.get(place).ok_or("a short row")?.parse()?;

    let document = mesh.document(node, "/control/peers").await?;
    let peers = document["peers"].as_array().ok_or("no peers")?;
    let words = peers.iter().filter_map(|peer| peer["health"].as_str().map(str::to_owned));
    let peer = peers.iter().find(|peer| peer["nodeId"] == worker).ok_or("no such peer")?;
    let unreachable = peer["calls"]["unreachable"].as_u64().ok_or_else(|| peer.to_string())?;

    let metrics = mesh.metrics(node).await?;
    let states = ["unknown", "healthy", "degraded", "unhealthy"].map(|state| {
        (state.to_owned(), sum(&metrics, "omnirelay_peer_health_state", &[&format!("state=\"{state}\"")]))
    });
    let by_state = states.into_iter().filter(|(_, count)| *count > 0).collect();
    let counted_there = sum(&metrics, "omnirelay_peer_unreachable_total", &[&format!("rpc_peer=\"{worker}\"")]);
    Ok([
        ("mesh peers list", (counted(column(&table, "HEALTH")?), missed)),
        ("/control/peers", (counted(words), unreachable)),
        ("/metrics", (by_state, counted_there)),
    ])
}

fn breaker(metrics: &str, worker: &str) -> f64 {
    let is_its = |labels: &str| labels.contains(&format!("rpc_peer=\"{worker}\""));
    series(metrics, "omnirelay_peer_breaker_state").filter(|(labels, _)| is_its(labels)).map(|(_, state)| state).sum()
}

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn a_worker_that_calls_do_not_reach_is_told_of_alike_and_so_is_that_they_do_again() -> Outcome {
    let (near, far, way) = (Application::start().await?, Application::start().await?, Way::blocked().await?);
    let mut mesh = Mesh::new()?;
    let entry = format!("rpc.chooser = 'round-robin'\nrpc.local = 'unix:{}'", mesh.path().join("a.sock").display());
    let dispatcher = mesh.node("dispatcher", "dispatcher", &entry).await?;
    let _near = mesh.worker("worker-0", &near).await?;
    let advertised = format!(
        "rpc.services = {{ '{SERVICE}' = 'http://{}' }}\nrpc.advertisePort = {}\nmesh.gossip.http3Support = false",
        far.address,
        way.address().port()
    );
    let worker = mesh.node("worker-1", "worker", &advertised).await?;
    way.lead_to(worker.rpc);
    let mut client = client(&dispatcher).await?;
    until_all_answer(&mut client, &[&near, &far]).await?;
    // Whoever was called before the way was open has told of that, too.
    let ask = async || health(&mesh, &dispatcher, &worker.name).await;
    let before = ask().await?[1].1.1;
    let of = |words: &[(&str, u64)], unreachable| -> Health {
        (words.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect(), unreachable)
    };
    mesh.agreed("the start", &of(&[("healthy", 3)], before), ask).await?;

    way.block();
    let mut looks = interval(Duration::from_millis(20));
    let lost = async {
        while breaker(&mesh.metrics(&dispatcher).await?, &worker.name) != 1.0 {
            looks.tick().await;
            // What was under way on a connection that was cut has failed.
            drop(client.unary(says("a")).await);
        }
        Ok::<_, Failure>(())
    };
    within_limit("the breaker opens", lost).await??;
    let missed = peer_calls(&mesh, &dispatcher, &worker.name).await?;
    mesh.agreed("the way was blocked", &of(&[("healthy", 2), ("unhealthy", 1)], missed), ask).await?;

    way.lead_to(worker.rpc);
    let found = async {
        while breaker(&mesh.metrics(&dispatcher).await?, &worker.name) != 0.0 {
            looks.tick().await;
            client.unary(says("a")).await?;
        }
        Ok::<_, Failure>(())
    };
    within_limit("the breaker closes", found).await??;
    let in_all = peer_calls(&mesh, &dispatcher, &worker.name).await?;
    mesh.agreed("the way was open again", &of(&[("healthy", 3)], in_all), ask).await
}

/// Returns how many calls of `node` have not reached `worker`.
async fn peer_calls(mesh: &Mesh, node: &Node, worker: &str) -> Result<u64, Failure> {
    let document = mesh.document(node, "/control/peers").await?;
    let peer = document["peers"].as_array().into_iter().flatten().find(|peer| peer["nodeId"] == worker);
    peer.and_then(|peer: &Value| peer["calls"]["unreachable"].as_u64()).ok_or_else(|| "no such peer".into())
}
