//! `cargo xtask bench rpc`: what a call costs, and how long it takes where packets get lost.

use std::process::ExitCode;

use super::table::Table;
use super::targets::{self, Options};
use crate::process::{cargo, stdout_of};
use crate::swarm::{Faults, Network};

/// Share of all packets that is lost in each direction.
const LOST_PERCENT: u8 = 1;

/// Largest packet, as on Ethernet.
const PACKET_BYTES: u16 = 1500;

/// Runs the benchmark, and then once more in a network that loses packets if there can be one.
///
/// # Errors
/// When the benchmark cannot be built, fails or prints no table, or the network cannot be made ready.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
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
