//! `cargo xtask bench peers`: what choosing a peer costs, and what keeping its health does.

use std::process::ExitCode;

use crate::bench_discovery::machine;
use crate::process::{cargo, succeeds};

/// Package and name of each benchmark.
const BENCHES: [(&str, &str); 2] = [("peers-core", "peers"), ("peer-health", "health")];

/// Runs the benchmarks one after the other, the machine's name first.
///
/// # Errors
/// When cargo cannot be started, or the system does not say what machine this is.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    println!("machine: {}", machine()?);
    let mut all_ran = true;
    for (package, bench) in BENCHES {
        all_ran &= succeeds(&mut cargo(["bench", "--quiet", "--package", package, "--bench", bench]))?;
    }
    Ok(if all_ran { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
