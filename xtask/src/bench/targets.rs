//! Benchmarks that are bench targets of crates and print a table: their figures as one, held to their limits.

use std::process::ExitCode;

use super::table::Table;
use crate::bench_discovery::machine;
use crate::process::{cargo, stdout_of};

/// Package and name of a bench target.
pub(super) type Target = (&'static str, &'static str);

/// What choosing a peer costs, and what keeping its health does.
pub(super) const PEERS: &[Target] = &[("peers-core", "peers"), ("peer-health", "health")];

/// What to do with the figures.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Fail when a limit is broken.
    #[arg(long)]
    check: bool,
}

/// Runs the benchmarks one after the other, and prints their figures as one table.
///
/// # Errors
/// When a benchmark cannot be built, fails or prints no table, or the system does not say what machine this is.
pub(super) fn run(targets: &[Target], options: &Options) -> anyhow::Result<ExitCode> {
    let mut table = Table::default();
    for (package, bench) in targets {
        table.add(&stdout_of(&mut cargo(["bench", "--quiet", "--package", package, "--bench", bench]))?)?;
    }
    conclude(&table, options)
}

/// Prints the table, and what is wrong with it.
///
/// # Errors
/// When the system does not say what machine this is.
pub(super) fn conclude(table: &Table, options: &Options) -> anyhow::Result<ExitCode> {
    println!("machine: {}\n\n{table}", machine()?);
    let broken = table.broken();
    for row in &broken {
        println!("broken limit: {row}");
    }
    Ok(if options.check && !broken.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
