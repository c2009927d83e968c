//! `cargo xtask sim`: simulations, built optimised and run as programs of their own.

use std::process::ExitCode;

use clap::Subcommand;

use crate::process::{cargo, succeeds, workspace_root};

/// What to simulate.
#[derive(Debug, Subcommand)]
pub(crate) enum Options {
    /// Compare the choosers with tower's Peak-EWMA and with Prequal, and hold ours to their limits.
    Balance(Balance),
}

/// Which part of the comparison to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Balance {
    /// Where chance starts, several separated by commas: the same seed gives the same numbers.
    #[arg(long, default_value = "7", value_name = "N,…")]
    seed: String,
    /// Only these scenarios, s0 to s4.
    #[arg(long, value_name = "NAME,…")]
    scenario: Option<String>,
    /// Only these policies.
    #[arg(long, value_name = "NAME,…")]
    policy: Option<String>,
    /// Shorter runs of only what the limits need.
    #[arg(long)]
    quick: bool,
    /// Draw the plots in docs/ anew.
    #[arg(long)]
    plots: bool,
}

/// Runs the simulation; it fails when a limit is broken.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options::Balance(balance) = options;
    let mut program = cargo(["run", "--quiet", "--release", "--package", "sim", "--example", "balance", "--"]);
    // The program narrows down what it has: first how much, then which.
    program.args(balance.quick.then_some("--quick"));
    program.args(["--seed", &balance.seed]);
    for (flag, value) in [("--scenario", &balance.scenario), ("--policy", &balance.policy)] {
        if let Some(value) = value {
            program.args([flag, value]);
        }
    }
    if balance.plots {
        program.arg("--plots").arg(workspace_root().join("docs"));
    }
    Ok(if succeeds(&mut program)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
