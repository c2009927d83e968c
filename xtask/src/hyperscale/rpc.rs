//! `cargo xtask hyperscale rpc`: the gRPC server and client in processes of their own, held to what is promised when something breaks.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

use crate::bench_discovery::machine;
use crate::doctor;
use crate::process::{cargo, succeeds, target_dir};
use crate::swarm::Network;

/// The program that does it, an example of the package with the end-to-end tests.
const PROGRAM: &str = "rpc";

/// What is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The program, instead of an optimised build of `tests/examples/rpc`.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Only this part.
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
}

/// What is done to calls between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Everything that gRPC promises, with tonic's own client and server at one end, too.
    Calls,
    /// UDP is dropped: from the start, in the middle, one way; or everything, as when a host vanishes.
    Udp,
    /// The server is killed and comes back on its port.
    Restart,
    /// Servers are drained with thousands of calls under way.
    Drain,
    /// The certificates of both sides are replaced under load.
    Rotation,
    /// 10,000 calls at once to 200 servers, half of which UDP does not reach.
    Storm,
    /// One packet of a hundred is lost.
    Loss,
    /// Of 200 nodes of a service, another tenth turns slow or fails every few seconds.
    Fleet,
}

impl Part {
    /// Returns its name, as the program knows it.
    const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Udp => "udp",
            Self::Restart => "restart",
            Self::Drain => "drain",
            Self::Rotation => "rotation",
            Self::Storm => "storm",
            Self::Loss => "loss",
            Self::Fleet => "fleet",
        }
    }
}

/// Runs the program, which prints each figure beside its limit, in a network namespace of its own if that may be.
///
/// # Errors
/// The program does not build or start.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let program = match &options.binary {
        Some(path) => std::env::current_dir().context("cannot tell the current folder")?.join(path),
        // In the namespace there is nobody to get dependencies from.
        None => build()?,
    };
    ensure!(program.is_file(), "no program at `{}`", program.display());
    println!("machine: {}", machine()?);
    println!("binary: {}", program.display());
    let all_hold = succeeds(&mut hold(&program, options.only)?)?;
    println!("\nhyperscale: {}", if all_hold { "every limit is kept" } else { "a limit is BROKEN" });
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build() -> anyhow::Result<PathBuf> {
    let built = succeeds(&mut cargo(["build", "--release", "--package", "omnirelay-tests", "--example", PROGRAM]))?;
    ensure!(built, "the example {PROGRAM} does not build");
    Ok(target_dir().join("release").join("examples").join(PROGRAM))
}

/// Enters the namespace, and makes the call of the program.
fn hold(program: &Path, only: Option<Part>) -> anyhow::Result<Command> {
    let nft = doctor::find("nft");
    let network = match (Network::enter()?, &nft) {
        (Network::Own, Some(_)) => "own",
        (Network::Own, None) => {
            println!("nft is missing: apt-get install --no-install-recommends nftables");
            "shared"
        }
        (Network::Shared, _) => "shared",
    };
    let mut command = Command::new(program);
    command.arg("hold").arg(network).args(only.map(Part::name));
    if let Some(nft) = nft {
        command.env("NFT", nft);
    }
    Ok(command)
}
