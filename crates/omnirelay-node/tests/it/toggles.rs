//! What a running node logs, changed from outside.

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::api::{ask, credentials, post};
use crate::process::{TestResult, configuration, line_with, node, send, within_limit};

#[tokio::test]
async fn a_running_node_logs_what_it_is_told_to() -> TestResult {
    let dir = TempDir::new()?;
    let file = configuration(dir.path(), "mesh.gossip.enabled = false\nlog.format = 'json'")?;
    let mut child = node(dir.path(), &["run", "--config", file]).spawn()?;
    let mut log = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
    let ready: Value = serde_json::from_str(&line_with(&mut log, "node is ready").await?)?;
    let control: SocketAddr = ready["control"].as_str().ok_or("no control address")?.parse()?;
    let (own, other) = (credentials(dir.path(), "node-a")?, credentials(dir.path(), "node-b")?);

    let louder = post("/omnirelay/control/logging", &json!({"targets": {"mesh_server": "debug"}}));
    assert_eq!(ask(&other, control, &louder).await?.0, 403);
    let targets = json!({"mesh_server": "debug"});
    let then = json!({"nodeId": "node-a", "level": "info", "targets": targets, "filter": "info,mesh_server=debug"});
    assert_eq!(ask(&own, control, &louder).await?, (200, then));
    let changed: Value = serde_json::from_str(&line_with(&mut log, "log filter changed").await?)?;
    let by = "spiffe://mesh.example/cluster/alpha/role/worker/node/node-a";
    assert_eq!((&changed["by"], &changed["filter"]), (&json!(by), &json!("info,mesh_server=debug")));
    let shown = ask(&other, control, "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
    assert_eq!(shown.0, 200);
    line_with(&mut log, "\"level\":\"DEBUG\"").await?;

    let silent = post("/omnirelay/control/logging", &json!({"filter": "off"}));
    assert_eq!(ask(&own, control, &silent).await?.0, 200);
    send(&child, Signal::SIGTERM)?;
    assert_eq!(within_limit(child.wait()).await??.code(), Some(0));
    while let Some(line) = log.next_line().await? {
        assert!(!line.contains("node has stopped"), "{line}");
    }
    Ok(())
}
