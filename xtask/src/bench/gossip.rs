//! `cargo xtask bench gossip`: a mesh of real processes, ours beside Serf, in the same run and by the same reader.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::bench_discovery::machine;
use crate::process::{interruptible, workspace_root};
use crate::swarm::{Faults, Figures, Measure, Network, Swarm, System, find_serf, shown, static_binary};

/// How long a fresh mesh comes to rest before it is measured.
const SETTLE: Duration = Duration::from_secs(5);

/// How the measurement is taken.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Measure another system beside ours.
    #[arg(long, value_name = "SYSTEM")]
    vs: Option<Rival>,
    /// How many nodes the mesh has.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u8).range(3..=200))]
    nodes: u8,
    /// Kill nodes of a small mesh of this many, too, to see how a death depends on the number; 0 does not.
    #[arg(long, default_value_t = 50, value_name = "N")]
    small: u8,
    /// How often each thing happens, at least.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=50))]
    events: u8,
    /// How often the systems take turns; the events are shared out among the turns.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    turns: u8,
    /// How long a mesh is left alone to see what rest costs, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    rest: u16,
    /// Drop this share of all datagrams.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=90))]
    drop: Option<u8>,
    /// Only part the mesh into two halves and let it heal.
    #[arg(long, conflicts_with = "restarts")]
    partition: bool,
    /// Only stop and start every node in turn.
    #[arg(long)]
    restarts: bool,
    /// The node's binary, instead of the static one in dist/; the command line tool lies beside it.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Whom we are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Rival {
    /// Debian's Serf, with its profile for local networks.
    Serf,
}

/// The figures of one system, for one number of nodes.
#[derive(Debug)]
struct Column {
    title: &'static str,
    nodes: u8,
    figures: Figures,
}

/// A mesh that did not do what was measured, and how far it had come: what it had shown by then counts.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    /// Which mesh, in which turn.
    mesh: String,
    why: String,
}

/// Measures, prints a table and writes all samples to target/bench/gossip.json. A mesh that fails is told below the table: its
/// figures so far stay, and the others are measured all the same.
///
/// # Errors
/// A binary is missing, the run was interrupted, or the samples cannot be written.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let binary = static_binary(options.binary.as_deref())?;
    let serf = options.vs.map(|Rival::Serf| find_serf()).transpose()?;
    println!("machine: {}", machine()?);
    println!("binary: {}", binary.display());
    let network = Network::enter()?;
    let interrupted = interruptible()?;

    let room = usize::from(options.nodes) + usize::from(options.events_a_turn());
    let mut systems = vec![System::omnirelay(&binary, room, network)?];
    systems.extend(serf.map(|program| System::serf(program, room, network)).transpose()?);
    let faults = options.needs_faults().then(|| Faults::new(network)).transpose()?;
    if let (Some(percent), Some(faults)) = (options.drop, &faults) {
        faults.lose(percent)?;
        println!("network: {percent} % of all datagrams are lost");
    }

    let (mut columns, mut failures) = (Vec::new(), Vec::new());
    for turn in 1..=options.turns {
        for system in &systems {
            println!("turn {turn} of {}: {}", options.turns, system.title());
            for nodes in options.sizes() {
                let mut figures = Figures::default();
                let done = measure(options, system, nodes, faults.as_ref(), &interrupted, &mut figures);
                add(&mut columns, system.title(), nodes, &figures);
                if let Err(error) = done {
                    ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
                    let mesh = format!("{} with {nodes} nodes, turn {turn}", system.title());
                    failures.push(Failure { mesh, why: format!("{error:#}") });
                }
            }
        }
    }
    print(&columns);
    for Failure { mesh, why } in &failures {
        println!("\nFAILED: {mesh}: {why}");
    }
    write(options, &columns, &failures)?;
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    const fn events_a_turn(&self) -> u8 {
        self.events.div_ceil(self.turns)
    }

    const fn needs_faults(&self) -> bool {
        self.drop.is_some() || self.partition
    }

    /// Returns the sizes of mesh to measure, the one that everything is measured of first.
    fn sizes(&self) -> Vec<u8> {
        let small = (3..self.nodes).contains(&self.small) && !self.partition && !self.restarts;
        std::iter::once(self.nodes).chain(small.then_some(self.small)).collect()
    }
}

