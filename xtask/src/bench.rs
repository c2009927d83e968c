//! `cargo xtask bench`: benchmarks, built optimised and run as programs of their own. One module a subject.

mod gossip;
mod rpc;
mod table;
mod targets;

use std::process::ExitCode;

use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Options {
    /// Measure picking a peer against the least it could cost and against tower, and keeping the health of peers.
    Peers(targets::Options),
    /// Measure unary calls over our client and server against tonic's own, with mutual TLS: rate, latency, processor time;
    /// and, as root, where packets get lost. Or what it costs to call through two nodes.
    Rpc(rpc::Options),
    /// Measure a mesh of real processes: how fast news and deaths are seen by all, and what it costs.
    Gossip(gossip::Options),
}

/// Runs the benchmark.
///
/// # Errors
/// When cargo cannot be started, or the system does not say what machine this is.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match options {
        Options::Peers(options) => targets::run(targets::PEERS, options),
        Options::Rpc(options) => rpc::run(options),
        Options::Gossip(options) => gossip::run(options),
    }
}
