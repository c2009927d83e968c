//! `cargo xtask`: builds, checks and multi-node runs of the workspace.
//!
//! Each verb is one module. The rules behind a check are pure functions in it; the verb reads the tree,
//! asks them, and prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people and CI: printing is its work")]

mod bench;
mod bench_discovery;
mod ci;
mod cluster;
mod dist;
mod docs;
mod doctor;
mod drill;
mod features;
mod fuzz;
mod hyperscale;
mod interop;
mod layering;
mod link_order;
mod metrics_lint;
mod mutants;
mod node;
mod process;
mod sim;
mod swarm;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, checks and multi-node runs of the OmniRelay workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Xtask {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the gate: format, layering, tidy, clippy, docs, settings, doctests, fuzz, tests.
    Ci,
    /// Run the tests of the workspace.
    Test {
        /// Only those whose name holds this.
        filter: Option<String>,
    },
    /// Check the floors: who may depend on whom, what pure crates reach.
    Layering {
        /// The workspace to check, instead of this one.
        #[arg(long, value_name = "FILE")]
        manifest_path: Option<PathBuf>,
    },
    /// Check the text of the tree: file sizes, leftovers, manifests, what lies where.
    Tidy,
    /// Print the table of all settings from the code, check that docs/configuration.md has it, or write it there.
    Docs(docs::Options),
    /// Say what this machine has and lacks, and how to get it.
    Doctor,
    /// Build the static release binaries into dist/, check and measure them.
    Dist(dist::Options),
    /// Find out which functions a node runs, so that `dist` puts them together.
    LinkOrder(link_order::Options),
    /// Run real nodes on loopback until interrupted.
    Cluster(cluster::Options),
    /// Run a benchmark.
    #[command(subcommand)]
    Bench(bench::Options),
    /// Measure how long three nodes take to find each other.
    BenchDiscovery(bench_discovery::Options),
    /// Try what people do with a mesh: real nodes, the real command line tool, each role.
    Features(features::Options),
    /// Kill nodes of a mesh, and stop others in order; measure what the survivors report.
    Drill(drill::Options),
    /// Hold real processes, nodes by the hundred among them, to what is promised.
    #[command(subcommand)]
    Hyperscale(hyperscale::Options),
    /// Hold our crates to stacks that others have made.
    #[command(subcommand)]
    Interop(interop::Options),
    /// Feed mutated messages and revocation lists to those who read them, on the stable compiler.
    Fuzz(fuzz::Options),
    /// Run a simulation and hold it to its limits.
    #[command(subcommand)]
    Sim(sim::Options),
    /// Plant faults in a copy of the tree, and see that each is caught by the test that is there for it.
    #[command(subcommand)]
    Mutants(mutants::Options),
    /// Judge a real node's metrics with promtool.
    MetricsLint(node::WhichNode),
}

fn main() -> ExitCode {
    let outcome = match Xtask::parse().verb {
        Verb::Ci => ci::run(),
        Verb::Test { filter } => ci::test(filter.as_deref()),
        Verb::Layering { manifest_path } => {
            layering::run(&manifest_path.unwrap_or_else(|| process::workspace_root().join("Cargo.toml")))
        }
        Verb::Tidy => tidy::run(),
        Verb::Docs(options) => docs::run(&options),
        Verb::Doctor => Ok(doctor::run()),
        Verb::Dist(options) => dist::run(&options),
        Verb::LinkOrder(options) => link_order::run(&options),
        Verb::Cluster(options) => cluster::run(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::BenchDiscovery(options) => bench_discovery::run(&options),
        Verb::Features(options) => features::run(&options),
        Verb::Drill(options) => drill::run(&options),
        Verb::Hyperscale(options) => hyperscale::run(&options),
        Verb::Interop(options) => interop::run(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
        Verb::Sim(options) => sim::run(&options),
        Verb::Mutants(options) => mutants::run(&options),
        Verb::MetricsLint(which) => metrics_lint::run(&which),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
