//! `cargo xtask bench-discovery`: how long three nodes take to find each other, again and again.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::node::{WhichNode, discover_once};

/// What is required, in milliseconds: the worst run stays below.
const DISCOVERY_MS_MAX: f64 = 2000.0;

/// How the measurement is taken.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many meshes to start, one after the other.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    times: u16,
    #[command(flatten)]
    which: WhichNode,
}

/// Prints every run, the median, the worst and the machine; fails when the worst is too slow.
///
/// # Errors
/// When there is no binary or a run fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let binary = options.which.locate()?;
    println!("machine: {}", machine()?);
    println!("binary: {}", binary.display());
    let mut runs = Vec::with_capacity(usize::from(options.times));
    for number in 1..=options.times {
        let found = discover_once(&binary).with_context(|| format!("run {number} of {}", options.times))?;
        println!("run {number:>2}: discovery_ms {:.1}", found.discovery_ms);
        runs.push(found.discovery_ms);
    }
    runs.sort_by(f64::total_cmp);
    let worst = runs.last().copied().context("no run was made")?;
    println!("discovery_ms of {} runs: median {:.1}, worst {worst:.1}", runs.len(), median(&runs));
    if worst >= DISCOVERY_MS_MAX {
        println!("too slow: the worst must stay below {DISCOVERY_MS_MAX} ms");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the middle of `sorted`, or the mean of the middle two.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[half - 1], sorted[half]) } else { sorted[half] }
}

/// Returns what the figures were taken on.
///
/// # Errors
/// When the system does not say.
pub(crate) fn machine() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism().context("cannot count the cores")?;
    let text = std::fs::read_to_string("/proc/cpuinfo").context("cannot read `/proc/cpuinfo`")?;
    Ok(format!("{cores} cores, {}", cpu_model(&text).unwrap_or("unknown model")))
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert_eq!([median(&[7.0]), median(&[1.0, 2.0, 9.0]), median(&[1.0, 2.0, 4.0, 9.0])], [7.0, 2.0, 3.0]);
    }

    #[test]
    fn the_model_is_read_from_its_line() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"), Some("Some CPU @ 2 GHz"));
        assert_eq!(cpu_model("processor\t: 0\n"), None);
    }
}
