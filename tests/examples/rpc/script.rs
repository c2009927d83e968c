//! Python scripts, run to their end or as servers.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::calls::Witness;
use crate::report::LIMIT;

/// How long a script with all its checks may take.
const SCRIPT_LIMIT: Duration = Duration::from_mins(3);

fn command(python: &Path, script: &str) -> Command {
    let mut command = Command::new(python);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    // Compiled scripts would stay behind in the tree.
    command.arg("-B").arg(folder.join(script)).kill_on_drop(true);
    command
}

/// Runs a script that prints its own checks, and returns whether all held.
pub(crate) async fn run(python: &Path, script: &str, arguments: &[&OsStr]) -> anyhow::Result<bool> {
    let mut child = command(python, script).args(arguments).stdin(Stdio::null()).spawn()?;
    Ok(timeout(SCRIPT_LIMIT, child.wait()).await??.success())
}

/// A server in a script. It says where it listens, then what becomes of its calls, a line each; it ends with its input.
pub(crate) struct Script {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) what: String,
    pub(crate) address: SocketAddr,
}

impl Script {
    pub(crate) async fn start(python: &Path, script: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut child = command(python, script).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("it has no input")?;
        let mut lines = BufReader::new(child.stdout.take().context("it has no output")?).lines();
        let first = timeout(LIMIT, lines.next_line()).await??.context("it has ended before it listened")?;
        let (what, address) = first.split_once(" at ").context("it does not say where it listens")?;
        let (what, address) = (what.to_owned(), address.parse()?);
        Ok(Self { child, input, lines, what, address })
    }

    /// Waits for the next thing that becomes of a call, and holds it to `wanted`.
    async fn says(&mut self, wanted: &str) -> anyhow::Result<()> {
        let line = self.lines.next_line().await?.context("the server has ended")?;
        ensure!(line == wanted, "the server says `{line}`, not `{wanted}`");
        Ok(())
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.input);
        let status = timeout(LIMIT, self.child.wait()).await??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Witness for Script {
    async fn saw_held(&mut self) -> anyhow::Result<()> {
        self.says("held").await
    }

    async fn saw_dropped(&mut self) -> anyhow::Result<()> {
        self.says("dropped").await
    }
}
