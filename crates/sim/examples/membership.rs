//! Runs meshes under faults, a band of seeds; `cargo xtask sim membership` runs it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people and CI: printing is its work")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, bail, ensure};
use membership::Options;
use sim::chaos::{Band, Outcome, Plan};

const USAGE: &str = "usage: membership [--seeds N] [--first-seed S] [--nodes N] [--steps N] [--trace]";

/// After how many seeds it is told how far it has come.
const TOLD_EVERY: u64 = 256;

struct Wanted {
    seeds: u64,
    first_seed: u64,
    band: Band,
    /// Whether to tell everything that happens, of the first seed only.
    trace: bool,
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("membership: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let wanted = read(std::env::args().skip(1))?;
    if wanted.trace {
        return Ok(trace(&wanted.band, wanted.first_seed));
    }
    let outcomes = run_band(&wanted)?;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut broken = 0;
    for outcome in &outcomes {
        for (kind, count) in &outcome.counts {
            *counts.entry(kind).or_default() += count;
        }
        if outcome.violation.is_some() {
            broken += 1;
            println!("{outcome}");
            println!("  replay: {}", replay(&wanted.band, outcome.seed));
        }
    }
    let packets: u64 = outcomes.iter().map(|outcome| outcome.packets).sum();
    let all = outcomes.iter().fold(0_u64, |all, outcome| all.rotate_left(1) ^ outcome.hash);
    println!("{} runs, each twice; {packets} packets in a run of each; events {counts:?}", outcomes.len());
    println!("hash over all runs: {all:016x}");
    println!("{broken} run(s) broke an invariant");
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs all seeds, on all processors.
fn run_band(wanted: &Wanted) -> anyhow::Result<Vec<Outcome>> {
    let (next, finished) = (AtomicU64::new(0), AtomicU64::new(0));
    let workers = thread::available_parallelism().context("cannot count the processors")?;
    let mut outcomes = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.get()).map(|_| scope.spawn(|| run_some(wanted, &next, &finished))).collect();
        for worker in workers {
            let Ok(done) = worker.join() else { bail!("a run panicked") };
            outcomes.extend(done);
        }
        Ok(())
    })?;
    outcomes.sort_by_key(|outcome| outcome.seed);
    Ok(outcomes)
}

/// Runs one seed after the other until none is left, and tells now and then how far all have come.
fn run_some(wanted: &Wanted, next: &AtomicU64, finished: &AtomicU64) -> Vec<Outcome> {
    let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
    let seeds = numbers.take_while(|number| *number < wanted.seeds).map(|number| wanted.first_seed + number);
    let run = |seed| {
        let outcome = wanted.band.run_twice(seed);
        let so_far = finished.fetch_add(1, Ordering::Relaxed) + 1;
        if outcome.violation.is_some() || so_far.is_multiple_of(TOLD_EVERY) {
            eprintln!("{so_far} of {} seeds; {outcome}", wanted.seeds);
        }
        outcome
    };
    seeds.map(run).collect()
}

/// Tells all that befalls a mesh and all that its nodes say.
fn trace(band: &Band, seed: u64) -> ExitCode {
    let plan = Plan::draw(band, seed);
    println!("{} nodes, {} seeds of the mesh", plan.settings.nodes, plan.settings.seeds);
    for (step, fault) in &plan.faults {
        println!("before step {step}: {fault:?}");
    }
    let (outcome, mesh) = band.run_logged(seed, true);
    for entry in mesh.log() {
        println!("{entry}");
    }
    println!("{outcome}");
    if outcome.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(band: &Band, seed: u64) -> String {
    let Band { steps, most_nodes, .. } = band;
    format!("cargo xtask sim membership --first-seed {seed} --nodes {most_nodes} --steps {steps} --trace")
}

fn read(mut args: impl Iterator<Item = String>) -> anyhow::Result<Wanted> {
    let band = Band { steps: 5_000, most_nodes: 64, options: Options::default() };
    let mut wanted = Wanted { seeds: 64, first_seed: 1, band, trace: false };
    while let Some(flag) = args.next() {
        let mut number = || -> anyhow::Result<u64> {
            let word = args.next().with_context(|| format!("{flag} wants a number; {USAGE}"))?;
            word.parse().with_context(|| format!("`{word}` is no number"))
        };
        match flag.as_str() {
            "--seeds" => wanted.seeds = number()?,
            "--first-seed" => wanted.first_seed = number()?,
            "--nodes" => wanted.band.most_nodes = usize::try_from(number()?)?,
            "--steps" => wanted.band.steps = u32::try_from(number()?)?,
            "--trace" => wanted.trace = true,
            _ => bail!("`{flag}` is not known; {USAGE}"),
        }
    }
    ensure!((2..=9_999).contains(&wanted.band.most_nodes), "a mesh has 2 to 9999 nodes");
    Ok(wanted)
}
