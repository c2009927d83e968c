//! Runs the binary, always with a bound on time and without the environment of the test.

use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use bootstrap::{DevCa, Validity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufRead, Lines};
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub(crate) type TestResult = Result<(), Box<dyn Error>>;

/// Longest a test waits for anything: a busy machine is slow, not wrong.
const LIMIT: Duration = Duration::from_secs(30);

/// Returns the binary with `args`, to be run in `dir`, which also takes its temporary files.
pub(crate) fn node(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omnirelay-node"));
    command.args(args).env_clear().env("TMPDIR", dir).current_dir(dir).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for `event`, not for ever.
pub(crate) async fn within_limit<T>(event: impl Future<Output = T>) -> Result<T, Box<dyn Error>> {
    timeout(LIMIT, event).await.map_err(|_elapsed| format!("nothing happened within {LIMIT:?}").into())
}

/// What a process that has ended left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl TryFrom<Output> for Ended {
    type Error = Box<dyn Error>;

    fn try_from(output: Output) -> Result<Self, Self::Error> {
        let Output { status, stdout, stderr } = output;
        Ok(Self { code: status.code(), stdout: String::from_utf8(stdout)?, stderr: String::from_utf8(stderr)? })
    }
}

/// Runs the binary to its end.
pub(crate) async fn end(dir: &Path, args: &[&str]) -> Result<Ended, Box<dyn Error>> {
    within_limit(node(dir, args).output()).await??.try_into()
}

/// Returns the first line of `lines` that contains `text`.
pub(crate) async fn line_with<R: AsyncBufRead + Unpin>(
    lines: &mut Lines<R>,
    text: &str,
) -> Result<String, Box<dyn Error>> {
    let mut before = String::new();
    while let Some(line) = within_limit(lines.next_line()).await?? {
        if line.contains(text) {
            return Ok(line);
        }
        before = before + &line + "\n";
    }
    Err(format!("`{text}` never came; what came:\n{before}").into())
}

/// Sends a signal to a process that was started here.
pub(crate) fn send(child: &Child, signal: Signal) -> TestResult {
    let pid = child.id().ok_or("the process has ended")?;
    Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
}

/// Writes certificates for `node-a` and `node-b`, workers of cluster `alpha`, into `dir`.
fn certificates(dir: &Path) -> TestResult {
    #[expect(clippy::disallowed_methods, reason = "the node under test reads the clock of the system")]
    let now = std::time::SystemTime::now();
    let validity = Validity::starting(now, Duration::from_secs(3600));
    let ca = DevCa::generate("mesh.example", validity)?;
    for name in ["node-a", "node-b"] {
        ca.issue_files(
            &format!("spiffe://mesh.example/cluster/alpha/role/worker/node/{name}").parse()?,
            validity,
            dir,
        )?;
    }
    Ok(())
}

/// Writes a configuration of `node-a` with its certificate and free ports on loopback, then `more`; returns its name.
pub(crate) fn configuration(dir: &Path, more: &str) -> Result<&'static str, Box<dyn Error>> {
    certificates(dir)?;
    let text = format!(
        "mesh.gossip.bindAddress = '127.0.0.1'\nmesh.gossip.port = 0\ncontrol.address = '127.0.0.1:0'\n\
         mesh.gossip.tls = {{ certificate = 'node-a.pem', key = 'node-a.key', trustBundle = 'ca.pem' }}\n{more}\n"
    );
    std::fs::write(dir.join("node.toml"), text)?;
    Ok("node.toml")
}
