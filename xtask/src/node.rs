//! The node's binary from outside: which one, and one short-lived mesh of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::process::{cargo, stdout_within, succeeds, target_dir, workspace_root};

/// The file name of the node's binary.
pub(crate) const NODE: &str = "omnirelay-node";

/// How long a mesh may take to come up, or to end. It fails on its own long before.
const MESH_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a node may take to answer a request.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// What `dev --once --json` prints. It may grow fields; these stay.
#[derive(Debug, Deserialize)]
pub(crate) struct Discovery {
    pub(crate) nodes: usize,
    pub(crate) discovery_ms: f64,
    members: Vec<serde_json::Value>,
}

/// Which binary a verb runs.
#[derive(Debug, clap::Args)]
pub(crate) struct WhichNode {
    /// The node's binary, instead of a debug build of this tree.
    #[arg(long, value_name = "FILE", conflicts_with = "release")]
    binary: Option<PathBuf>,
    /// The static release binary that `cargo xtask dist` made.
    #[arg(long)]
    release: bool,
}

impl WhichNode {
    /// Returns the path of the binary, building it first when it is the debug build.
    ///
    /// # Errors
    /// When it is not there or does not build.
    pub(crate) fn locate(&self) -> anyhow::Result<PathBuf> {
        let path = match &self.binary {
            Some(path) => std::env::current_dir().context("cannot tell the current folder")?.join(path),
            None if self.release => workspace_root().join("dist").join(NODE),
            None => return build_debug(),
        };
        if !path.is_file() {
            bail!("no binary at `{}`; `cargo xtask dist` makes dist/{NODE}", path.display());
        }
        Ok(path)
    }
}

fn build_debug() -> anyhow::Result<PathBuf> {
    ensure!(succeeds(&mut cargo(["build", "--package", NODE]))?, "{NODE} does not build");
    Ok(target_dir().join("debug").join(NODE))
}

/// Starts three nodes, waits until all see all, stops them, and returns what was printed.
///
/// # Errors
/// When it fails, takes too long, prints something else, or not all are seen.
pub(crate) fn discover_once(binary: &Path) -> anyhow::Result<Discovery> {
    let json = stdout_within(Command::new(binary).args(["dev", "--once", "--json"]), MESH_TIMEOUT)?;
    let found: Discovery = serde_json::from_str(json.trim())
        .with_context(|| format!("`{NODE} dev --once --json` printed something else: {}", json.trim()))?;
    ensure!(
        found.nodes == 3 && found.members.len() == 3,
        "`{NODE} dev --once` started {} nodes and saw {} members, not 3 and 3",
        found.nodes,
        found.members.len()
    );
    Ok(found)
}

/// One node of a mesh, as the table of `dev` shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// `host:port` of its control API.
    pub(crate) control: String,
    pub(crate) pid: i32,
}

/// A mesh that runs until it is stopped.
pub(crate) struct Mesh {
    dev: Child,
    lines: mpsc::Receiver<String>,
}

impl Mesh {
    /// Starts the node's `dev` command with its usual number of nodes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(binary: &Path) -> anyhow::Result<Self> {
        let dev = Command::new(binary).arg("dev").stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut dev = dev.with_context(|| format!("cannot start `{}`", binary.display()))?;
        let stdout = dev.stdout.take().context("the mesh has no stdout")?;
        let (sender, lines) = mpsc::sync_channel(1024);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens when the start failed; reading on keeps the mesh from waiting for us.
                drop(sender.send(line));
            }
        });
        Ok(Self { dev, lines })
    }

    /// Waits for the first line with a control URL and returns its `host:port`.
    ///
    /// # Errors
    /// When the mesh ends or says nothing before.
    pub(crate) fn control_address(&self) -> anyhow::Result<String> {
        loop {
            let line = self.lines.recv_timeout(MESH_TIMEOUT).context("the mesh printed no control URL")?;
            if let Some(address) = http_address(&line) {
                return Ok(address.to_owned());
            }
        }
    }

    /// Waits until the mesh is up and returns its nodes, as its table shows them.
    ///
    /// # Errors
    /// When the mesh ends or says nothing before.
    pub(crate) fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            let line = self.lines.recv_timeout(MESH_TIMEOUT).context("the mesh printed no table of its nodes")?;
            match node_row(&line) {
                Some(node) => nodes.push(node),
                None if !nodes.is_empty() => return Ok(nodes),
                None => {}
            }
        }
    }

    /// Lets the mesh go on until it prints a line, at most for `timeout`.
    pub(crate) fn watch(&self, timeout: Duration) {
        // The line is for people; an end of the mesh shows at the next question to it.
        drop(self.lines.recv_timeout(timeout));
    }

    /// Interrupts the mesh as Ctrl-C does, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.dev.id()).context("the process id is out of range")?;
        kill(Pid::from_raw(pid), Signal::SIGINT).context("cannot interrupt the mesh")?;
        loop {
            match self.lines.recv_timeout(MESH_TIMEOUT) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.dev.kill().context("cannot kill the mesh")?;
                    bail!("the mesh did not end {MESH_TIMEOUT:?} after its interrupt");
                }
            }
        }
        let status = self.dev.wait().context("cannot wait for the mesh")?;
        ensure!(status.success(), "the interrupted mesh ended with {status}");
        Ok(())
    }
}

/// Returns the body of a plain request. HTTP/1.0 has neither chunks nor a kept connection to care about.
///
/// # Errors
/// When nobody answers, or with another status than 200.
pub(crate) fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let url = format!("http://{address}{path}");
    let read = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    };
    let reply = read().with_context(|| format!("cannot read {url}"))?;
    let (head, body) = reply.split_once("\r\n\r\n").with_context(|| format!("{url} sent no HTTP reply"))?;
    let status = head.lines().next().unwrap_or("");
    ensure!(status.contains(" 200"), "{url} answered `{status}`");
    Ok(body.to_owned())
}

/// Returns `host:port` of the first plain URL in `line`.
fn http_address(line: &str) -> Option<&str> {
    let (_, url) = line.split_once("http://")?;
    let end = url.find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]-".contains(c))).unwrap_or(url.len());
    url.get(..end).filter(|address| address.contains(':'))
}

/// Reads a row of the table: the name first, the control URL somewhere, the process id last.
fn node_row(line: &str) -> Option<Node> {
    let name = line.split_whitespace().next()?;
    let pid = line.split_whitespace().next_back()?;
    let is_number = pid.chars().all(|c| c.is_ascii_digit());
    let pid = if is_number { pid.parse().ok()? } else { return None };
    Some(Node { name: name.to_owned(), control: http_address(line)?.to_owned(), pid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_table_names_a_node() {
        let node = Node { name: "node-a".to_owned(), control: "127.0.0.1:4711".to_owned(), pid: 77 };
        assert_eq!(node_row("node-a  Alive  127.0.0.1:9  http://127.0.0.1:4711  77"), Some(node));
        assert_eq!(node_row("NODE  STATUS  GOSSIP  CONTROL  PID"), None);
        assert_eq!(node_row("  omnirelay mesh peers list --endpoint http://127.0.0.1:4711"), None);
    }

    #[test]
    fn an_address_is_found_in_what_people_read() {
        assert_eq!(http_address("  node-1  http://127.0.0.1:4711/control/peers"), Some("127.0.0.1:4711"));
        assert_eq!(http_address("http://[::1]:80"), Some("[::1]:80"));
        assert_eq!(http_address("https://127.0.0.1:4711/"), None);
    }
}
