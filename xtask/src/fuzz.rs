//! `cargo xtask fuzz`: the fuzz targets, built and run for a while.

use std::process::ExitCode;

use crate::process::{cargo, succeeds};

/// How long, and with which luck.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What is fed; both, one after the other, unless named.
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// How long to go on with each.
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
    /// Where chance starts: the same seed gives the same inputs in the same order.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// What is fed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Target {
    /// The decoder of gossip messages.
    Messages,
    /// The reader of revocation lists, from files and from other nodes.
    RevocationLists,
}

impl Target {
    const ALL: [Self; 2] = [Self::Messages, Self::RevocationLists];

    const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::RevocationLists => "revocation-lists",
        }
    }
}

/// Runs each target as a program of its own. They are built like the tests are: the decoder optimised, overflow
/// and debug assertions on.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    for target in
        Target::ALL.into_iter().filter(|target| options.target.is_none_or(|only| only.name() == target.name()))
    {
        let mut fuzz = cargo(["run", "--quiet", "--package", "xtask", "--example", "fuzz", "--", target.name()]);
        fuzz.arg(options.seconds.to_string()).arg(options.seed.to_string());
        if !succeeds(&mut fuzz)? {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
