//! `cargo xtask features`: what people do with a mesh, done with real nodes and the real command line tool.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::ensure;

use crate::node::NODE;
use crate::process::{cargo, succeeds, target_dir};
use crate::swarm::static_binary;

/// The command line tool, which lies beside the node's binary.
const TOOL: &str = "omnirelay";

/// Tells the tests which binary is meant.
const VARIABLE: &str = "FEATURES_NODE";

/// Which binaries are tried, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what has this in its name.
    filter: Option<String>,
    /// The node's binary, instead of the static one in dist/; the command line tool lies beside it.
    #[arg(long, value_name = "FILE", conflicts_with = "debug")]
    binary: Option<PathBuf>,
    /// A debug build of this tree, made first.
    #[arg(long)]
    debug: bool,
}

/// Runs the tests in `tests/tests/features` with these binaries.
///
/// # Errors
/// A binary is missing or does not build, or cargo cannot be started.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let node = if options.debug { build_debug()? } else { static_binary(options.binary.as_deref())? };
    let tool = node.with_file_name(TOOL);
    ensure!(tool.is_file(), "no command line tool at `{}`; `cargo xtask dist` makes both", tool.display());
    println!("binaries: {}, {}", node.display(), tool.display());
    let all_hold = try_all(&node, options.filter.as_deref())?;
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build_debug() -> anyhow::Result<PathBuf> {
    let built = succeeds(&mut cargo(["build", "--package", NODE, "--package", "omnirelay-cli"]))?;
    ensure!(built, "{NODE} or the command line tool does not build");
    Ok(target_dir().join("debug").join(NODE))
}

fn try_all(node: &Path, filter: Option<&str>) -> anyhow::Result<bool> {
    let mut tests = cargo(["test", "--quiet", "--package", "omnirelay-tests", "--test", "features", "--", "--ignored"]);
    succeeds(tests.args(filter).env(VARIABLE, node))
}
