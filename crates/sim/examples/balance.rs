//! Compares ways of choosing a server in a simulated fleet; `cargo xtask sim balance` runs it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people and CI: printing is its work")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use sim::balance::{Kind, Results, SCENARIOS, Scenario, judge, model, plots, quick, tables, verdicts};

const USAGE: &str = "usage: balance [--seed N,…] [--scenario NAME,…] [--policy NAME,…] [--quick] [--plots FOLDER]";

/// What to run.
struct Options {
    seeds: Vec<u64>,
    scenarios: Vec<Scenario>,
    kinds: Vec<Kind>,
    plots: Option<PathBuf>,
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("balance: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let options = read(std::env::args().skip(1))?;
    println!("{}", model());
    let mut broken = 0;
    for seed in &options.seeds {
        println!("\n=== seed {seed}");
        let results = Results::run(&options.scenarios, &options.kinds, *seed);
        print!("{}", tables(&results, &options.scenarios));
        let judged = judge(&results);
        print!("{}", verdicts(&judged));
        broken += judged.iter().filter(|verdict| !verdict.is_kept()).count();
        if let Some(folder) = &options.plots {
            draw(folder, &results)?;
        }
    }
    println!("\n{broken} limit(s) broken");
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn draw(folder: &Path, results: &Results) -> anyhow::Result<()> {
    for (name, svg) in plots(results) {
        let path = folder.join(name);
        std::fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

fn read(mut args: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options { seeds: vec![7], scenarios: SCENARIOS.to_vec(), kinds: Kind::ALL.to_vec(), plots: None };
    while let Some(flag) = args.next() {
        let mut value = || args.next().with_context(|| format!("{flag} wants a value; {USAGE}"));
        match flag.as_str() {
            "--seed" => options.seeds = value()?.split(',').map(seed).collect::<anyhow::Result<_>>()?,
            "--scenario" => options.scenarios = chosen(&options.scenarios, &value()?, |scenario| scenario.name)?,
            "--policy" => options.kinds = chosen(&options.kinds, &value()?, |kind| kind.name())?,
            "--quick" => {
                println!("quick: s2, s3, s3b for 20 s, s5 for 60 s; no s0b, no s3c; only policies with limits");
                (options.scenarios, options.kinds) = (quick(), Kind::LIMITED.to_vec());
            }
            "--plots" => options.plots = Some(value()?.into()),
            _ => bail!("`{flag}` is not known; {USAGE}"),
        }
    }
    Ok(options)
}

fn seed(word: &str) -> anyhow::Result<u64> {
    word.parse().with_context(|| format!("`{word}` is no seed"))
}

/// Returns those of `all` whose names are in the list `names`.
fn chosen<T: Clone>(all: &[T], names: &str, name: impl Fn(&T) -> &str) -> anyhow::Result<Vec<T>> {
    let known = || all.iter().map(&name).collect::<Vec<_>>().join(", ");
    for wanted in names.split(',') {
        ensure!(all.iter().any(|item| name(item) == wanted), "`{wanted}` is not one of {}", known());
    }
    Ok(all.iter().filter(|item| names.split(',').any(|wanted| name(item) == wanted)).cloned().collect())
}
