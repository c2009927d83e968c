//! `cargo xtask drill`: nodes are killed, or stopped in order, and the survivors are asked what they see.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::bench_discovery::{machine, median};
use crate::node::{Mesh, Node, WhichNode, get};
use crate::process::Stopwatch;

/// Configured suspicion time of the mesh: a killed node is gone by then.
const SUSPICION: Duration = Duration::from_secs(5);

/// One gossip interval of the mesh: a node that stops in order is gone by then.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the survivors are watched before the drill is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two questions to the survivors.
const QUESTION_EVERY: Duration = Duration::from_millis(5);

/// How the drill is held.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many meshes lose a node in each way, one after the other.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    times: u16,
    #[command(flatten)]
    which: WhichNode,
}

#[derive(Debug, Deserialize)]
struct Members {
    peers: Vec<Member>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    node_id: String,
    status: String,
    state: String,
}

/// When one survivor first saw what, since the signal.
#[derive(Debug, Default, Clone)]
struct Sight {
    suspect: Option<Duration>,
    gone: Option<Duration>,
    state: String,
}

/// Holds the drill in both ways, prints every run, and fails when one run does not hold what is promised.
///
/// # Errors
/// When there is no binary, or a mesh does not start or answer.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let binary = options.which.locate()?;
    println!("machine: {}", machine()?);
    println!("binary: {}", binary.display());
    let mut all_hold = true;
    for (signal, limit, last_state) in [(Signal::SIGKILL, SUSPICION, "Dead"), (Signal::SIGTERM, INTERVAL, "Left")] {
        let mut suspect_ms = Vec::new();
        let mut gone_ms = Vec::new();
        for number in 1..=options.times {
            let mesh = Mesh::start(&binary)?;
            let sights = mesh.nodes().and_then(|nodes| lose_one(&mesh, &nodes, signal));
            mesh.stop()?;
            for (survivor, sight) in sights.with_context(|| format!("run {number}, {signal}"))? {
                let holds = sight.holds(signal, limit, last_state);
                all_hold &= holds;
                println!(
                    "{signal} run {number:>2}: {survivor} {}{}",
                    sight.words(),
                    if holds { "" } else { "  BROKEN" }
                );
                suspect_ms.extend(sight.suspect.map(millis));
                gone_ms.extend(sight.gone.map(millis));
            }
        }
        summarize(&format!("{signal}: Suspect after"), &mut suspect_ms);
        summarize(&format!("{signal}: gone after"), &mut gone_ms);
    }
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Signals the last node and watches the others until it is gone for all of them.
fn lose_one(mesh: &Mesh, nodes: &[Node], signal: Signal) -> anyhow::Result<Vec<(String, Sight)>> {
    let (lost, survivors) = nodes.split_last().context("the mesh has no nodes")?;
    let mut sights: Vec<Sight> = vec![Sight::default(); survivors.len()];
    let clock = Stopwatch::start();
    kill(Pid::from_raw(lost.pid), signal).with_context(|| format!("cannot send {signal} to {}", lost.name))?;
    while sights.iter().any(|sight| sight.gone.is_none()) {
        for (survivor, sight) in survivors.iter().zip(&mut sights) {
            sight.look(&survivor.control, &lost.name, clock)?;
        }
        if clock.elapsed() > PATIENCE {
            bail!("{} is still a member {clock} after its {signal}", lost.name);
        }
        mesh.watch(QUESTION_EVERY);
    }
    Ok(survivors.iter().map(|node| node.name.clone()).zip(sights).collect())
}

impl Sight {
    fn look(&mut self, control: &str, lost: &str, clock: Stopwatch) -> anyhow::Result<()> {
        let json = get(control, "/control/peers")?;
        let at = clock.elapsed();
        let members: Members = serde_json::from_str(&json).context("the members are no such JSON")?;
        let member = members.peers.iter().find(|member| member.node_id == lost);
        let member = member.with_context(|| format!("{lost} is not among the members"))?;
        ensure!(self.gone.is_none() || member.status == "Left", "{lost} came back as {}", member.status);
        self.state.clone_from(&member.state);
        match member.status.as_str() {
            "Suspect" => self.suspect = self.suspect.or(Some(at)),
            "Left" => self.gone = self.gone.or(Some(at)),
            _ => {}
        }
        Ok(())
    }

    /// A killed node is suspect, then gone within the suspicion time; one that stops is gone within an interval, unsuspected.
    fn holds(&self, signal: Signal, limit: Duration, last_state: &str) -> bool {
        let suspected = self.suspect.is_some();
        self.gone.is_some_and(|gone| gone <= limit)
            && self.state == last_state
            && suspected == (signal == Signal::SIGKILL)
    }

    fn words(&self) -> String {
        let at =
            |time: Option<Duration>| time.map_or_else(|| "never".to_owned(), |time| format!("{:.0} ms", millis(time)));
        format!("Suspect {}, gone {} as {}", at(self.suspect), at(self.gone), self.state)
    }
}

fn summarize(what: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    if let Some(worst) = values.last() {
        println!("{what}: median {:.0} ms, worst {worst:.0} ms of {}", median(values), values.len());
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(suspect: Option<u64>, gone: Option<u64>, state: &str) -> Sight {
        let ms = |ms: Option<u64>| ms.map(Duration::from_millis);
        Sight { suspect: ms(suspect), gone: ms(gone), state: state.to_owned() }
    }

    #[test]
    fn a_killed_node_must_be_suspect_then_dead_in_time() {
        let holds = |sight: &Sight| sight.holds(Signal::SIGKILL, SUSPICION, "Dead");
        assert!(holds(&sight(Some(900), Some(5_000), "Dead")));
        assert!(!holds(&sight(Some(900), Some(5_001), "Dead")));
        assert!(!holds(&sight(None, Some(4_000), "Dead")));
        assert!(!holds(&sight(Some(900), Some(4_000), "Left")));
    }

    #[test]
    fn a_stopped_node_must_be_left_in_time_and_unsuspected() {
        let holds = |sight: &Sight| sight.holds(Signal::SIGTERM, INTERVAL, "Left");
        assert!(holds(&sight(None, Some(1_000), "Left")));
        assert!(!holds(&sight(Some(10), Some(20), "Left")));
        assert!(!holds(&sight(None, Some(20), "Dead")));
        assert!(!holds(&sight(None, None, "Alive")));
    }
}
