//! `cargo xtask sim`: simulations, built optimised and run as programs of their own.

use std::process::{Command, ExitCode};

use clap::Subcommand;

use crate::process::{cargo, succeeds, workspace_root};

/// What to simulate.
#[derive(Debug, Subcommand)]
pub(crate) enum Options {
    /// Compare the choosers with tower's Peak-EWMA and with Prequal, and hold ours to their limits.
    Balance(Balance),
    /// Run meshes under faults drawn from seeds, each twice, and hold them to the protocol's invariants.
    Membership(Membership),
}

/// Which meshes to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Membership {
    /// How many seeds.
    #[arg(long, default_value_t = 64, value_name = "N")]
    seeds: u64,
    /// The first of them; the others follow.
    #[arg(long, default_value_t = 1, value_name = "S")]
    first_seed: u64,
    /// Most nodes of a mesh: each seed draws from 2 to this; 64 unless said. With a scenario, all have so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=10_000))]
    nodes: Option<u16>,
    /// Steps of 10 ms a run.
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    steps: u32,
    /// Tell what befalls the mesh of the first seed and what its nodes say.
    #[arg(long)]
    trace: bool,
    /// Measure what the protocol promises instead: loss, stalls, crash, partition, joins, spread, storm, profiles, knobs, clocks, releases, or all; or large, one mesh of thousands.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["steps", "trace"])]
    scenario: Option<String>,
}

/// Which part of the comparison to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Balance {
    /// Where chance starts, several separated by commas: the same seed gives the same numbers.
    #[arg(long, default_value = "7", value_name = "N,…")]
    seed: String,
    /// Only these scenarios, s0 to s5.
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
    let mut program = match options {
        Options::Balance(balance) => balance.program(),
        Options::Membership(membership) => membership.program(),
    };
    Ok(if succeeds(&mut program)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn example(name: &str) -> Command {
    cargo(["run", "--quiet", "--release", "--package", "sim", "--example", name, "--"])
}

impl Balance {
    fn program(&self) -> Command {
        let mut program = example("balance");
        // The program narrows down what it has: first how much, then which.
        program.args(self.quick.then_some("--quick"));
        program.args(["--seed", &self.seed]);
        for (flag, value) in [("--scenario", &self.scenario), ("--policy", &self.policy)] {
            if let Some(value) = value {
                program.args([flag, value]);
            }
        }
        if self.plots {
            program.arg("--plots").arg(workspace_root().join("docs"));
        }
        program
    }
}

impl Membership {
    fn program(&self) -> Command {
        let mut program = match &self.scenario {
            Some(name) => {
                let mut program = example("scenarios");
                program.arg(name);
                program
            }
            None => {
                let mut program = example("membership");
                program.args(["--steps", &self.steps.to_string()]);
                program.args(self.trace.then_some("--trace"));
                program
            }
        };
        program.args(["--seeds", &self.seeds.to_string(), "--first-seed", &self.first_seed.to_string()]);
        if let Some(nodes) = self.nodes {
            program.args(["--nodes", &nodes.to_string()]);
        }
        program
    }
}
