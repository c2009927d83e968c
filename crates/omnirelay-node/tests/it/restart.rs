//! A node that is killed and started again.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::api::credentials;
use crate::process::{TestResult, configuration, line_with, node, within_limit};

/// Starts `node-a` with its control endpoint at `address`, and waits until it is ready; returns where it listens.
async fn start(dir: &Path, address: SocketAddr) -> Result<(Child, SocketAddr), Box<dyn Error>> {
    let args = ["run", "--config", "node.toml", "--control-address", &address.to_string()];
    let mut child = node(dir, &args).spawn()?;
    let mut log = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
    let ready: serde_json::Value = serde_json::from_str(&line_with(&mut log, "node is ready").await?)?;
    let control = ready.get("control").and_then(serde_json::Value::as_str).ok_or("no control address")?;
    Ok((child, control.parse()?))
}

/// Connects over QUIC as `node-b`.
async fn connect(dir: &Path, address: SocketAddr) -> Result<(Endpoint, quinn::Connection), Box<dyn Error>> {
    let credentials = credentials(dir, "node-b")?;
    let crypto = QuicClientConfig::try_from(credentials.client_config(&[b"h3"]))?;
    let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let connecting = endpoint.connect_with(ClientConfig::new(Arc::new(crypto)), address, "unused")?;
    let connection = within_limit(connecting).await??;
    Ok((endpoint, connection))
}

#[tokio::test]
async fn a_killed_node_that_keeps_its_state_tells_its_old_clients_at_once_that_it_was_started_anew() -> TestResult {
    let dir = TempDir::new()?;
    configuration(dir.path(), "state.directory = 'state'\nmesh.gossip.enabled = false\nlog.format = 'json'")?;
    let (mut first, address) = start(dir.path(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let (_endpoint, connection) = connect(dir.path(), address).await?;
    first.kill().await?;
    let (mut second, _) = start(dir.path(), address).await?;
    let mut stream = connection.open_uni().await?;
    stream.write_all(b"are you still there?").await?;
    // Without the secret nothing comes back, and the connection times out.
    assert_eq!(within_limit(connection.closed()).await?, ConnectionError::Reset);
    Ok(second.kill().await?)
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_used_is_said_with_its_setting() -> TestResult {
    let dir = TempDir::new()?;
    let file = configuration(dir.path(), "state.directory = 'node.toml'")?;
    let ended = crate::process::end(dir.path(), &["run", "--config", file]).await?;
    assert_eq!(ended.code, Some(1));
    let told = "the state directory cannot be used (`state.directory`): ";
    assert!(ended.stderr.contains(told), "no `{told}` in\n{}", ended.stderr);
    Ok(())
}
