//! `dev`: real processes that find one another, and nothing left of them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout};
use tokio::time::interval;

use crate::process::{TestResult, end, line_with, node, send, within_limit};

#[tokio::test]
async fn three_nodes_find_one_another_and_leave_nothing_behind() -> TestResult {
    for security in [&[][..], &["--tls-control"]] {
        let dir = TempDir::new()?;
        let ended = end(dir.path(), &[&["dev", "--once", "--json"], security].concat()).await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.starts_with("{\"nodes\":3,\"discovery_ms\":"), "{}", ended.stdout);
        let found: Value = serde_json::from_str(&ended.stdout)?;
        let discovery_ms = found.get("discovery_ms").and_then(Value::as_u64).ok_or("no time")?;
        assert!(discovery_ms < 2_000, "{discovery_ms} ms");
        let members = found.get("members").and_then(Value::as_array).ok_or("no members")?;
        let text = |member: &Value, field| member.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let members: Vec<_> = members.iter().map(|member| (text(member, "nodeId"), text(member, "status"))).collect();
        let alive = |name: &str| (name.to_owned(), "Alive".to_owned());
        assert_eq!(members, [alive("node-a"), alive("node-b"), alive("node-c")]);
        assert_empty(dir.path())?;
    }
    Ok(())
}

#[tokio::test]
async fn the_environment_of_the_user_does_not_reach_the_nodes() -> TestResult {
    let dir = TempDir::new()?;
    let mut dev = node(dir.path(), &["dev", "--nodes", "1", "--once", "--json"]);
    dev.env("OMNIRELAY_MESH__GOSSIP__NODE_ID", "somebody-else").env("MESH_GOSSIP__PROT", "1");
    let output = within_limit(dev.output()).await??;
    assert_eq!((output.status.code(), String::from_utf8(output.stderr)?.as_str()), (Some(0), ""));
    Ok(())
}

