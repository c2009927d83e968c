//! Runs the binaries, always with a bound on time and without the environment of the test.

use std::env;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::Failure;

/// Names the node's binary, if it is not the one that was built with this test; the command line tool lies beside it.
const NODE_VARIABLE: &str = "FEATURES_NODE";

/// Longest that anything may take: a busy machine is slow, not wrong.
const LIMIT: Duration = Duration::from_secs(30);

/// Returns the node's binary.
pub(crate) fn node_binary() -> Result<PathBuf, Failure> {
    let path = match env::var_os(NODE_VARIABLE) {
        Some(path) => path.into(),
        None => {
            let (test, folder) = (env::current_exe()?, "the folder with binaries");
            test.parent().and_then(Path::parent).ok_or(folder)?.join("omnirelay-node")
        }
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("no binary at `{}`: see `cargo xtask features --help`", path.display()).into())
    }
}

/// Returns the command of a binary, to be run in `folder`, which also takes its temporary files.
pub(crate) fn command(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().env("TMPDIR", folder).current_dir(folder).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for `event`, not for ever.
pub(crate) async fn within_limit<T>(what: &str, event: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(LIMIT, event).await.map_err(|_elapsed| format!("{what}: not within {LIMIT:?}").into())
}

/// What a run of the command line tool has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Runs a command to its end.
    pub(crate) async fn of(mut command: Command) -> Result<Self, Failure> {
        let what = format!("{:?}", command.as_std());
        let output = within_limit(&what, command.output()).await??;
        Ok(Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Returns what it has printed, if it has done what it was to do.
    pub(crate) fn done(self) -> Result<String, Failure> {
        if self.code == Some(0) { Ok(self.stdout) } else { Err(format!("it has failed: {self:?}").into()) }
    }

    /// Returns what it has said on standard error, if it was refused.
    pub(crate) fn refused(self) -> Result<String, Failure> {
        if self.code == Some(1) { Ok(self.stderr) } else { Err(format!("it was not refused: {self:?}").into()) }
    }
}
