//! `cargo xtask cluster`: real nodes on loopback, for other tools to talk to.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::node::WhichNode;
use crate::process::name_of;

/// How the cluster is started.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many nodes to start.
    #[arg(long, default_value_t = 3, value_name = "N")]
    nodes: u16,
    /// Where the nodes' folder with certificates and logs is made, and removed again at the end.
    #[arg(long, value_name = "DIR")]
    base_dir: Option<PathBuf>,
    #[command(flatten)]
    which: WhichNode,
}

/// Becomes the node's `dev` command, so that signals and the exit code are its own.
///
/// # Errors
/// When there is no binary or it cannot be started; it does not return otherwise.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut dev = Command::new(options.which.locate()?);
    dev.arg("dev").arg("--nodes").arg(options.nodes.to_string());
    if let Some(folder) = &options.base_dir {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        dev.env("TMPDIR", folder);
    }
    Err(dev.exec()).with_context(|| format!("cannot start {}", name_of(&dev)))
}
