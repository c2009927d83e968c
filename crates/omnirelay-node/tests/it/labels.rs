//! Labels that are changed on one node and seen by all.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::interval;

use crate::api;
use crate::process::{TestResult, line_with, node, send, within_limit};

/// Three nodes whose control endpoints want certificates.
struct Mesh {
    process: Child,
    /// Held so that the nodes' parent can go on writing.
    _lines: Lines<BufReader<ChildStdout>>,
    control: Vec<SocketAddr>,
    certificates: PathBuf,
}

impl Mesh {
    async fn start(dir: &Path) -> Result<Self, Box<dyn Error>> {
        // Nodes without a demo announce no service: what they say of themselves is of version 1.
        let mut process = node(dir, &["dev", "--tls-control", "--calls-per-second", "0"]).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no stdout")?).lines();
        let mut control = Vec::new();
        for name in ["node-a", "node-b", "node-c"] {
            let line = line_with(&mut lines, &format!("{name}  Alive")).await?;
            let mut cells = line.split_whitespace();
            control.push(cells.find_map(|cell| cell.strip_prefix("https://")).ok_or("no control URL")?.parse()?);
        }
        line_with(&mut lines, "Ctrl-C stops").await?;
        let certificates = fs::read_dir(dir)?.next().ok_or("no certificates")??.path();
        Ok(Self { process, _lines: lines, control, certificates })
    }

    /// Asks a node with the certificate of `client`, and returns status and body.
    async fn ask(&self, number: usize, client: &str, request: &str) -> Result<(u16, Value), Box<dyn Error>> {
        let address = self.control.get(number).ok_or("no such node")?;
        api::ask(&api::credentials(&self.certificates, client)?, *address, request).await
    }

    async fn change(&self, number: usize, client: &str, labels: Value) -> Result<(u16, Value), Box<dyn Error>> {
        self.post(number, client, "labels", json!({ "labels": labels })).await
    }

    async fn post(&self, at: usize, client: &str, what: &str, body: Value) -> Result<(u16, Value), Box<dyn Error>> {
        self.ask(at, client, &api::post(&format!("/control/{what}"), &body)).await
    }

    /// Returns the labels of `node-a` as a node sees them.
    async fn labels_of_a(&self, number: usize) -> Result<Value, Box<dyn Error>> {
        Ok(self.metadata_of_a(number).await?.get("labels").cloned().unwrap_or_default())
    }

    async fn metadata_of_a(&self, number: usize) -> Result<Value, Box<dyn Error>> {
        let request = "GET /control/peers HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let (_, document) = self.ask(number, "node-b", request).await?;
        let peers = document.get("peers").and_then(Value::as_array).ok_or("no peers")?;
        let a = peers.iter().find(|peer| peer.get("nodeId") == Some(&"node-a".into())).ok_or("no node-a")?;
        Ok(a.get("metadata").cloned().unwrap_or_default())
    }

    /// Waits until `node-a` is `lifecycle`, as a node sees it.
    async fn until_a_is(&self, number: usize, lifecycle: &str) -> TestResult {
        let mut ticks = interval(Duration::from_millis(5));
        while self.metadata_of_a(number).await?["lifecycle"] != json!(lifecycle) {
            ticks.tick().await;
        }
        Ok(())
    }

    /// Returns the status and the words of `node-a` about whether it is ready.
    async fn readiness_of_a(&self) -> Result<(u16, Value), Box<dyn Error>> {
        let request = "GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let (status, document) = self.ask(0, "node-b", request).await?;
        Ok((status, document.get("status").cloned().unwrap_or_default()))
    }
}

#[tokio::test]
async fn a_label_set_on_one_node_is_seen_by_the_others() -> TestResult {
    let dir = TempDir::new()?;
    let mut mesh = Mesh::start(dir.path()).await?;

    let refused = mesh.change(0, "node-b", json!({"rack": "r9"})).await?;
    assert_eq!((refused.0, refused.1.pointer("/error/code")), (403, Some(&"permission-denied".into())));
    let invalid = mesh.change(0, "operator", json!({"rack": "r".repeat(129)})).await?;
    let message = "what the node says of itself would not be valid: own metadata is not valid: record field `mesh_version`, \
                   `labels` or `services` is not valid: value of label `rack` is 129 bytes long, more than 128";
    assert_eq!((invalid.0, invalid.1.pointer("/error/message")), (400, Some(&message.into())));

    let changed = mesh.change(0, "operator", json!({"rack": "r2", "never": null})).await?;
    assert_eq!(changed, (200, json!({"nodeId": "node-a", "metadataVersion": 2, "labels": {"rack": "r2"}})));
    for number in 0..3 {
        let seen = async {
            let mut ticks = interval(Duration::from_millis(5));
            while mesh.labels_of_a(number).await? != json!({"rack": "r2"}) {
                ticks.tick().await;
            }
            Ok::<_, Box<dyn Error>>(())
        };
        within_limit(seen).await??;
    }
    send(&mesh.process, Signal::SIGINT)?;
    assert_eq!(within_limit(mesh.process.wait()).await??.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_drained_tells_all_and_is_not_ready_until_it_is_active_again() -> TestResult {
    let dir = TempDir::new()?;
    let mut mesh = Mesh::start(dir.path()).await?;
    for (lifecycle, ready) in
        [("draining", (503, "draining")), ("cordoned", (200, "healthy")), ("active", (200, "healthy"))]
    {
        let refused = mesh.post(0, "node-b", "lifecycle", json!({ "lifecycle": lifecycle })).await?;
        assert_eq!(refused.0, 403);
        let (status, answer) = mesh.post(0, "operator", "lifecycle", json!({ "lifecycle": lifecycle })).await?;
        assert_eq!((status, &answer["lifecycle"], &answer["unaware"]), (200, &json!(lifecycle), &json!([])));
        assert_eq!(mesh.readiness_of_a().await?, (ready.0, json!(ready.1)));
        for number in 0..3 {
            within_limit(mesh.until_a_is(number, lifecycle)).await??;
        }
    }
    send(&mesh.process, Signal::SIGINT)?;
    assert_eq!(within_limit(mesh.process.wait()).await??.code(), Some(0));
    Ok(())
}
