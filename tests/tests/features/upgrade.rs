//! Nodes that are emptied before they are replaced.

use serde_json::json;
use test_rpc::rpc::EchoRequest;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::application::Application;
use crate::load::{client, says, until_all_answer};
use crate::mesh::{Mesh, Node, VISITOR};
use crate::process::within_limit;
use crate::view::{Said, sum};
use crate::{Failure, Outcome};

/// How many calls are under way, and how many were cut off.
type Progress = (u64, u64);

async fn progress(mesh: &Mesh, node: &Node) -> Result<Said<Progress>, Failure> {
    let status = mesh.cli(VISITOR, node, &["mesh", "upgrade", "status"]).await?.done()?;
    let before =
        |words: &str| -> Option<u64> { status.split_once(words)?.0.split_whitespace().next_back()?.parse().ok() };
    let document = mesh.document(node, "/control/upgrade").await?;
    let number = |field: &str| document[field].as_u64().unwrap_or(u64::MAX);
    let metrics = mesh.metrics(node).await?;
    // Ours to the control endpoint is one of HTTP/1; calls of the mesh are not.
    let of_mesh = ["http2", "http3"].map(|protocol| sum(&metrics, "grpc_inbound_inflight", &[protocol]));
    Ok([
        (
            "mesh upgrade status",
            (before(" under way").ok_or_else(|| status.clone())?, before(" cut off").unwrap_or_default()),
        ),
        ("/control/upgrade", (number("activeRequests"), number("cutRequests"))),
        ("/metrics", (of_mesh.iter().sum(), sum(&metrics, "omnirelay_drain_cut_total", &[]))),
    ])
}

/// Has a call under way that the application does not answer before it is told to.
async fn begin(
    client: &EchoClient<Channel>,
    application: &Application,
) -> Result<JoinSet<Result<(), Status>>, Failure> {
    let (mut client, mut calls) = (client.clone(), JoinSet::new());
    let running = application.echo.calls().running();
    calls.spawn(async move { client.unary(EchoRequest { held: true, ..EchoRequest::default() }).await.map(drop) });
    within_limit("a call", application.echo.wait_for(|now| now.running() > running)).await?;
    Ok(calls)
}

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn an_upgrade_waits_for_calls_under_way_cuts_those_that_last_and_ends_in_a_node_that_works_again() -> Outcome {
    let application = Application::start().await?;
    let (mesh, nodes) = Mesh::start(&[&application]).await?;
    let [_, gateway, worker] = nodes.as_slice() else { return Err("three nodes were started".into()) };
    let mut client = client(gateway).await?;
    until_all_answer(&mut client, &[&application]).await?;
    mesh.agreed("the start", &(0, 0), async || progress(&mesh, worker).await).await?;

    let mut lasting = begin(&client, &application).await?;
    mesh.agreed("a call began", &(1, 0), async || progress(&mesh, worker).await).await?;
    let drain = ["mesh", "upgrade", "drain", &worker.name, "--within", "400ms", "--reason", "new kernel", "--wait"];
    assert_eq!(mesh.operate(worker, &drain).await?, "worker-0  drained  0 under way  1 cut off  new kernel\n");
    let cut = within_limit("the call's end", lasting.join_next()).await?.ok_or("there is no call")??;
    assert_eq!(cut.map_err(|status| status.code()), Err(Code::Unavailable));
    mesh.agreed("the deadline", &(0, 1), async || progress(&mesh, worker).await).await?;
    let refused = client.unary(says("late")).await.map(drop).map_err(|status| status.code());
    assert_eq!(refused, Err(Code::ResourceExhausted), "its one node takes no calls");

    assert_eq!(mesh.operate(worker, &["mesh", "upgrade", "resume"]).await?, "worker-0  active  0 under way\n");
    let document = mesh.document(worker, "/control/upgrade").await?;
    assert_eq!((&document["state"], &document["lifecycle"]), (&json!("active"), &json!("active")));
    let again = begin(&client, &application);
    let mut kept = within_limit("calls come again", again).await??;
    let said = mesh.operate(worker, &["mesh", "upgrade", "drain", &worker.name, "--within", "1m"]).await?;
    assert!(said.starts_with("worker-0  draining  1 under way  60 s left"), "{said}");
    application.echo.release();
    let answered = within_limit("the call's end", kept.join_next()).await?.ok_or("there is no call")??;
    assert_eq!(answered.map_err(|status| status.code()), Ok(()));
    let state = async || Ok::<_, Failure>(mesh.document(worker, "/control/upgrade").await?["state"].clone());
    mesh.agreed("its last call", &json!("drained"), async || {
        let status = mesh.cli(VISITOR, worker, &["mesh", "upgrade", "status", "-o", "json"]).await?.done()?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        let draining = mesh.document(worker, "/readyz").await?["draining"] == json!(true);
        let ready = if draining { json!("drained") } else { json!("ready") };
        Ok([("mesh upgrade status", status["state"].clone()), ("/control/upgrade", state().await?), ("/readyz", ready)])
    })
    .await
}
