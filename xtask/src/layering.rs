//! `cargo xtask layering`: the floors of the house, checked on the resolved dependency graph.
//!
//! Reading `cargo metadata` and judging the graph are apart: [`check`] is a pure function, so every rule
//! is tested on a planted fault without running cargo.

mod graph;
mod metadata;
mod rules;

use std::path::Path;
use std::process::ExitCode;

use crate::process::Stopwatch;

pub(crate) use rules::check;

/// Reads the workspace at `manifest`, prints every violation, and fails when there is one.
pub(crate) fn run(manifest: &Path) -> anyhow::Result<ExitCode> {
    let clock = Stopwatch::start();
    let graph = metadata::read(manifest)?;
    let violations = check(&graph);
    for violation in &violations {
        println!("layering: {violation}");
    }
    if violations.is_empty() {
        println!("layering: {} crates on their floors ({clock})", graph.ours().count());
        return Ok(ExitCode::SUCCESS);
    }
    println!("layering: {} violation(s); the floors are in docs/ARCHITECTURE.md", violations.len());
    Ok(ExitCode::FAILURE)
}
