//! `run --events jsonl`: what outside programs read of the life of members.

use std::error::Error;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::process::{TestResult, configuration, end, line_with, node, send, within_limit};

/// A node whose events are read.
struct Watched {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    ready: Value,
}

impl Watched {
    /// Starts the node with `more` flags and reads its first line.
    async fn start(dir: &Path, more: &[&str]) -> Result<Self, Box<dyn Error>> {
        let args = [&["run", "--config", "node.toml", "--events", "jsonl"], more].concat();
        let mut process = node(dir, &args).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no stdout")?).lines();
        let ready = serde_json::from_str(&within_limit(lines.next_line()).await??.ok_or("the node has ended")?)?;
        Ok(Self { process, lines, ready })
    }

    fn text(&self, field: &str) -> Result<&str, Box<dyn Error>> {
        Ok(self.ready.get(field).and_then(Value::as_str).ok_or("the field is missing")?)
    }

    /// Reads the next line that is about an event of this kind.
    async fn next(&mut self, kind: &str) -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_str(&line_with(&mut self.lines, &format!("\"event\":\"{kind}\"")).await?)?)
    }

    async fn stop(mut self) -> TestResult {
        send(&self.process, Signal::SIGTERM)?;
        assert_eq!(within_limit(self.process.wait()).await??.code(), Some(0));
        Ok(())
    }
}

fn time(line: &Value) -> Option<u64> {
    line.get("monotonicUs").and_then(Value::as_u64)
}

#[tokio::test]
async fn members_come_and_go_on_standard_output_with_times_of_one_clock() -> TestResult {
    let dir = TempDir::new()?;
    configuration(dir.path(), "")?;
    let mut a = Watched::start(dir.path(), &[]).await?;
    assert_eq!((a.text("event")?, a.text("nodeId")?), ("ready", "node-a"));
    let seed = a.text("gossip")?.to_owned();
    let of_b = ["--certificate", "node-b.pem", "--key", "node-b.key", "--seed-peers", &seed];
    let mut b = Watched::start(dir.path(), &of_b).await?;

    let up = a.next("up").await?;
    assert_eq!(up.get("nodeId"), Some(&"node-b".into()));
    assert_eq!(up.get("endpoint").and_then(Value::as_str), Some(b.text("gossip")?));
    assert_eq!(up.get("recovered"), Some(&false.into()));
    assert_eq!(b.next("up").await?.get("nodeId"), Some(&"node-a".into()));
    // Two processes, one clock: b was ready before a saw it.
    assert!(time(&b.ready) < time(&up), "{} and {up}", b.ready);

    b.stop().await?;
    let left = a.next("left").await?;
    assert_eq!(left.get("nodeId"), Some(&"node-b".into()));
    assert_eq!(left.get("generation"), up.get("generation"));
    assert!(time(&up) < time(&left), "{up} and {left}");
    a.stop().await
}

#[tokio::test]
async fn a_killed_member_is_suspect_then_unreachable_then_dead() -> TestResult {
    let dir = TempDir::new()?;
    let quick =
        "mesh.gossip.interval = '100ms'\nmesh.gossip.suspicionInterval = '1s'\nmesh.gossip.pingTimeout = '50ms'";
    configuration(dir.path(), quick)?;
    let mut a = Watched::start(dir.path(), &[]).await?;
    let seed = a.text("gossip")?.to_owned();
    let of_b = ["--certificate", "node-b.pem", "--key", "node-b.key", "--seed-peers", &seed];
    let mut b = Watched::start(dir.path(), &of_b).await?;
    a.next("up").await?;
    b.process.kill().await?;
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "dead") {
        let line = within_limit(a.lines.next_line()).await??.ok_or("the events have ended")?;
        let line: Value = serde_json::from_str(&line)?;
        assert_eq!(line.get("nodeId"), Some(&"node-b".into()));
        kinds.push(line.get("event").and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    assert_eq!(kinds, ["suspect", "unreachable", "dead"]);
    a.stop().await
}

#[tokio::test]
async fn a_node_outlives_the_reader_of_its_events() -> TestResult {
    let dir = TempDir::new()?;
    configuration(dir.path(), "")?;
    let Watched { mut process, lines, ready } = Watched::start(dir.path(), &[]).await?;
    drop(lines);
    let seed = ready.get("gossip").and_then(Value::as_str).ok_or("no address")?;
    let of_b = ["--certificate", "node-b.pem", "--key", "node-b.key", "--seed-peers", seed];
    let mut b = Watched::start(dir.path(), &of_b).await?;
    b.next("up").await?;
    b.stop().await?;
    // Its line that b had left found nobody: it ends as it should all the same.
    send(&process, Signal::SIGTERM)?;
    assert_eq!(within_limit(process.wait()).await??.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn events_are_written_in_formats_that_exist_and_never_into_the_pipe_of_dev() -> TestResult {
    let dir = TempDir::new()?;
    for args in [&["run", "--events", "xml"][..], &["run", "--events", "jsonl", "--dev-child"]] {
        assert_eq!(end(dir.path(), args).await?.code, Some(2), "{args:?}");
    }
    Ok(())
}
