//! `run`: from ready to an ordered end.

use std::net::{TcpListener, UdpSocket};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::process::{TestResult, configuration, end, line_with, node, send, within_limit};

/// Runs a node with `flag` at a value whose port is taken, and looks for what it says of that.
async fn check_in_use(flag: [&str; 2], said: [&str; 2]) -> TestResult {
    let dir = TempDir::new()?;
    let file = configuration(dir.path(), "")?;
    let ended = end(dir.path(), &[&["run", "--config", file], &flag[..]].concat()).await?;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(said.iter().all(|text| ended.stderr.contains(text)), "{}", ended.stderr);
    assert!(ended.stderr.contains("in use"), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_said_with_its_address_and_setting() -> TestResult {
    let control = TcpListener::bind("127.0.0.1:0")?;
    let address = control.local_addr()?.to_string();
    check_in_use(["--control-address", &address], ["`control.address`", &address]).await?;

    let gossip = UdpSocket::bind("127.0.0.1:0")?;
    let taken = gossip.local_addr()?;
    check_in_use(["--port", &taken.port().to_string()], ["`mesh.gossip.port`", &taken.to_string()]).await
}

#[tokio::test]
async fn a_node_says_that_it_is_ready_and_ends_well_on_either_signal() -> TestResult {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = TempDir::new()?;
        let file = configuration(dir.path(), "")?;
        // No command: a configuration is enough to run.
        let mut child = node(dir.path(), &["--config", file]).spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
        let ready = line_with(&mut log, "node is ready").await?;
        assert!(ready.contains("/cluster/alpha/role/worker/node/node-a"), "{ready}");
        send(&child, signal)?;
        line_with(&mut log, "node has stopped").await?;
        assert_eq!(within_limit(child.wait()).await??.code(), Some(0), "{signal}");
    }
    Ok(())
}

#[tokio::test]
async fn a_node_without_gossip_serves_its_control_api() -> TestResult {
    let dir = TempDir::new()?;
    let file = configuration(dir.path(), "mesh.gossip.enabled = false\nlog.format = 'json'")?;
    let mut child = node(dir.path(), &["run", "--config", file]).spawn()?;
    let mut log = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
    let ready: serde_json::Value = serde_json::from_str(&line_with(&mut log, "node is ready").await?)?;
    assert_eq!(ready.get("gossip"), None);
    let control = ready.get("control").and_then(serde_json::Value::as_str).ok_or("no control address")?;
    within_limit(tokio::net::TcpStream::connect(control)).await??;
    send(&child, Signal::SIGTERM)?;
    assert_eq!(within_limit(child.wait()).await??.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_a_node_that_still_says_goodbye() -> TestResult {
    let dir = TempDir::new()?;
    let file = configuration(dir.path(), "log.format = 'json'")?;
    let mut leaving = node(dir.path(), &["run", "--config", file]).spawn()?;
    let mut log = BufReader::new(leaving.stderr.take().ok_or("no stderr")?).lines();
    let ready: serde_json::Value = serde_json::from_str(&line_with(&mut log, "node is ready").await?)?;
    let gossip = ready.get("gossip").and_then(serde_json::Value::as_str).ok_or("no gossip address")?;

    let b = ["--certificate", "node-b.pem", "--key", "node-b.key", "--seed-peers", gossip];
    let mut other = node(dir.path(), &[&["run", "--config", file], &b[..]].concat()).spawn()?;
    line_with(&mut log, "peer joined").await?;
    // Nobody is left to hear the goodbye, which is then repeated for a while.
    other.kill().await?;
    send(&leaving, Signal::SIGTERM)?;
    line_with(&mut log, "node stops").await?;
    send(&leaving, Signal::SIGTERM)?;
    line_with(&mut log, "error: a second SIGTERM ended the node before it had left the mesh").await?;
    assert_eq!(within_limit(leaving.wait()).await??.code(), Some(1));
    Ok(())
}