fn measure(
    options: &Options,
    system: &System,
    nodes: u8,
    faults: Option<&Faults>,
    interrupted: &Arc<AtomicBool>,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (count, events) = (usize::from(nodes), usize::from(options.events_a_turn()));
    let mut swarm = Swarm::new(system, Arc::clone(interrupted))?;
    swarm.meet(count, figures)?;
    swarm.pass(SETTLE)?;
    if options.partition {
        swarm.partition(faults.context("a partition needs nftables")?, figures)?;
    } else if options.restarts {
        swarm.restart_all(figures)?;
    } else {
        if nodes == options.nodes {
            swarm.updates(events, figures)?;
            swarm.joins_and_leaves(count..count + events, figures)?;
            swarm.pass(SETTLE)?;
            swarm.rest(Duration::from_secs(u64::from(options.rest)), figures)?;
        }
        swarm.kills(events, figures)?;
    }
    Ok(())
}

fn add(columns: &mut Vec<Column>, title: &'static str, nodes: u8, figures: &Figures) {
    match columns.iter_mut().find(|column| column.title == title && column.nodes == nodes) {
        Some(column) => column.figures.extend(figures),
        None => columns.push(Column { title, nodes, figures: figures.clone() }),
    }
}

/// Prints a line a measure: median and worst of each system, and how the medians compare.
fn print(columns: &[Column]) {
    let mut sizes: Vec<u8> = columns.iter().map(|column| column.nodes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for nodes in sizes.into_iter().rev() {
        let columns: Vec<_> = columns.iter().filter(|column| column.nodes == nodes).collect();
        let Some((ours, rivals)) = columns.split_first() else { continue };
        let titles: Vec<_> = columns.iter().map(|column| format!("{:>22}", column.title)).collect();
        let title = format!("{nodes} nodes, median (worst)");
        println!("\n{title:<62}{}{}", titles.concat(), if rivals.is_empty() { "" } else { "   ratio" });
        let measures: BTreeSet<Measure> = columns.iter().flat_map(|column| column.figures.measures()).collect();
        for measure in measures {
            let cells: String =
                columns.iter().map(|column| format!("{:>22}", cell(&column.figures, measure))).collect();
            let ratio = rivals.first().and_then(|rival| ratio(&ours.figures, &rival.figures, measure));
            println!(
                "{:<62}{cells}{:>8}",
                measure.title(),
                ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
            );
        }
    }
}

fn cell(figures: &Figures, measure: Measure) -> String {
    match (figures.median(measure), figures.worst(measure)) {
        (Some(median), Some(worst)) => format!("{} ({})", shown(median), shown(worst)),
        _ => "-".to_owned(),
    }
}

fn ratio(ours: &Figures, theirs: &Figures, measure: Measure) -> Option<f64> {
    let (ours, theirs) = (ours.median(measure)?, theirs.median(measure)?);
    (theirs > 0.0).then(|| ours / theirs)
}

fn write(options: &Options, columns: &[Column], failures: &[Failure]) -> anyhow::Result<()> {
    let systems: Vec<Value> = columns
        .iter()
        .map(|column| {
            let Column { title, nodes, figures } = column;
            json!({"system": title, "nodes": nodes, "measures": figures.document()})
        })
        .collect();
    let failures: Vec<Value> = failures.iter().map(|Failure { mesh, why }| json!({"mesh": mesh, "why": why})).collect();
    let document = json!({
        "machine": machine()?, "events": options.events, "turns": options.turns, "lossPercent": options.drop,
        "systems": systems, "failures": failures,
    });
    let folder = workspace_root().join("target/bench");
    let path = folder.join("gossip.json");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&path, format!("{document:#}\n")))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    println!("\nall samples: {}", path.display());
    Ok(())
}
