//! `cargo xtask fuzz`: the fuzz target, built and run for a while.

use std::process::ExitCode;

use crate::process::{cargo, succeeds};

/// How long, and with which luck.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long to go on.
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
    /// Where chance starts: the same seed gives the same inputs in the same order.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// Runs the target as a program of its own. It is built like the tests are: the decoder optimised, overflow
/// and debug assertions on.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut target = cargo(["run", "--quiet", "--package", "xtask", "--example", "fuzz_decoder", "--"]);
    target.arg(options.seconds.to_string()).arg(options.seed.to_string());
    Ok(if succeeds(&mut target)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
