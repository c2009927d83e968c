//! A process that serves, seen from the one that calls.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::calls::Witness;
use crate::serve::Kind;

/// How long a server may take to start, or to do what it is told.
const LIMIT: Duration = Duration::from_secs(30);

/// A running server. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    dropped: u64,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts this program once more as the node `server`, whose certificate lies in `folder`, and waits until it listens.
    pub(crate) async fn start(kind: Kind, address: SocketAddr, count: u8, folder: &Path) -> anyhow::Result<Self> {
        let (kind, address, count) = (kind.to_string(), address.to_string(), count.to_string());
        Self::spawn(&["serve".as_ref(), kind.as_ref(), address.as_ref(), count.as_ref(), folder.as_ref()]).await
    }

    /// Starts this program once more with `args`, and waits until it says where it listens.
    pub(crate) async fn spawn(args: &[&OsStr]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut command = Command::new(program);
        command.args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let input = child.stdin.take().context("it has no input")?;
        let mut lines = BufReader::new(child.stdout.take().context("it has no output")?).lines();
        let first = timeout(LIMIT, lines.next_line()).await??.context("it has ended before it listened")?;
        let (_, bound) = first.split_once(" at ").context("it does not say where it listens")?;
        Ok(Self { child, input, lines, dropped: 0, address: bound.parse()? })
    }

    /// Tells it something, and returns what it says to that.
    pub(crate) async fn tell(&mut self, command: &str) -> anyhow::Result<String> {
        self.input.write_all(format!("{command}\n").as_bytes()).await.context("it takes no commands")?;
        let line = timeout(LIMIT, self.lines.next_line()).await.with_context(|| format!("no answer to `{command}`"))?;
        line?.with_context(|| format!("it has ended instead of an answer to `{command}`"))
    }

    /// Kills it, as `kill -9` does.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill a server")
    }

    /// Lets it end by itself.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        drop(self.input);
        let status = timeout(LIMIT, self.child.wait()).await??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Witness for Process {
    async fn saw_held(&mut self) -> anyhow::Result<()> {
        self.tell("running 1").await.map(drop)
    }

    async fn saw_dropped(&mut self) -> anyhow::Result<()> {
        self.dropped += 1;
        self.tell(&format!("dropped {}", self.dropped)).await.map(drop)
    }
}
