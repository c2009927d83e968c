//! Two nodes: one where the caller's application calls, one with the service beside it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use serde_json::Value;
use test_authority::Authority;

use super::folder::{BUNDLE, Folder};
use super::free_address;
use super::program::Program;
use crate::BoxError;

/// What carries calls from node to node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The default.
    Http3,
    Http2,
}

/// Two nodes that have found each other.
pub(crate) struct Nodes {
    near: Node,
    far: Node,
    /// Where applications call.
    pub(crate) entry: SocketAddr,
}

/// A node that has started, and what it says of itself.
struct Node {
    program: Program,
    ready: Value,
    /// Held so that it can go on writing.
    _output: BufReader<ChildStdout>,
}

impl Carrier {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Http3 => "node to node, HTTP/3",
            Self::Http2 => "node to node, HTTP/2",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Http3 => "h3",
            Self::Http2 => "h2",
        }
    }
}

impl Nodes {
    /// Starts the nodes, the far one with `application` as its service.
    pub(crate) fn start(
        binary: &Path,
        carrier: Carrier,
        around: (&Authority, &Folder),
        application: SocketAddr,
    ) -> Result<Self, BoxError> {
        let node = |side: &str, role: &str, more: &str| {
            let name = format!("{side}-{}", carrier.word());
            start(
                binary,
                (&name, role),
                around,
                &format!("mesh.gossip.http3Support = {}\n{more}", carrier == Carrier::Http3),
            )
        };
        let service = format!("rpc.services = {{ 'omnirelay.test.v1.Echo' = 'http://{application}' }}");
        let far = node("far", "worker", &service)?;
        let seed = far.ready["gossip"].as_str().ok_or("the far node does not say where it gossips")?;
        let entry = free_address()?;
        let local = format!("rpc.local = 'http://{entry}'\nmesh.gossip.seedPeers = ['{seed}']");
        let near = node("near", "dispatcher", &local)?;
        Ok(Self { near, far, entry })
    }

    pub(crate) fn processes(&self) -> Result<Vec<Vec<u32>>, BoxError> {
        Ok(vec![self.near.program.processes()?, self.far.program.processes()?])
    }
}

/// Starts a node with the service port of its own choice, and waits until it says that it is ready.
fn start(
    binary: &Path,
    (name, role): (&str, &str),
    (authority, folder): (&Authority, &Folder),
    more: &str,
) -> Result<Node, BoxError> {
    folder.issue(authority, name, role)?;
    let text = format!(
        "mesh.gossip.bindAddress = '127.0.0.1'\nmesh.gossip.port = 0\nlog.filter = 'warn'\ncontrol.address = '127.0.0.1:0'\nrpc.address = '127.0.0.1:0'\n\
         mesh.gossip.tls = {{ certificate = '{name}.pem', key = '{name}.key', trustBundle = '{BUNDLE}' }}\n{more}\n"
    );
    let file = folder.write(&format!("{name}.toml"), &text)?;
    let mut command = Command::new(binary);
    command.args(["run", "--events", "jsonl", "--config"]).arg(file).stdout(Stdio::piped());
    let mut program = Program::start(&mut command, folder.path())?;
    let output = program.output().ok_or("the node has no output")?;
    let (mut output, mut line) = (BufReader::new(output), String::new());
    while output.read_line(&mut line)? > 0 {
        if line.contains("\"ready\"") {
            return Ok(Node { program, ready: serde_json::from_str(&line)?, _output: output });
        }
        line.clear();
    }
    Err(format!("node {name} has ended before it was ready").into())
}
