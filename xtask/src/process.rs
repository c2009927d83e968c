//! Running other programs, and the one clock that xtask reads.

use std::ffi::OsStr;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The platform we ship and check for.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Measures how long something took; prints as seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "xtask times other programs; nothing simulates it")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

impl fmt::Display for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1} s", self.elapsed().as_secs_f64()))
    }
}

/// Returns the root folder of the workspace that this xtask was built in.
pub(crate) fn workspace_root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or_else(|| xtask.to_path_buf(), Path::to_path_buf)
}

/// Returns the folder that the workspace is built in.
pub(crate) fn target_dir() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    workspace_root().join(named)
}

/// Makes a call of the cargo that runs xtask, in the root of the workspace.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(args).current_dir(workspace_root());
    // `cargo run` tells xtask about its own package. Build scripts that watch these (ring's does) would see them
    // change between a cargo under xtask and one by hand, and build everything again each time.
    for (name, _) in std::env::vars_os() {
        if is_about_own_package(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

fn is_about_own_package(variable: &str) -> bool {
    const NAMES: [&str; 3] = ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
    NAMES.contains(&variable) || variable.starts_with("CARGO_MANIFEST_") || variable.starts_with("CARGO_PKG_")
}

/// Runs `command` with the terminal as its own and returns whether it succeeded.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    let status = command.status().with_context(|| format!("cannot start {}", name_of(command)))?;
    Ok(status.success())
}

/// Runs `command` and returns what it wrote to stdout; its stderr goes to ours.
///
/// # Errors
/// When it cannot be started, fails, or writes something that is not text.
pub(crate) fn stdout_of(command: &mut Command) -> anyhow::Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot start {}", name_of(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", name_of(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} wrote bytes that are not text", name_of(command)))
}

/// Runs `command` like [`stdout_of`], but kills it when its stdout is still open after `timeout`.
///
/// # Errors
/// Those of [`stdout_of`], and when the time is over.
pub(crate) fn stdout_within(command: &mut Command, timeout: Duration) -> anyhow::Result<String> {
    let name = name_of(command);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let mut child = child.with_context(|| format!("cannot start {name}"))?;
    let text = match read_to_end(&mut child).recv_timeout(timeout) {
        Ok(text) => text.with_context(|| format!("cannot read what {name} wrote"))?,
        Err(late) => {
            child.kill().with_context(|| format!("cannot kill {name}"))?;
            child.wait().with_context(|| format!("cannot wait for {name}"))?;
            return Err(late).with_context(|| format!("{name} did not end within {timeout:?}"));
        }
    };
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    Ok(text)
}

/// Reads the child's stdout on a thread of its own, which ends when the child closes it.
fn read_to_end(child: &mut Child) -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    if let Some(mut stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut text = String::new();
            let outcome = stdout.read_to_string(&mut text).map(|_| text);
            // The receiver is gone only when the wait timed out; nobody wants the text then.
            drop(sender.send(outcome));
        });
    }
    receiver
}

/// Returns a flag that Ctrl-C raises instead of ending this process, once; the second one ends it.
///
/// # Errors
/// The system refuses.
pub(crate) fn interruptible() -> anyhow::Result<Arc<AtomicBool>> {
    let raised = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_default(signal, Arc::clone(&raised)).context("cannot listen for signals")?;
        flag::register(signal, Arc::clone(&raised)).context("cannot listen for signals")?;
    }
    Ok(raised)
}

/// Returns the command as a person would type it, without its environment.
pub(crate) fn name_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy);
    format!("`{}`", words.collect::<Vec<_>>().join(" "))
}
