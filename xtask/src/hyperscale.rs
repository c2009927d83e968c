//! `cargo xtask hyperscale`: real processes, nodes by the hundred among them, held to what is promised.

mod rpc;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;

use crate::bench_discovery::machine;
use crate::process::interruptible;
use crate::swarm::{Faults, Figures, Measure, Network, Swarm, System, shown, static_binary};

/// Updates of which the worst is told.
const UPDATES: usize = 100;

/// Newcomers that join and leave, and nodes that are killed, each.
const EVENTS: usize = 7;

/// Nodes of the small mesh: a death there is compared with one in the large mesh.
const SMALL: usize = 50;

/// Nodes of the mesh that meets with faults.
const FAULTY: usize = 100;

/// Datagrams that get lost while every node is restarted.
const LOSS_PERCENT: u8 = 25;

/// How long a fresh mesh comes to rest, and how long its rest is measured.
const SETTLE: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(60);

/// What to hold to its promises.
#[derive(Debug, Subcommand)]
pub(crate) enum Options {
    /// Membership: news, deaths, newcomers, rest, partitions, restarts and certificates.
    Gossip(Gossip),
    /// gRPC between processes: killed and drained servers, lost packets, new certificates, a storm of calls.
    Rpc(rpc::Options),
}

/// How large the mesh is, and what it runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Gossip {
    /// How many nodes the large mesh has.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u8).range(3..=200))]
    nodes: u8,
    /// The node's binary, instead of the static one in dist/; the command line tool lies beside it.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Only this part.
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
}

/// What is done to a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// News, deaths, newcomers and rest.
    Membership,
    /// Partitions, and restarts while datagrams get lost.
    Faults,
    /// Certificates are renewed and revoked.
    Certificates,
}

/// What of the samples is held to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Median,
    Worst,
}

/// One promise: the figure is at most this.
#[derive(Debug, Clone, Copy)]
struct Limit {
    measure: Measure,
    of: Of,
    most: f64,
}

const fn median(measure: Measure, most: f64) -> Limit {
    Limit { measure, of: Of::Median, most }
}

const fn worst(measure: Measure, most: f64) -> Limit {
    Limit { measure, of: Of::Worst, most }
}

/// What is promised of a mesh of up to 200 nodes on one machine.
const OF_LARGE: [Limit; 13] = [
    median(Measure::TogetherFromLast, 2.0),
    median(Measure::UpdateMost, 0.08),
    median(Measure::UpdateAll, 0.12),
    worst(Measure::UpdateAll, 1.5),
    median(Measure::JoinMost, 0.10),
    median(Measure::JoinAll, 0.20),
    worst(Measure::LeaveMissed, 0.0),
    median(Measure::KillAll, 2.5),
    worst(Measure::KillAll, 5.0),
    worst(Measure::CpuMeshPercent, 30.0),
    worst(Measure::RssMib, 8.0),
    worst(Measure::WireBytes, 300.0),
    worst(Measure::FalseEvictions, 0.0),
];

/// What is promised of half a mesh that loses the other half, and of restarts while datagrams get lost.
const OF_FAULTY: [Limit; 4] = [
    worst(Measure::PartitionSeen, 5.0),
    worst(Measure::PartitionHealed, 1.0),
    worst(Measure::MembersLost, 0.0),
    worst(Measure::FalseEvictions, 0.0),
];

/// What is promised of certificates that change. Whoever reads a list looks every two seconds, and then a mesh takes at
/// most two intervals.
const OF_CERTIFICATES: [Limit; 7] = [
    worst(Measure::RenewalSuspected, 0.0),
    worst(Measure::RenewalUpdateAll, 1.0),
    worst(Measure::RenewalCut, 0.0),
    worst(Measure::FalseEvictions, 0.0),
    worst(Measure::RevokedCut, 4.0),
    worst(Measure::RevokedGone, 7.0),
    worst(Measure::RevokedBack, 0.0),
];

/// A death in the large mesh may take this much of one in the small mesh: more than chance, less than a growth by
/// the number of nodes.
const FLAT: f64 = 1.5;

/// Measures, prints each figure beside its limit, and fails when one is broken.
///
/// # Errors
/// A binary is missing, or a mesh does not do what is measured.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match options {
        Options::Gossip(options) => gossip(options),
        Options::Rpc(options) => rpc::run(options),
    }
}

