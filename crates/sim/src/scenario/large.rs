//! A mesh of thousands, from its start to the rest after a crash.

use std::time::Duration;

use mesh_types::MemberState;

use super::whole::have_label;
use super::{PATIENCE, is_gone, per_second};
use crate::{Mesh, Settings};

/// The nodes start so long apart on average: a thousand a second.
const BETWEEN_STARTS: Duration = Duration::from_millis(1);

/// How a large mesh went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Large {
    /// From the last start until all see all and the tables are equal.
    pub joined: Duration,
    /// Until a changed label is known to all but one in twenty, and to all.
    pub known: [Duration; 2],
    /// Until everybody holds a killed node for gone.
    pub crash_seen: Duration,
    /// From then until it is dead for everybody and the tables are equal.
    pub settled: Duration,
    /// Times that somebody held another node for unreachable or dead.
    pub others_declared: u64,
    /// Bytes per node and second when nothing happens, without what QUIC and IP add.
    pub bytes_at_rest: f64,
}

/// Starts a mesh, lets it rest for ten seconds, changes a label, kills a node and waits until all is quiet; `tell` hears how far it
/// has come. `None` if something does not come to its end within a minute.
#[must_use]
pub fn large(settings: Settings, tell: impl Fn(&Mesh, &str)) -> Option<Large> {
    let start_within = BETWEEN_STARTS * u32::try_from(settings.nodes).unwrap_or(u32::MAX);
    let mut mesh = Mesh::start(Settings { start_within, ..settings });
    while mesh.elapsed() < start_within {
        mesh.run_for(start_within / 20);
        tell(&mesh, "starting");
    }
    let joined = mesh.run_until(PATIENCE, |mesh| mesh.all_see_all() && mesh.digests_agree())?;
    tell(&mesh, "all see all");
    let (rest, bytes) = (Duration::from_secs(10), mesh.bytes());
    mesh.run_for(rest);
    let nodes = mesh.size();
    let bytes_at_rest = per_second(mesh.bytes() - bytes, rest) / f64::from(u32::try_from(nodes).unwrap_or(u32::MAX));
    tell(&mesh, "rested");
    mesh.set_label(nodes / 3, "rack", "r9");
    let most = mesh.run_until(PATIENCE, |mesh| have_label(mesh, nodes / 3) * 20 >= nodes * 19)?;
    let rest_of_them = mesh.run_until(PATIENCE, |mesh| have_label(mesh, nodes / 3) == nodes)?;
    tell(&mesh, "a label is known to all");
    let killed = nodes / 2;
    mesh.crash(killed);
    let crash_seen = mesh.run_until(PATIENCE, |mesh| is_gone(mesh, killed, |_| true))?;
    tell(&mesh, "a crash is seen by all");
    let settled = mesh.run_until(PATIENCE, |mesh| mesh.all_hold(killed, MemberState::Dead) && mesh.digests_agree())?;
    mesh.run_for(rest);
    let others = (0..nodes).filter(|number| *number != killed);
    let others_declared = others.map(|number| mesh.times_declared(number)).sum();
    let is_quiet = mesh.digests_agree() && mesh.running().all(|(_, core)| core.alive() == nodes - 1);
    is_quiet.then_some(Large {
        joined,
        known: [most, most + rest_of_them],
        crash_seen,
        settled,
        others_declared,
        bytes_at_rest,
    })
}
