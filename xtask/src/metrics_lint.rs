//! `cargo xtask metrics-lint`: what a real node serves on `/metrics`, judged by Prometheus' own linter.

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::doctor;
use crate::node::{Mesh, WhichNode, get};
use crate::process::Stopwatch;

/// The one metric that may be in milliseconds: dashboards read it under this name. `mesh_gossip_rtt_seconds`
/// says the same in the base unit.
const IN_MILLISECONDS: [&str; 4] =
    ["mesh_gossip_rtt_ms", "mesh_gossip_rtt_ms_bucket", "mesh_gossip_rtt_ms_count", "mesh_gossip_rtt_ms_sum"];

/// What a running node serves; the round-trip times come with its first probes.
const EXPECTED: [&str; 4] =
    ["mesh_gossip_members", "mesh_gossip_messages_total", "mesh_gossip_rtt_ms", "mesh_gossip_rtt_seconds"];

/// How long a node may take until it serves all of [`EXPECTED`].
const EXPECTED_TIMEOUT: Duration = Duration::from_secs(15);

/// Starts a mesh, reads a node's metrics, and passes them to `promtool check metrics`.
///
/// # Errors
/// When promtool or the binary is missing, or the mesh does not serve.
pub(crate) fn run(which: &WhichNode) -> anyhow::Result<ExitCode> {
    if doctor::find("promtool").is_none() {
        bail!("promtool is missing; apt-get install --no-install-recommends prometheus");
    }
    let mesh = Mesh::start(&which.locate()?)?;
    let metrics = mesh.control_address().and_then(|address| complete(&mesh, &address));
    mesh.stop()?;
    let metrics = metrics?;
    let verdict = promtool(&metrics)?;
    let unexpected = unexpected(&verdict);
    for complaint in &unexpected {
        println!("metrics-lint: {complaint}");
    }
    let families = metrics.lines().filter(|line| line.starts_with("# TYPE ")).count();
    println!("metrics-lint: {families} metrics, {} complaint(s)", unexpected.len());
    Ok(if unexpected.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the metrics at `address` once they hold all that is expected.
fn complete(mesh: &Mesh, address: &str) -> anyhow::Result<String> {
    let clock = Stopwatch::start();
    loop {
        let metrics = get(address, "/metrics")?;
        let missing: Vec<&str> = EXPECTED.into_iter().filter(|name| !serves(&metrics, name)).collect();
        if missing.is_empty() {
            return Ok(metrics);
        }
        ensure!(clock.elapsed() < EXPECTED_TIMEOUT, "the node serves no {} after {clock}", missing.join(", "));
        mesh.watch(Duration::from_millis(200));
    }
}

fn serves(metrics: &str, name: &str) -> bool {
    metrics.lines().any(|line| line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) == Some(name))
}

/// Returns what promtool says about `metrics`: a line a complaint, nothing when all is well.
fn promtool(metrics: &str) -> anyhow::Result<String> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().context("cannot start promtool")?;
    let mut stdin = child.stdin.take().context("promtool has no stdin")?;
    stdin.write_all(metrics.as_bytes()).context("cannot write to promtool")?;
    drop(stdin);
    let output = child.wait_with_output().context("cannot wait for promtool")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).context("promtool wrote bytes that are not text")?;
    ensure!(output.status.success() || !said.trim().is_empty(), "promtool failed silently: {}", output.status);
    Ok(said)
}

/// Returns the lines of `verdict` that are more than the one exception.
fn unexpected(verdict: &str) -> Vec<&str> {
    let is_known = |line: &str| {
        line.split_once(' ').is_some_and(|(name, fault)| IN_MILLISECONDS.contains(&name) && fault.contains("unit"))
    };
    verdict.lines().filter(|line| !line.trim().is_empty() && !is_known(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unit_of_the_one_metric_is_excused() {
        let verdict = "mesh_gossip_rtt_ms metric names should not contain abbreviated units\n\
                       mesh_gossip_rtt_ms_bucket metric names should not contain abbreviated units\n\
                       mesh_gossip_rtt_ms no help text\n\
                       other_ms metric names should not contain abbreviated units\n\
                       error while linting: text format parsing error in line 1\n";
        assert_eq!(
            unexpected(verdict),
            [
                "mesh_gossip_rtt_ms no help text",
                "other_ms metric names should not contain abbreviated units",
                "error while linting: text format parsing error in line 1",
            ]
        );
    }
}