fn gossip(options: &Gossip) -> anyhow::Result<ExitCode> {
    let binary = static_binary(options.binary.as_deref())?;
    println!("machine: {}", machine()?);
    println!("binary: {}", binary.display());
    let network = Network::enter()?;
    let interrupted = interruptible()?;
    let nodes = usize::from(options.nodes);
    let system = System::omnirelay(&binary, nodes + EVENTS, network)?;

    let mut all_hold = true;
    // Certificates come last: those of the system are other ones afterwards.
    for part in [Part::Membership, Part::Faults, Part::Certificates] {
        if options.only.is_some_and(|only| only != part) {
            continue;
        }
        all_hold &= match (part, Faults::new(network)) {
            (Part::Membership, _) => membership(&system, nodes, &interrupted)?,
            (Part::Faults, Ok(faults)) => faulty(&system, nodes.min(FAULTY), &interrupted, &faults)?,
            (Part::Faults, Err(why)) => {
                println!("\npartitions and loss are left out: {why:#}");
                true
            }
            (Part::Certificates, _) => certified(&system, nodes, &interrupted)?,
        };
    }
    println!("\nhyperscale: {}", if all_hold { "every limit is kept" } else { "a limit is BROKEN" });
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Brings a fresh mesh together, lets `work` be done to it, and returns what was measured.
fn measure(
    system: &System,
    nodes: usize,
    interrupted: &Arc<AtomicBool>,
    work: impl FnOnce(&mut Swarm<'_>, usize, &mut Figures) -> anyhow::Result<()>,
) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut swarm = Swarm::new(system, Arc::clone(interrupted))?;
    println!("{nodes} nodes meet …");
    let done = swarm.meet(nodes, &mut figures).and_then(|()| {
        swarm.pass(SETTLE)?;
        work(&mut swarm, nodes, &mut figures)
    });
    done.with_context(|| format!("mesh of {nodes}"))?;
    Ok(figures)
}

/// What is done to the large mesh.
fn work(swarm: &mut Swarm<'_>, nodes: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let before = swarm.evictions();
    swarm.rest(REST, figures)?;
    swarm.updates(UPDATES, figures)?;
    swarm.joins_and_leaves(nodes..nodes + EVENTS, figures)?;
    swarm.kills(EVENTS, figures)?;
    figures.add(Measure::FalseEvictions, f64::from(u32::try_from(swarm.evictions() - before)?));
    Ok(())
}

fn membership(system: &System, nodes: usize, interrupted: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let small = measure(system, nodes.min(SMALL), interrupted, |swarm, _, figures| swarm.kills(EVENTS, figures))?;
    let large = measure(system, nodes, interrupted, work)?;
    println!("\n{nodes} nodes");
    let are_kept = OF_LARGE.map(|limit| limit.is_kept(&large)).into_iter().all(|is_kept| is_kept);
    Ok(is_flat(&small, &large) && are_kept)
}

fn faulty(system: &System, nodes: usize, interrupted: &Arc<AtomicBool>, faults: &Faults) -> anyhow::Result<bool> {
    let parted = |swarm: &mut Swarm<'_>, _, figures: &mut Figures| swarm.partition(faults, figures);
    let mut both = measure(system, nodes, interrupted, parted)?;
    let restarted = measure(system, nodes, interrupted, |swarm, _, figures| {
        faults.lose(LOSS_PERCENT)?;
        swarm.restart_all(figures)
    })?;
    both.extend(&restarted);
    println!("\n{nodes} nodes; rolling restart while {LOSS_PERCENT} % of all datagrams are lost");
    Ok(OF_FAULTY.map(|limit| limit.is_kept(&both)).into_iter().all(|is_kept| is_kept))
}

fn certified(system: &System, nodes: usize, interrupted: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let figures = measure(system, nodes, interrupted, |swarm, _, figures| {
        swarm.renew_all(figures)?;
        swarm.revoke_last(figures)
    })?;
    println!("\n{nodes} nodes; everybody's certificate renewed, the old ones revoked, and then a new one");
    Ok(OF_CERTIFICATES.map(|limit| limit.is_kept(&figures)).into_iter().all(|is_kept| is_kept))
}

impl Limit {
    /// Prints the figure beside the limit, and returns whether it is kept. What was not measured is not kept.
    fn is_kept(&self, figures: &Figures) -> bool {
        let Self { measure, of, most } = *self;
        let (figure, word) = match of {
            Of::Median => (figures.median(measure), "median"),
            Of::Worst => (figures.worst(measure), "worst"),
        };
        let title = format!("{}, {word} of {}", measure.title(), figures.count(measure));
        tell(&title, figure, most)
    }
}

fn is_flat(small: &Figures, large: &Figures) -> bool {
    let growth = large.median(Measure::KillAll).zip(small.median(Measure::KillAll)).map(|(of, over)| of / over);
    tell("kill -9 seen by all: large mesh over small mesh, of medians", growth, FLAT)
}

fn tell(title: &str, figure: Option<f64>, most: f64) -> bool {
    let is_kept = figure.is_some_and(|figure| figure <= most);
    let figure = figure.map_or_else(|| "-".to_owned(), shown);
    println!("{title:<76}{figure:>8}  at most {:>5}  {}", shown(most), if is_kept { "ok" } else { "BROKEN" });
    is_kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_up_to_its_value_and_never_without_a_figure() {
        let mut figures = Figures::default();
        assert!(!median(Measure::KillAll, 2.5).is_kept(&figures));
        for sample in [2.0, 2.5, 5.5] {
            figures.add(Measure::KillAll, sample);
        }
        assert!(median(Measure::KillAll, 2.5).is_kept(&figures));
        assert!(!worst(Measure::KillAll, 5.0).is_kept(&figures));
        assert!(worst(Measure::KillAll, 5.5).is_kept(&figures));
    }

    #[test]
    fn a_death_may_not_take_much_longer_in_a_large_mesh() {
        let of = |seconds: f64| {
            let mut figures = Figures::default();
            figures.add(Measure::KillAll, seconds);
            figures
        };
        assert!(is_flat(&of(2.0), &of(3.0)));
        assert!(!is_flat(&of(2.0), &of(3.1)));
        assert!(!is_flat(&Figures::default(), &of(1.0)));
    }
}
