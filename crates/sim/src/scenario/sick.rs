//! A tenth of the members is sick: they must be found, and nobody else.

use std::collections::BTreeMap;
use std::time::Duration;

use membership::Options;
use mesh_types::NodeId;

use super::{at_rest, per_second};
use crate::{Mesh, Settings};

/// What the sick members have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Illness {
    /// They lose this share of what is sent to them.
    Deaf(f64),
    /// They lose this share of what they send.
    Mute(f64),
    /// They stand still for so long, run for the second time, and so on.
    Stalls(Duration, Duration),
}

/// How a mesh with sick members went.
#[derive(Debug, Clone, PartialEq)]
pub struct Sickness {
    /// Times that a healthy member was declared unreachable or dead at a healthy one.
    pub healthy_declared: usize,
    /// Until each sick member was first declared at a healthy one; `None` if it never was.
    pub flagged: Vec<Option<Duration>>,
    /// Times that a sick member was declared, per sick member and healthy observer.
    pub flaps: f64,
    /// Packets per node and second.
    pub packets: f64,
}

impl Sickness {
    /// Returns when the last of the sick was flagged; `None` if one never was.
    #[must_use]
    pub fn last_flagged(&self) -> Option<Duration> {
        let all: Option<Vec<Duration>> = self.flagged.iter().copied().collect();
        all?.into_iter().max()
    }
}

impl Illness {
    /// Lets a tenth of `nodes` have it for `time`; `None` if the mesh does not even start.
    #[must_use]
    pub fn befall(self, nodes: usize, seed: u64, options: Options, time: Duration) -> Option<Sickness> {
        let sick = (nodes / 10).max(1);
        let mut mesh = at_rest(Settings { nodes, seed, options, seeds: 3, ..Settings::default() })?;
        let (begin, packets) = (mesh.elapsed(), mesh.packets());
        self.run(&mut mesh, sick, time);
        Some(judge(&mesh, sick, (begin, packets)))
    }

    fn run(self, mesh: &mut Mesh, sick: usize, time: Duration) {
        match self {
            Self::Deaf(share) => (0..sick).for_each(|number| mesh.set_ingress_loss(number, share)),
            Self::Mute(share) => (0..sick).for_each(|number| mesh.set_egress_loss(number, share)),
            Self::Stalls(still, awake) => {
                let end = mesh.elapsed() + time;
                while mesh.elapsed() < end {
                    (0..sick).for_each(|number| mesh.pause(number, still));
                    mesh.run_for((still + awake).min(end - mesh.elapsed()));
                }
                return;
            }
        }
        mesh.run_for(time);
    }
}

fn judge(mesh: &Mesh, sick: usize, (begin, packets): (Duration, u64)) -> Sickness {
    let ill: Vec<&NodeId> = (0..sick).map(|number| mesh.id(number)).collect();
    let mut first: BTreeMap<&NodeId, Duration> = BTreeMap::new();
    let (mut healthy_declared, mut declared) = (0, 0_u32);
    for entry in mesh.log().iter().filter(|entry| entry.at >= begin) {
        let is_verdict = matches!(entry.kind, "unreachable" | "dead");
        let Some(subject) = entry.subject.as_ref().filter(|_| is_verdict && !ill.contains(&&entry.node)) else {
            continue;
        };
        if !ill.contains(&subject) {
            healthy_declared += 1;
        } else if entry.kind == "unreachable" {
            declared += 1;
            first.entry(subject).or_insert(entry.at - begin);
        }
    }
    let time = mesh.elapsed() - begin;
    let per_node = |count: u64| per_second(count, time) / f64::from(u32::try_from(mesh.size()).unwrap_or(u32::MAX));
    let pairs = u32::try_from(sick * (mesh.size() - sick)).unwrap_or(u32::MAX);
    Sickness {
        healthy_declared,
        flagged: ill.iter().map(|node| first.get(node).copied()).collect(),
        flaps: f64::from(declared) / f64::from(pairs),
        packets: per_node(mesh.packets() - packets),
    }
}
