//! `cargo xtask bench rpc`: what a call costs, how long it takes where packets get lost, and what it costs more through nodes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::table::Table;
use super::targets;
use crate::doctor;
use crate::process::{cargo, stdout_of};
use crate::swarm::{Faults, Network, static_binary};

/// Share of all packets that is lost in each direction.
const LOST_PERCENT: u8 = 1;

/// Largest packet, as on Ethernet.
const PACKET_BYTES: u16 = 1500;

/// What is called, and beside whom.
#[derive(Debug, clap::Args)]
#[group(id = "rpc")]
pub(crate) struct Options {
    #[command(flatten)]
    figures: targets::Options,
    /// Instead, measure calls of an application through its own node and another to the service beside that.
    #[arg(long, value_name = "WHAT")]
    through: Option<Through>,
    /// Measure a proxy in the nodes' place, too; may be given several times.
    #[arg(long, value_name = "PROXY", requires = "through")]
    vs: Vec<Proxy>,
    /// The node's binary, instead of the static one in dist/.
    #[arg(long, value_name = "FILE", requires = "through")]
    binary: Option<PathBuf>,
}

/// What calls go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Through {
    /// Two nodes.
    Nodes,
}

/// A proxy of Debian's that speaks gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Proxy {
    Haproxy,
    Nghttpx,
    Nginx,
}

impl Proxy {
    const fn program(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nghttpx => "nghttpx",
            Self::Nginx => "nginx",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nghttpx => "nghttp2-proxy",
            Self::Nginx => "nginx",
        }
    }

    /// Returns what the benchmark is told of it: its name, and where it is.
    fn found(self) -> anyhow::Result<String> {
        let (program, package) = (self.program(), self.package());
        let path = doctor::find(program).with_context(|| {
            format!("{program} is not installed: apt-get install --no-install-recommends {package}")
        })?;
        Ok(format!("{program}={}", path.display()))
    }
}

/// Runs the benchmark that was asked for: through nodes; or else over our client and server, and then once more in a network that loses
/// packets if there can be one.
///
/// # Errors
/// When something is not installed, the benchmark cannot be built, fails or prints no table, or the network cannot be made ready.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match options.through {
        Some(Through::Nodes) => through(&static_binary(options.binary.as_deref())?, options),
        None => direct(&options.figures),
    }
}

fn through(binary: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let binary = binary.to_str().context("the path of the binary is not text")?;
    let mut args = vec!["--".to_owned(), "--through".to_owned(), binary.to_owned()];
    for proxy in &options.vs {
        args.extend(["--vs".to_owned(), proxy.found()?]);
    }
    println!("binary: {binary}");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut table = Table::default();
    table.add(&printed(&args)?)?;
    targets::conclude(&table, &options.figures)
}

fn direct(options: &targets::Options) -> anyhow::Result<ExitCode> {
    let mut table = Table::default();
    table.add(&printed(&[])?)?;
    let network = Network::enter()?;
    if network == Network::Own {
        network.limit_packets(PACKET_BYTES)?;
        Faults::new(network)?.lose_of_all(LOST_PERCENT)?;
        table.add(&printed(&["--", "--lossy"])?)?;
    } else {
        println!("calls where packets get lost are not measured");
    }
    targets::conclude(&table, options)
}

fn printed(more: &[&str]) -> anyhow::Result<String> {
    let bench = ["bench", "--quiet", "--package", "grpc-client-factory", "--bench", "rpc"];
    stdout_of(&mut cargo(bench.iter().chain(more).copied()))
}
