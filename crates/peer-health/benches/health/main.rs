//! What keeping the health of peers costs: `cargo bench -p peer-health --bench health`.
//!
//! The figures are medians, as rows of a Markdown table that `cargo xtask bench peers` puts together with another.
//! Contestants that are compared take turns, and a ratio is the median of the rounds' ratios, so that a moment in which
//! the machine is slow is slow for both sides. With `-- --check` it fails when a limit is broken.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark reads the clock and has rivals")]

mod documents;
mod heartbeats;
mod peers;
mod report;
mod rival;
mod rounds;
mod snapshots;
mod throughput;

use std::error::Error;
use std::process::ExitCode;

use report::Report;
use rounds::Effort;

/// Why a benchmark could not be run.
type Failure = Box<dyn Error>;

fn main() -> Result<ExitCode, Failure> {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    // As a test target, without `cargo bench`: that everything runs is all that can be said.
    let effort = if given("--bench") { Effort::Measure } else { Effort::Try };
    let mut report = Report::new(effort);
    heartbeats::run(effort, &mut report)?;
    snapshots::run(effort, &mut report)?;
    documents::run(effort, &mut report)?;
    throughput::run(effort, &mut report)?;
    if effort == Effort::Try || !given("--check") || report.broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    report.broken.iter().for_each(|row| eprintln!("broken limit: {row}"));
    Ok(ExitCode::FAILURE)
}