#[tokio::test]
async fn a_mesh_that_cannot_be_made_says_why() -> TestResult {
    let dir = TempDir::new()?;
    let mut dev = node(dir.path(), &["dev", "--once", "--json"]);
    let output = within_limit(dev.env("TMPDIR", dir.path().join("absent")).output()).await??;
    let stderr = String::from_utf8(output.stderr)?;
    assert!(stderr.starts_with("error: cannot make a directory for certificates and logs: No such file"), "{stderr}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    Ok(())
}

#[tokio::test]
async fn prepared_certificates_start_a_node_and_are_never_written_over() -> TestResult {
    let dir = TempDir::new()?;
    let prepare = ["dev", "--nodes", "2", "--prepare", "made/certificates"];
    let made = end(dir.path(), &prepare).await?;
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
    let (_, command) = made.stdout.trim_end().split_once("omnirelay-node ").ok_or("no command")?;
    let check: Vec<_> = ["check-config"].into_iter().chain(command.split(' ').skip(1)).collect();
    let checked = end(dir.path(), &check).await?;
    let expected = "configuration is valid for spiffe://dev.omnirelay.local/cluster/dev/role/worker/node/node-a\n";
    assert_eq!((checked.stdout.as_str(), checked.stderr.as_str()), (expected, ""));

    let again = end(dir.path(), &prepare).await?;
    assert!(again.stderr.starts_with("error: cannot make certificates: "), "{}", again.stderr);
    assert_eq!(again.code, Some(1));
    assert_eq!(fs::read_dir(dir.path().join("made/certificates"))?.count(), 7);
    Ok(())
}

#[tokio::test]
async fn a_rehearsal_revokes_first_nobody_then_all_old_certificates_then_one_new() -> TestResult {
    let dir = TempDir::new()?;
    let made = end(dir.path(), &["dev", "--nodes", "3", "--prepare", "made", "--rehearse", "node-b"]).await?;
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
    for (list, renewed, others, of_one) in
        [(0, "", true, true), (1, "", false, false), (1, "renewed/", true, true), (2, "renewed/", true, false)]
    {
        for (name, is_valid) in [("node-a", others), ("node-b", of_one), ("node-c", others)] {
            let file = |ending: &str| format!("made/{renewed}{name}.{ending}");
            let list = format!("mesh.gossip.tls.certificateRevocationList=made/revoked-{list}.crl");
            let (certificate, key) = (file("pem"), file("key"));
            let check = [
                "check-config",
                "--certificate",
                &certificate,
                "--key",
                &key,
                "--trust-bundle",
                "made/ca.pem",
                "--set",
                &list,
            ];
            let checked = end(dir.path(), &check).await?;
            assert_eq!(checked.code == Some(0), is_valid, "{certificate} by {list}: {}", checked.stderr);
        }
    }
    let stranger = end(dir.path(), &["dev", "--prepare", "other", "--rehearse", "node-z"]).await?;
    assert_eq!(
        (stranger.code, stranger.stderr.as_str()),
        (Some(1), "error: there is no node `node-z`; there are node-a to node-c\n")
    );
    Ok(())
}

#[tokio::test]
async fn a_killed_node_is_told_and_ctrl_c_stops_the_others() -> TestResult {
    let dir = TempDir::new()?;
    let mut mesh = Mesh::start(dir.path()).await?;
    let (_, victim) = mesh.nodes.last().ok_or("no nodes")?;
    kill(Pid::from_raw(*victim), Signal::SIGKILL)?;
    line_with(&mut mesh.lines, &format!("node-c (pid {victim}) has ended: signal: 9")).await?;
    send(&mesh.process, Signal::SIGINT)?;
    assert_eq!(within_limit(mesh.process.wait()).await??.code(), Some(0));
    for (control, _) in &mesh.nodes {
        assert!(TcpStream::connect(control).await.is_err(), "{control} still listens");
    }
    assert_empty(dir.path())
}

#[tokio::test]
async fn calls_go_on_when_a_node_is_killed_and_none_fails_that_may_be_made_twice() -> TestResult {
    let dir = TempDir::new()?;
    let mut mesh = Mesh::start_with(dir.path(), &["--calls-per-second", "200"]).await?;
    let before = mesh.counts().await?;
    let (_, victim) = mesh.nodes.last().ok_or("no nodes")?;
    kill(Pid::from_raw(*victim), Signal::SIGKILL)?;
    line_with(&mut mesh.lines, "node-c (pid").await?;
    let mut counts = mesh.counts().await?;
    while counts.get("ok") < before.get("ok").map(|ok| ok + 500).as_ref() {
        counts = mesh.counts().await?;
    }
    assert_eq!(counts.get("failed"), Some(&0), "{counts:?}");
    assert!(counts.get("once_ok") > before.get("once_ok"), "{counts:?}");
    send(&mesh.process, Signal::SIGINT)?;
    let sum = line_with(&mut mesh.lines, "calls: ").await?;
    assert!(sum.contains(" ok, 0 failed; not idempotent: "), "{sum}");
    assert_eq!(within_limit(mesh.process.wait()).await??.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn without_calls_no_node_takes_any() -> TestResult {
    let dir = TempDir::new()?;
    let mut mesh = Mesh::start_with(dir.path(), &["--calls-per-second", "0"]).await?;
    send(&mesh.process, Signal::SIGINT)?;
    let mut rest = String::new();
    while let Some(line) = within_limit(mesh.lines.next_line()).await?? {
        rest = rest + &line + "\n";
    }
    assert_eq!(rest.trim(), "stopping all nodes");
    Ok(())
}

#[tokio::test]
async fn the_nodes_end_with_their_parent_however_it_ends() -> TestResult {
    let dir = TempDir::new()?;
    let mut mesh = Mesh::start(dir.path()).await?;
    mesh.process.kill().await?;
    for (control, _) in &mesh.nodes {
        let gone = async {
            let mut ticks = interval(Duration::from_millis(10));
            while TcpStream::connect(control).await.is_ok() {
                ticks.tick().await;
            }
        };
        within_limit(gone).await?;
    }
    Ok(())
}

/// A mesh that `dev` follows.
struct Mesh {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Control address and process of each node.
    nodes: Vec<(SocketAddr, i32)>,
}

impl Mesh {
    async fn start(dir: &Path) -> Result<Self, Box<dyn Error>> {
        Self::start_with(dir, &[]).await
    }

    async fn start_with(dir: &Path, flags: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut process = node(dir, &[&["dev"], flags].concat()).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no stdout")?).lines();
        let mut nodes = Vec::new();
        for name in ["node-a", "node-b", "node-c"] {
            let line = line_with(&mut lines, &format!("{name}  Alive")).await?;
            let mut cells = line.split_whitespace().skip(3);
            let control = cells.next().and_then(|url| url.strip_prefix("http://")).ok_or("no control URL")?;
            nodes.push((control.parse()?, cells.next().ok_or("no pid")?.parse()?));
        }
        line_with(&mut lines, "Ctrl-C stops").await?;
        Ok(Self { process, lines, nodes })
    }
}

impl Mesh {
    /// Waits for the next line about the calls, and returns what it counts.
    async fn counts(&mut self) -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
        let line = line_with(&mut self.lines, "calls ").await?;
        let fields = line.split_whitespace().filter_map(|field| field.split_once('='));
        fields.map(|(name, count)| Ok((name.to_owned(), count.parse()?))).collect()
    }
}

fn assert_empty(dir: &Path) -> TestResult {
    let left: Vec<_> = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    assert_eq!(left, <[std::path::PathBuf; 0]>::default());
    Ok(())
}
