//! `cargo xtask dist`: the static release binaries, built, checked and measured.

mod build;
mod elf;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

pub(crate) use build::{HOT_CODE, RELINKED, traced};

use crate::node::{Discovery, NODE, discover_once};
use crate::process::{Stopwatch, stdout_within, workspace_root};

const CLI: &str = "omnirelay";

/// A program that only prints its version is done by then.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts measured for the start time; the median is reported.
const STARTS: usize = 5;

/// Which C library is linked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Libc {
    /// glibc, linked statically: what is released.
    Gnu,
    /// musl: runs everywhere too, but costs throughput.
    Musl,
}

/// What is built and where it goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Check and measure what lies in `dist/`, without building.
    #[arg(long)]
    check_only: bool,
    /// The C library to link in.
    #[arg(long, value_enum, default_value_t = Libc::Gnu)]
    target: Libc,
}

/// What is written to `report.json`.
#[derive(Debug, Serialize)]
struct Report {
    target: &'static str,
    binaries: Vec<Binary>,
    /// From the start of three nodes to each seeing all, as the node tells it.
    discovery_ms: f64,
}

/// One checked binary.
#[derive(Debug, Serialize)]
struct Binary {
    name: &'static str,
    version: String,
    size_bytes: u64,
    statically_linked: bool,
    /// Median of a few runs of `--version`: exec to exit.
    start_ms: f64,
}

/// Builds the binaries into `dist/`, checks them, and prints and writes what they measure.
///
/// # Errors
/// When the build fails or warns, a binary is not static, does not start, or does not serve.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let folder = match options.target {
        Libc::Gnu => workspace_root().join("dist"),
        Libc::Musl => workspace_root().join("dist").join("musl"),
    };
    if !options.check_only {
        build::build(options.target, &[NODE, CLI], &folder)?;
    }
    let report = Report {
        target: build::triple(options.target),
        binaries: vec![check(&folder, NODE)?, check(&folder, CLI)?],
        discovery_ms: serves(&folder.join(NODE))?.discovery_ms,
    };
    print(&report);
    let path = folder.join("report.json");
    let json = serde_json::to_string_pretty(&report).context("cannot write the report as JSON")?;
    std::fs::write(&path, json + "\n").with_context(|| format!("cannot write `{}`", path.display()))?;
    println!("dist: {} is static, starts and serves; wrote {}", folder.display(), path.display());
    Ok(ExitCode::SUCCESS)
}

fn check(folder: &Path, name: &'static str) -> anyhow::Result<Binary> {
    let path = folder.join(name);
    let missing = || format!("cannot read `{}`; `cargo xtask dist` makes it", path.display());
    let image = std::fs::read(&path).with_context(missing)?;
    let statically_linked = elf::is_static(&image).with_context(|| format!("cannot judge `{}`", path.display()))?;
    ensure!(statically_linked, "`{}` is not statically linked: it names a loader", path.display());
    let size_bytes = u64::try_from(image.len()).context("the file is too large to count")?;
    let (version, start_ms) = start(&path)?;
    Ok(Binary { name, version, size_bytes, statically_linked, start_ms })
}

/// Returns what `--version` prints and the median time it takes, in milliseconds.
fn start(path: &PathBuf) -> anyhow::Result<(String, f64)> {
    let mut version = String::new();
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let clock = Stopwatch::start();
        version = stdout_within(Command::new(path).arg("--version"), VERSION_TIMEOUT)?;
        times.push(clock.elapsed().as_secs_f64() * 1e3);
    }
    ensure!(!version.trim().is_empty(), "`{} --version` printed nothing", path.display());
    times.sort_by(f64::total_cmp);
    Ok((version.trim().to_owned(), times[STARTS / 2]))
}

fn serves(node: &Path) -> anyhow::Result<Discovery> {
    discover_once(node).with_context(|| format!("`{}` starts but does not serve", node.display()))
}

fn print(report: &Report) {
    println!("{:<16} {:>14} {:>8} {:>10}  version", "binary", "size (bytes)", "static", "start (ms)");
    for Binary { name, version, size_bytes, statically_linked, start_ms } in &report.binaries {
        let linked = if *statically_linked { "yes" } else { "no" };
        println!("{name:<16} {size_bytes:>14} {linked:>8} {start_ms:>10.1}  {version}");
    }
    println!("target {}, three nodes found each other in {:.1} ms", report.target, report.discovery_ms);
}
