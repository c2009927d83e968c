//! Real nodes between clients and applications that others have made.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::certificates::{BUNDLE, Certificates};
use crate::report::{LIMIT, Report};
use crate::script::{self, Script};

/// The name of the gateway: by it the clients expect their server.
const GATEWAY: &str = "server";

/// A node's process. Dropped, it is killed.
struct Node {
    process: Child,
    ready: Value,
    /// Held so that the node can go on writing.
    _lines: Lines<BufReader<ChildStdout>>,
}

/// Has grpcio, aioquic and curl call an application of grpcio, and one of plain HTTP: one node is beside the callers, one is beside the
/// applications, and one lets callers in from outside.
pub(crate) async fn run(python: &Path, node: &Path) -> anyhow::Result<ExitCode> {
    let certificates = Certificates::new()?;
    certificates.issue("client")?;
    let app = Script::start(python, "grpc_app.py", certificates.folder()).await?;
    let shop = Script::start(python, "http_app.py", certificates.folder()).await?;
    let services = format!(
        "[rpc.services]\n'omnirelay.test.v1.Echo' = 'http://{0}'\n'interop.App' = 'grpc://{0}'\n\
         'interop.Shop' = 'http1://{1}?health=/healthz'\n",
        app.address, shop.address
    );
    let local = format!("unix:{}", certificates.folder().join("node.sock").display());
    let own = Node::start(node, &certificates, ("node-a", "dispatcher"), &format!("rpc.local = '{local}'\n")).await?;
    let seed = format!("mesh.gossip.seedPeers = ['{}']\n", own.says("gossip")?);
    let beside = Node::start(node, &certificates, ("node-b", "worker"), &(seed.clone() + &services)).await?;
    let gateway = Node::start(node, &certificates, (GATEWAY, "gateway"), &seed).await?;
    let (app_address, folder) = (app.address.to_string(), certificates.folder());
    let arguments: [&OsStr; 4] =
        [local.as_ref(), gateway.says("rpc")?.as_ref(), app_address.as_ref(), folder.as_os_str()];
    let mut report = Report::default();
    report.is(script::run(python, "mesh_client.py", &arguments).await?);
    for started in [own, beside, gateway] {
        started.kill().await?;
    }
    app.stop().await?;
    shop.stop().await?;
    Ok(report.conclude())
}

impl Node {
    async fn start(
        binary: &Path,
        certificates: &Certificates,
        (name, role): (&str, &str),
        more: &str,
    ) -> anyhow::Result<Self> {
        certificates.issue_as(name, role)?;
        let text = format!(
            "mesh.gossip.bindAddress = '127.0.0.1'\nmesh.gossip.port = 0\nmesh.gossip.profile = 'fast'\n\
             mesh.gossip.tls = {{ certificate = '{name}.pem', key = '{name}.key', trustBundle = '{BUNDLE}' }}\n\
             control.enabled = false\nlog.filter = 'warn'\nrpc.address = '127.0.0.1:0'\n{more}"
        );
        let file = format!("{name}.toml");
        fs::write(certificates.folder().join(&file), text).with_context(|| format!("cannot write `{file}`"))?;
        let mut command = Command::new(binary);
        command.args(["run", "--events", "jsonl", "--config", &file]).current_dir(certificates.folder()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("cannot start `{}`", binary.display()))?;
        let mut lines = BufReader::new(process.stdout.take().context("it has no output")?).lines();
        let first = timeout(LIMIT, lines.next_line()).await??;
        let first = first.with_context(|| format!("node `{name}` has ended before it was ready"))?;
        let ready: Value = serde_json::from_str(&first).with_context(|| format!("node `{name}` says `{first}`"))?;
        Ok(Self { process, ready, _lines: lines })
    }

    /// Returns an address that the node has told.
    fn says(&self, what: &str) -> anyhow::Result<&str> {
        self.ready[what].as_str().with_context(|| format!("a node does not say `{what}`: {}", self.ready))
    }

    /// Kills it; it must have lived until now.
    async fn kill(mut self) -> anyhow::Result<()> {
        let ended = self.process.try_wait()?;
        ensure!(ended.is_none(), "a node has ended by itself: {ended:?}");
        self.process.kill().await.context("cannot kill a node")
    }
}
