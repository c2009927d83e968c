//! Runs the real binary.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::node::Failure;

/// Longer than any run may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns the command with `args`, free of the settings of whoever runs the tests.
pub(crate) fn omnirelay(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omnirelay"));
    for name in ["ENDPOINT", "CERT", "KEY", "CA", "TIMEOUT", "COLOR", "VIA"] {
        command.env_remove(format!("OMNIRELAY_{name}"));
    }
    command.env_remove("NO_COLOR").args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn run(args: &[&str]) -> Result<Run, Failure> {
    finish(omnirelay(args)).await
}

pub(crate) async fn finish(mut command: Command) -> Result<Run, Failure> {
    let output = timeout(DEADLINE, command.output()).await??;
    Ok(Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}
