//! What happens to whole meshes: starts, news, crashes, partitions.

use std::time::Duration;

use super::{PATIENCE, at_rest, is_gone, per_second};
use crate::{Mesh, Settings};

/// Many nodes joining at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Joins {
    /// From the last start until all see all.
    pub took: Duration,
    /// Packets sent in all, per node.
    pub packets: f64,
    /// Bytes sent in all, in megabytes, without what QUIC and IP add.
    pub megabytes: f64,
}

/// Starts all nodes within a second; `None` if not all see all within a minute.
#[must_use]
pub fn joins_at_once(settings: Settings) -> Option<Joins> {
    let second = Duration::from_secs(1);
    let nodes = settings.nodes;
    let mut mesh = Mesh::start(Settings { start_within: second, ..settings });
    mesh.run_for(second);
    let took = mesh.run_until(PATIENCE, Mesh::all_see_all)?;
    let nodes = Duration::from_secs(u64::try_from(nodes).unwrap_or(u64::MAX));
    Some(Joins { took, packets: per_second(mesh.packets(), nodes), megabytes: per_second(mesh.bytes(), second) / 1e6 })
}

/// One update on its way through a mesh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Until all but one in twenty have it.
    pub most: Duration,
    /// Until all have it.
    pub all: Duration,
    /// Packets per node and second when nothing happens.
    pub packets_at_rest: f64,
    /// Bytes per node and second when nothing happens, without what QUIC and IP add.
    pub bytes_at_rest: f64,
}

/// Changes a label of one node, after the mesh has been at rest for ten seconds.
#[must_use]
pub fn spread(settings: Settings) -> Option<Spread> {
    let mut mesh = at_rest(settings)?;
    let rest = Duration::from_secs(10);
    let (packets, bytes) = (mesh.packets(), mesh.bytes());
    mesh.run_for(rest);
    let nodes = mesh.size();
    let per_node = |count| per_second(count, rest) / f64::from(u32::try_from(nodes).unwrap_or(u32::MAX));
    let (packets_at_rest, bytes_at_rest) = (per_node(mesh.packets() - packets), per_node(mesh.bytes() - bytes));
    let origin = nodes / 2;
    mesh.set_label(origin, "rack", "r9");
    let most_have = move |seen: &Mesh| have_label(seen, origin) * 20 >= nodes * 19;
    let most = mesh.run_until(PATIENCE, most_have)?;
    let rest_of_them = mesh.run_until(PATIENCE, |seen| have_label(seen, origin) == nodes)?;
    Some(Spread { most, all: most + rest_of_them, packets_at_rest, bytes_at_rest })
}

pub(super) fn have_label(mesh: &Mesh, origin: usize) -> usize {
    let knows =
        |core: &membership::Core| core.metadata_version_of(mesh.id(origin)).is_some_and(|version| version.0 > 1);
    mesh.running().filter(|(_, core)| knows(core)).count()
}

/// Kills a node of a mesh at rest; returns how long it takes until nobody holds it for alive or is in doubt.
#[must_use]
pub fn crash(settings: Settings) -> Option<Duration> {
    let mut mesh = at_rest(settings)?;
    let killed = mesh.size() / 2;
    mesh.crash(killed);
    mesh.run_until(PATIENCE, |seen| is_gone(seen, killed, |_| true))
}

/// A mesh that is cut in half and healed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Until everybody holds the whole other half for gone.
    pub seen: Duration,
    /// From healing until all see all.
    pub healed: Duration,
    /// From healing until all tables are equal.
    pub settled: Duration,
}

/// Cuts a mesh in half until everybody has seen it and 5 s more, then heals it.
#[must_use]
pub fn cut_in_half(settings: Settings) -> Option<Cut> {
    let mut mesh = at_rest(settings)?;
    let half = mesh.size() / 2;
    mesh.partition(half);
    let nodes = mesh.size();
    let seen = mesh.run_until(PATIENCE, |seen| {
        (0..nodes).all(|subject| is_gone(seen, subject, |observer| (observer < half) != (subject < half)))
    })?;
    mesh.run_for(Duration::from_secs(5));
    mesh.heal();
    let healed = mesh.run_until(PATIENCE, Mesh::all_see_all)?;
    let after = mesh.run_until(PATIENCE, |mesh| mesh.all_see_all() && mesh.digests_agree())?;
    Some(Cut { seen, healed, settled: healed + after })
}
