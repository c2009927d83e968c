//! Calls by name, from the command line and from applications, and what is told of them.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::application::{Application, SERVICE};
use crate::load::{client, until_all_answer};
use crate::mesh::{Mesh, Node, OPERATOR, VISITOR};
use crate::view::{Said, sum};
use crate::{Failure, Outcome};

/// An `EchoRequest` with the payload `hi`; the reply looks the same.
const MESSAGE: &[u8] = b"\x0a\x02hi";

/// Calls of the service that went well, by the worker that had them.
type Calls = BTreeMap<String, u64>;

/// Returns what the dispatcher, the workers and their applications say of calls.
async fn told(
    mesh: &Mesh,
    dispatcher: &Node,
    workers: &[Node],
    applications: &[&Application],
) -> Result<Said<Calls>, Failure> {
    let via = dispatcher.local.as_deref().ok_or("no listener")?;
    let introspected = mesh.cli(VISITOR, dispatcher, &["introspect", "--via", via]).await?.done()?;
    let introspected: Value = serde_json::from_str(&introspected)?;
    let outbounds = introspected["outbounds"].as_array().into_iter().flatten();
    let peers = outbounds.filter_map(|outbound| outbound["peers"].as_array()).flatten();
    let of_peer = |peer: &Value| Some((peer["peer"].as_str()?.to_owned(), peer["successes"].as_u64()?));
    let (mut of_applications, mut of_metrics) = (Calls::new(), Calls::new());
    for (worker, application) in workers.iter().zip(applications) {
        let metrics = mesh.metrics(worker).await?;
        let labels = [&format!("service=\"{SERVICE}\"")[..], "status=\"OK\""];
        of_metrics.insert(worker.name.clone(), sum(&metrics, "grpc_inbound_requests_total", &labels));
        of_applications.insert(worker.name.clone(), application.echo.calls().ended);
    }
    Ok([
        ("introspect of the dispatcher", peers.filter_map(of_peer).collect()),
        ("the applications", of_applications),
        ("/metrics of the workers", of_metrics),
    ])
}

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn calls_by_name_reach_the_workers_and_all_count_them_alike() -> Outcome {
    let (one, other) = (Application::start().await?, Application::start().await?);
    let (mesh, nodes) = Mesh::start(&[&one, &other]).await?;
    let [dispatcher, gateway, workers @ ..] = nodes.as_slice() else { return Err("four nodes were started".into()) };
    fs::write(mesh.path().join("message"), MESSAGE)?;
    let mut client = client(dispatcher).await?;
    until_all_answer(&mut client, &[&one, &other]).await?;

    let via = dispatcher.local.as_deref().ok_or("no listener")?;
    let call = ["Unary", "--encoding", "protobuf", "--data-file", "message", "--via"];
    let many = ["-n", "300", "-c", "8", "-o", "json"];
    let benchmark = [&["benchmark", SERVICE][..], &call, &[via], &many].concat();
    let report: Value = serde_json::from_str(&mesh.cli(OPERATOR, dispatcher, &benchmark).await?.done()?)?;
    assert_eq!((report["ok"].as_u64(), report["failed"].as_u64()), (Some(300), Some(0)), "{report}");
    let applications = [&one, &other];
    let calls = applications.map(|application| application.echo.calls().ended);
    assert!(calls.iter().sum::<u64>() >= 302 && calls.iter().all(|count| *count > 0), "{calls:?}");
    let expected: Calls = workers.iter().map(|worker| worker.name.clone()).zip(calls).collect();
    let ask = async || told(&mesh, dispatcher, workers, &applications).await;
    mesh.agreed("a benchmark", &expected, ask).await?;

    // From outside by the gateway, over mutual TLS; and to a worker itself.
    for node in [gateway, workers.first().ok_or("no worker")?] {
        let address = format!("https://{}", node.rpc);
        let request = [&["request", SERVICE][..], &call, &[&address]].concat();
        let reply = mesh.cli(VISITOR, node, &request).await?.done()?;
        assert_eq!(reply.as_bytes(), MESSAGE, "{}", node.name);
    }
    Ok(())
}
