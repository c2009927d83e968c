//! More changes than the links can carry.

use std::collections::BTreeMap;
use std::time::Duration;

use membership::{Class, Core, Queue};

use super::{PATIENCE, at_rest, is_gone};
use crate::{Mesh, Settings};

/// How long nodes change what they say of themselves, one a millisecond.
const STORM: Duration = Duration::from_secs(4);

/// When a node dies in the midst of it.
const DEATH: Duration = Duration::from_secs(1);

/// How a storm of changes went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storm {
    /// Until more updates waited than a tenth of the most that ever did.
    pub first_waited: Duration,
    /// Until the first was given up; `None` if none was.
    pub first_shed: Option<Duration>,
    /// Most updates that waited, over all links of all nodes.
    pub most_waited: usize,
    /// What was given up, by class.
    pub shed: BTreeMap<&'static str, u64>,
    /// Longest that news waited for company.
    pub widest_window: Duration,
    /// Until nobody held the node that died for alive.
    pub death_seen: Duration,
    /// Members declared besides.
    pub others_declared: usize,
    /// From the end of the storm until everybody knew everything.
    pub settled: Duration,
}

/// Lets every node of a mesh at rest change again and again for four seconds, and one of them die; `None` if its death was not seen, or the
/// tables were not equal within a minute.
#[must_use]
pub fn storm(settings: Settings) -> Option<Storm> {
    let mut mesh = at_rest(Settings { keeps_log: true, ..settings })?;
    let (begin, nodes) = (mesh.elapsed(), mesh.size());
    let killed = nodes - 1;
    let (mut depths, mut shed_at, mut widest_window, mut seen_at) = (Vec::new(), None, Duration::ZERO, None);
    let mut turn = 0;
    while mesh.elapsed() < begin + STORM {
        mesh.set_label(turn % (nodes - 1), "turn", &turn.to_string());
        turn += 1;
        mesh.run_for(Duration::from_millis(1));
        let at = mesh.elapsed() - begin;
        if at >= DEATH && mesh.core(killed).is_some() {
            mesh.crash(killed);
        }
        depths.push((at, queues(&mesh).map(|queue| queue.waiting).sum::<usize>()));
        let has_shed = queues(&mesh).any(|queue| queue.shed > 0);
        shed_at = shed_at.or_else(|| has_shed.then_some(at));
        widest_window = mesh.running().map(|(_, core)| core.flush_window()).fold(widest_window, Duration::max);
        let is_seen = mesh.core(killed).is_none() && is_gone(&mesh, killed, |_| true);
        seen_at = seen_at.or_else(|| is_seen.then(|| at - DEATH));
    }
    let settled = mesh.run_until(PATIENCE, all_know_all)?;
    let most_waited = depths.iter().map(|(_, depth)| *depth).max()?;
    let first_waited = depths.iter().find(|(_, depth)| *depth * 10 > most_waited)?.0;
    let mut shed = BTreeMap::new();
    for queue in mesh.running().flat_map(|(_, core)| core.queues()) {
        *shed.entry(queue.class.name()).or_default() += queue.shed;
    }
    let verdicts = mesh.log().iter().filter(|entry| entry.at >= begin && matches!(entry.kind, "unreachable" | "dead"));
    let others_declared = verdicts.filter(|entry| entry.subject.as_ref() != Some(mesh.id(killed))).count();
    let death_seen = seen_at?;
    Some(Storm {
        first_waited,
        first_shed: shed_at,
        most_waited,
        shed,
        widest_window,
        death_seen,
        others_declared,
        settled,
    })
}

/// Queues of news and comparisons, of all nodes.
fn queues(mesh: &Mesh) -> impl Iterator<Item = Queue> {
    mesh.running().flat_map(|(_, core)| core.queues()).filter(|queue| queue.class != Class::Probe)
}

/// Whether everybody has the last of what each node that runs says of itself.
fn all_know_all(mesh: &Mesh) -> bool {
    let last = |number: usize| mesh.core(number).and_then(|core| core.metadata_version_of(mesh.id(number)));
    let knows = |core: &Core, number| core.metadata_version_of(mesh.id(number)) == last(number);
    let origins: Vec<usize> = mesh.running().map(|(number, _)| number).collect();
    mesh.digests_agree() && mesh.running().all(|(_, core)| origins.iter().all(|number| knows(core, *number)))
}
