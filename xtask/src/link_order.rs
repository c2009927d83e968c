//! `cargo xtask link-order`: which functions a node runs, so that the linker puts them together.
//!
//! A program's pages are read as they are run, sixteen at once; functions that are run lie everywhere among those that are not, so
//! that nearly all pages are read. Put together they take a third.

mod map;
mod script;
mod trace;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use nix::unistd::Pid;

use crate::dist::{self, HOT_CODE};
use crate::process::workspace_root;
use map::Map;
use trace::Tracer;

/// What the nodes do while they are followed: they meet, change, join, leave and die, answer operators, and rest. It ends by itself.
const SCENE: [&str; 10] = ["bench", "gossip", "--nodes", "24", "--small", "0", "--turns", "1", "--events", "3"];

/// How the functions are found.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Follow the program that the last run has built.
    #[arg(long)]
    no_build: bool,
}

/// Builds the release binary with its map, runs a mesh of it, and writes which functions its nodes have entered.
///
/// # Errors
/// When the build fails, processes may not be traced here, or the mesh does not come up.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let traced = dist::traced(!options.no_build)?;
    let map =
        std::fs::read_to_string(&traced.map).with_context(|| format!("cannot read `{}`", traced.map.display()))?;
    let map = Map::parse(&map)?;
    let functions: Vec<u64> = map.functions.keys().copied().collect();
    let entered = trace_mesh(&traced.program, &functions)?;
    let path = workspace_root().join(HOT_CODE);
    std::fs::write(&path, script::script(&map, &entered))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    let (hot, warm) = (entered.hot.len(), entered.warm.len());
    println!("of {} functions most nodes entered {hot}, and some {warm}; wrote {}", functions.len(), path.display());
    println!("next: `touch {}`, since cargo does not know of the script, and `cargo xtask dist`", dist::RELINKED);
    Ok(ExitCode::SUCCESS)
}

/// Functions that nodes entered, by their address.
#[derive(Debug, Default)]
struct Entered {
    /// By at least half of them: to start, to join and to rest.
    hot: BTreeSet<u64>,
    /// By fewer: those that an operator asked, or that were stopped.
    warm: BTreeSet<u64>,
}

/// Runs a mesh and returns the functions that its nodes entered.
fn trace_mesh(program: &Path, functions: &[u64]) -> anyhow::Result<Entered> {
    // Held, until it is traced; its children are from their first moment on.
    let mut held = Command::new("sh");
    held.args(["-c", r#"read -r _ && exec "$0" "$@""#])
        .arg(std::env::current_exe().context("no program of one's own")?);
    held.args(SCENE).arg("--binary").arg(program).stdin(Stdio::piped());
    let mut held = held.spawn().context("cannot start sh")?;
    let root = Pid::from_raw(i32::try_from(held.id()).context("the process id is out of range")?);
    let mut tracer = Tracer::attach(root, program, functions)?;
    held.stdin.take().context("nothing holds the mesh")?.write_all(b"\n").context("the mesh did not wait")?;
    let status = tracer.follow()?;
    ensure!(status == Some(0), "the mesh did not end well: {status:?}");
    let processes = tracer.processes();
    ensure!(processes > 0, "no node was seen to start");
    let mut found = Entered::default();
    for (function, by) in tracer.entered() {
        let most = if by * 2 >= processes { &mut found.hot } else { &mut found.warm };
        most.insert(*function);
    }
    Ok(found)
}
