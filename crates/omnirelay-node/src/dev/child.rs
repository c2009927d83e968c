//! A node of a development mesh: a child process of the same binary.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::time::{Instant, timeout_at};

use super::error::DevError;
use crate::dev_child::Report;

/// Lines of a child's log that are shown when it fails.
const LOG_TAIL_LINES: usize = 5;

/// A running node. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// Where gossip listens.
    pub(crate) gossip: SocketAddr,
    /// Where the control API listens.
    pub(crate) control: SocketAddr,
    /// Where it takes calls, if it does.
    pub(crate) rpc: Option<SocketAddr>,
    process: tokio::process::Child,
    /// Never written to. The child stops when this end is closed, even by the death of this process.
    _lifeline: ChildStdin,
}

/// A node that was started and has not reported yet.
#[derive(Debug)]
pub(crate) struct Starting {
    name: String,
    pid: u32,
    log: PathBuf,
    process: tokio::process::Child,
    lifeline: ChildStdin,
}

impl Starting {
    /// Starts the node `name` with the configuration at `config`; it logs to `log`.
    pub(crate) fn spawn(name: &str, binary: &Path, config: &Path, log: &Path) -> Result<Self, DevError> {
        let failed = |source| DevError::Start { name: name.to_owned(), source };
        let mut command = Command::new(binary);
        command
            .args([OsStr::new("run"), OsStr::new("--dev-child"), OsStr::new("--config"), config.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).map_err(failed)?)
            // A Ctrl-C is for the parent, which then stops its children in order.
            .process_group(0)
            .kill_on_drop(true);
        for (variable, _) in std::env::vars_os().filter(|(variable, _)| configures(variable)) {
            command.env_remove(variable);
        }
        let mut process = command.spawn().map_err(failed)?;
        let (Some(pid), Some(lifeline)) = (process.id(), process.stdin.take()) else {
            return Err(failed(io::Error::other("the process has no id or no standard input")));
        };
        Ok(Self { name: name.to_owned(), pid, log: log.to_owned(), process, lifeline })
    }

    /// Waits until the node reports that it listens.
    pub(crate) async fn up(mut self) -> Result<Child, DevError> {
        let mut line = String::new();
        if let Some(stdout) = self.process.stdout.take() {
            let read = BufReader::new(stdout).read_line(&mut line).await;
            read.map_err(|source| DevError::Report { name: self.name.clone(), source })?;
        }
        if line.is_empty() {
            return Err(self.ended().await);
        }
        let invalid = |source: serde_json::Error| DevError::Report { name: self.name.clone(), source: source.into() };
        let Report { gossip, control, rpc } = serde_json::from_str(&line).map_err(invalid)?;
        let (Some(gossip), Some(control)) = (gossip, control) else {
            let source = io::Error::other("it serves no gossip or no control API");
            return Err(DevError::Report { name: self.name, source });
        };
        let Self { name, pid, process, lifeline, .. } = self;
        Ok(Child { name, pid, gossip, control, rpc, process, _lifeline: lifeline })
    }

    async fn ended(mut self) -> DevError {
        match self.process.wait().await {
            Ok(status) => DevError::Ended { status, log: log_tail(&self.log), name: self.name },
            Err(source) => DevError::Report { name: self.name, source },
        }
    }
}

impl Child {
    /// Returns how the process ended, `None` while it runs.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, DevError> {
        self.process.try_wait().map_err(|source| DevError::Stop { name: self.name.clone(), source })
    }

    /// Asks the process to stop; it may have ended already.
    pub(crate) fn terminate(&self) {
        // `id` is none once the process has been waited for, so this never reaches another's process.
        let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
        if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM) {
            tracing::debug!(name = self.name, %error, "child is gone already");
        }
    }

    /// Waits for the end of the process until `deadline`, then kills it.
    pub(crate) async fn stopped(&mut self, deadline: Instant) -> Result<(), DevError> {
        let failed = |source| DevError::Stop { name: self.name.clone(), source };
        match timeout_at(deadline, self.process.wait()).await {
            Ok(ended) => ended.map(drop).map_err(failed),
            Err(_elapsed) => self.process.kill().await.map_err(failed),
        }
    }
}

/// Tells whether a variable would change the configuration of a child.
fn configures(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    name.starts_with("OMNIRELAY_") || name.starts_with("MESH_GOSSIP__")
}

/// Returns the last lines of a log, each on a line of its own, for the end of a message.
pub(crate) fn log_tail(path: &Path) -> String {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let lines: Vec<_> = text.lines().collect();
            let from = lines.len().saturating_sub(LOG_TAIL_LINES);
            lines.iter().skip(from).map(|line| format!("\n  {line}")).collect()
        }
        Err(error) => format!(" (its log `{}` cannot be read: {error})", path.display()),
    }
}
