//! What must hold after every step, whatever befell the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use membership::{Core, quorum};
use mesh_types::{BootEpoch, Incarnation, Member, MemberState, MetadataVersion, NodeId};

use crate::Mesh;

/// An invariant that broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// After which step.
    pub step: u32,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after step {}: {}", self.step, self.what)
    }
}

/// Rank of a member that has said goodbye.
const LEFT: u8 = 3;

/// What an observer holds of a subject, in the order in which it may only grow.
type Held = (BootEpoch, Incarnation, u8);

#[derive(Debug, Default)]
struct Seen {
    life: u32,
    version: u64,
    held: BTreeMap<NodeId, (Held, MetadataVersion)>,
    /// Members it held alive after the last steps, newest first.
    alive: [usize; 3],
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Checker {
    observers: Vec<Seen>,
    /// Verdicts whose evidence has been looked at: the subject's life and incarnation, and the witnesses.
    judged: BTreeSet<(NodeId, BootEpoch, Incarnation, Vec<NodeId>)>,
}

impl Checker {
    pub(super) fn new(nodes: usize) -> Self {
        Self { observers: (0..nodes).map(|_| Seen::default()).collect(), judged: BTreeSet::new() }
    }

    /// Looks at every node that has changed since the last step.
    pub(super) fn check(&mut self, mesh: &Mesh, step: u32) -> Result<(), Violation> {
        let broken = |what| Violation { step, what };
        for (number, core) in mesh.running() {
            let seen = &mut self.observers[number];
            if seen.life != mesh.life(number) {
                *seen = Seen { life: mesh.life(number), ..Seen::default() };
            }
            seen.alive = [core.alive(), seen.alive[0], seen.alive[1]];
            check_bounds(mesh, number, core).map_err(broken)?;
        }
        for (number, core) in mesh.running() {
            if self.observers[number].version == core.version() {
                continue;
            }
            self.observers[number].version = core.version();
            for member in core.snapshot().members {
                self.check_order(mesh.id(number), number, &member).map_err(broken)?;
                self.check_evidence(mesh, core, &member).map_err(broken)?;
            }
        }
        Ok(())
    }

    /// What is held of a member only ever grows: no resurrection without the member's own word, which is a higher
    /// incarnation or a new life; none at all in the life in which it said goodbye.
    fn check_order(&mut self, observer: &NodeId, number: usize, member: &Member) -> Result<(), String> {
        let rank = match member.state {
            MemberState::Alive | MemberState::Suspect => 0,
            MemberState::Unreachable => 1,
            MemberState::Dead => 2,
            MemberState::Left => LEFT,
        };
        let held = (member.boot_epoch, member.incarnation, rank);
        let version = member.metadata_version;
        let before = self.observers[number].held.insert(member.id.clone(), (held, version));
        let Some((was, had)) = before else { return Ok(()) };
        let resurrected = was.0 == held.0 && was.2 == LEFT && held.2 != LEFT;
        if held < was || resurrected || was.0 == held.0 && version < had {
            return Err(format!("{observer} held {was:?} v{had} of {}, and then {held:?} v{version}", member.id));
        }
        Ok(())
    }

    /// A verdict names an accuser and a quorum, and each of them really said that the member does not answer.
    fn check_evidence(&mut self, mesh: &Mesh, core: &Core, member: &Member) -> Result<(), String> {
        let is_verdict = matches!(member.state, MemberState::Unreachable | MemberState::Dead);
        let witnesses = core.witnesses_of(&member.id);
        if !is_verdict || witnesses.is_empty() {
            return Ok(());
        }
        let key = (member.id.clone(), member.boot_epoch, member.incarnation, witnesses.to_vec());
        if !self.judged.insert(key) {
            return Ok(());
        }
        let Some((accuser, confirmers)) = witnesses.split_first() else { return Ok(()) };
        let distinct: BTreeSet<&NodeId> = confirmers.iter().collect();
        let needed = self.least_quorum(mesh, accuser);
        if distinct.len() < needed {
            return Err(format!("verdict on {} by {witnesses:?}, where {needed} had to confirm", member.id));
        }
        let lying = distinct.iter().find(|confirmer| !mesh.has_denied(confirmer, accuser, &member.id));
        lying.map_or(Ok(()), |confirmer| {
            Err(format!("verdict on {} names {confirmer}, which never told {accuser} so", member.id))
        })
    }

    /// Returns the least quorum the accuser can have needed in the last steps.
    fn least_quorum(&self, mesh: &Mesh, accuser: &NodeId) -> usize {
        let numbers = 0..mesh.size();
        let accusers = numbers.filter(|number| mesh.id(*number) == accuser);
        let alive = accusers.flat_map(|number| self.observers[number].alive);
        // Neither the accuser nor the accused confirms.
        alive.map(|alive| quorum(alive.saturating_sub(2))).min().unwrap_or(0)
    }

    /// The mesh has been left alone for long enough: everybody knows the same, and it is true.
    #[expect(clippy::unused_self, reason = "the last of the checks, asked like the others")]
    pub(super) fn check_settled(&self, mesh: &Mesh, step: u32, down: &BTreeSet<usize>) -> Result<(), Violation> {
        let broken = |what| Err(Violation { step, what });
        for (observer, core) in mesh.running() {
            for subject in 0..mesh.size() {
                let state = core.state_of(mesh.id(subject));
                let is_true = match state {
                    Some(MemberState::Alive) => !down.contains(&subject),
                    Some(MemberState::Suspect | MemberState::Unreachable) => false,
                    Some(MemberState::Dead | MemberState::Left) | None => down.contains(&subject),
                };
                if !is_true {
                    let (observer, subject) = (mesh.id(observer), mesh.id(subject));
                    return broken(format!("{observer} still holds {subject} for {state:?}"));
                }
            }
        }
        if !mesh.digests_agree() {
            return broken("digests differ though all know the same members".to_owned());
        }
        Ok(())
    }
}

/// What a core keeps stays within what its members and links account for.
fn check_bounds(mesh: &Mesh, number: usize, core: &Core) -> Result<(), String> {
    let nodes = mesh.size();
    let most_queued = nodes * core.links().len();
    let most_timers = 16 * nodes + 64;
    if core.queue_depth() > most_queued {
        return Err(format!("{} has {} updates queued, more than {most_queued}", mesh.id(number), core.queue_depth()));
    }
    if core.timers_set() > most_timers {
        return Err(format!("{} has {} timers set, more than {most_timers}", mesh.id(number), core.timers_set()));
    }
    Ok(())
}
