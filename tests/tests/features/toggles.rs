//! What is changed while nodes run: what they log, and which traces they keep.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::mesh::{Mesh, OPERATOR, VISITOR};
use crate::process::within_limit;
use crate::{Failure, Outcome};

const LOGGING: &str = "/omnirelay/control/logging";
const TRACING: &str = "/omnirelay/control/tracing";

fn error_of(answer: &(u16, Value)) -> (u16, &Value) {
    (answer.0, answer.1.pointer("/error/code").unwrap_or(&Value::Null))
}

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn an_operator_changes_what_a_node_logs() -> Outcome {
    let mut mesh = Mesh::new()?;
    let node = mesh.node("node-a", "gateway", "").await?;
    let louder = json!({"targets": {"mesh_server": "debug"}});
    let refused = mesh.post(VISITOR, &node, LOGGING, &louder).await?;
    assert_eq!(error_of(&refused), (403, &json!("permission-denied")));
    assert_eq!(mesh.document(&node, LOGGING).await?["filter"], json!("info"));
    assert!(!mesh.logged("node-a").contains("DEBUG"), "it logs more than it was told to");

    let (status, answer) = mesh.post(OPERATOR, &node, LOGGING, &louder).await?;
    assert_eq!((status, &answer["filter"]), (200, &json!("info,mesh_server=debug")));
    assert_eq!(mesh.document(&node, LOGGING).await?, answer);
    let debugs = async {
        while !mesh.logged("node-a").contains("DEBUG mesh_server") {
            mesh.get(&node, "/healthz").await?;
        }
        Ok::<_, Failure>(())
    };
    within_limit("a line of debug", debugs).await??;
    let quieter = mesh.post(OPERATOR, &node, LOGGING, &json!({"filter": "warn"})).await?;
    assert_eq!((quieter.0, &quieter.1["filter"]), (200, &json!("warn")));
    let lines = mesh.logged("node-a").lines().count();
    mesh.get(&node, "/healthz").await?;
    assert_eq!(mesh.logged("node-a").lines().count(), lines, "{}", mesh.logged("node-a"));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn an_operator_changes_which_traces_a_node_keeps_if_they_go_anywhere() -> Outcome {
    let mut mesh = Mesh::new()?;
    let collector = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let traces = format!("traces.endpoint = 'http://{}'", collector.local_addr()?);
    let (traced, untraced) = (mesh.node("node-a", "gateway", &traces).await?, mesh.node("node-b", "worker", "").await?);
    let less = json!({"sampleRatio": 0.25});
    assert_eq!(mesh.document(&traced, TRACING).await?["sampleRatio"], json!(1.0));
    assert_eq!(mesh.post(VISITOR, &traced, TRACING, &less).await?.0, 403);
    let (status, answer) = mesh.post(OPERATOR, &traced, TRACING, &less).await?;
    assert_eq!((status, &answer["sampleRatio"]), (200, &json!(0.25)));
    assert_eq!(mesh.document(&traced, TRACING).await?, answer);
    assert_eq!(mesh.post(OPERATOR, &traced, TRACING, &json!({"sampleRatio": 1.5})).await?.0, 400);
    assert_eq!(mesh.document(&traced, TRACING).await?, answer);
    assert_eq!(mesh.post(OPERATOR, &untraced, TRACING, &less).await?.0, 404);
    Ok(())
}
