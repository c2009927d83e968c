//! Verified suspicion: a member that does not answer is judged by a quorum, never by one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body as ProtoBody;
use mesh_types::NodeId;
use rand::RngExt;
use twox_hash::XxHash64;

use crate::claim::{Claim, Standing};
use crate::core::{Core, Timer};
use crate::event::Event;
use crate::exchange::Channel;
use crate::overlay::Overlay;
use crate::probing::Purpose;
use crate::table::Entry;
use crate::wire::Update;

/// Verifiers asked at a time.
const VERIFIERS: usize = 5;

/// Verifiers asked in all before an accusation is given up.
const MOST_VERIFIERS: usize = 15;

/// Confirmations asked of a large mesh.
const FULL_QUORUM: usize = 3;

/// Missed probes in a row that stand in for a quorum where there is nobody to ask.
const ALONE_MISSES: u8 = 3;

/// Most probes of its own that an accuser sends while it waits for the others.
const MOST_CONFIRM_PROBES: u8 = 3;

/// From so many on who could confirm, one who vouches for a suspect is not enough.
const TWO_VOUCH_FROM: usize = 4;

/// Returns how many others must confirm an accusation when `electorate` members could: all alive ones but the
/// accuser and the accused.
///
/// Three, or a majority of the electorate if that is less. A mesh of two has nobody to ask: there, and only there, the
/// accuser decides alone, after three missed probes in a row.
#[must_use]
pub fn quorum(electorate: usize) -> usize {
    match electorate {
        0 => 0,
        some => FULL_QUORUM.min(some / 2 + 1),
    }
}

/// Returns how many must vouch for a suspect, this node included, to void its accusation once somebody has confirmed it.
///
/// In a large mesh two: a member that loses nearly all packets answers somebody now and then.
const fn vouchers_needed(electorate: usize) -> usize {
    if electorate >= TWO_VOUCH_FROM { 2 } else { 1 }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Waiting,
    /// It takes long: another is asked beside it.
    Late,
    Confirms,
    Vouches,
    /// It confirmed, and then had an answer after all.
    Withdrew,
    Silent,
}

/// A member that this node gets no answer from, and what others say of it.
#[derive(Debug)]
pub(crate) struct Accusation {
    /// What is accused: a newer claim makes the accusation moot.
    claim: Claim,
    id: u64,
    /// When the first probe that was missed was sent.
    first_missed: Instant,
    candidates: VecDeque<NodeId>,
    asked: BTreeMap<NodeId, Answer>,
    own_misses: u8,
    /// Whether the suspect has answered this node since, and most of the time.
    answered: bool,
    confirm_probes: u8,
    verdict_due: bool,
    inconclusive: bool,
}

impl Accusation {
    fn count(&self, answer: Answer) -> usize {
        self.asked.values().filter(|given| **given == answer).count()
    }

    fn confirmers(&self) -> impl Iterator<Item = &NodeId> {
        self.asked.iter().filter(|(_, answer)| **answer == Answer::Confirms).map(|(node, _)| node)
    }

    fn vouchers(&self) -> usize {
        self.count(Answer::Vouches) + usize::from(self.answered)
    }

    /// Whether somebody else has confirmed it, and the others may yet.
    fn is_confirmed(&self) -> bool {
        !self.inconclusive && self.count(Answer::Confirms) > 0
    }

    /// Whether what is known suffices for a verdict.
    fn has_quorum(&self, electorate: usize) -> bool {
        let needed = quorum(electorate);
        if needed == 0 { self.own_misses >= ALONE_MISSES } else { self.confirmers().count() >= needed }
    }
}

impl Core {
    /// Takes note of a missed probe: asks verifiers, unless they are being asked already.
    pub(crate) fn accuse(&mut self, subject: &NodeId, sent_at: Instant, now: Instant) {
        let Some(claim) = self.table.get(subject).map(Entry::claim) else { return };
        if claim.standing != Standing::Alive {
            return;
        }
        let first_missed = match self.accusations.get(subject) {
            Some(accusation) if !accusation.inconclusive => return,
            Some(accusation) => accusation.first_missed,
            None => sent_at,
        };
        let id = self.rng.random();
        let accusation = Accusation {
            claim,
            id,
            first_missed,
            candidates: self.verifiers_of(subject),
            asked: BTreeMap::new(),
            own_misses: 1,
            answered: false,
            confirm_probes: 0,
            verdict_due: false,
            inconclusive: false,
        };
        let is_first = self.accusations.insert(subject.clone(), accusation).is_none();
        if is_first {
            self.touch();
            if let Some(member) = self.member(subject) {
                self.emit(Event::Suspected(member));
            }
        }
        self.on_confirm_due(subject, id, now);
        self.ask_verifiers(subject, now);
    }

    /// Returns whom to ask about `subject`: its other neighbours, who have links to it, then by rendezvous hash.
    fn verifiers_of(&self, subject: &NodeId) -> VecDeque<NodeId> {
        let eligible = |node: &NodeId| *node != self.local && node != subject && !self.accusations.contains_key(node);
        let around = Overlay::among(subject, self.options.fanout, self.table.living());
        let near = around.neighbours(self.table.alive(), self.table.living());
        let near: Vec<NodeId> = near.into_iter().filter(eligible).collect();
        let others = self.table.living();
        let mut far: Vec<(u64, NodeId)> = others
            .filter(|node| eligible(node) && !near.contains(node))
            .map(|node| (rendezvous(subject, node), node.clone()))
            .collect();
        far.sort_unstable();
        near.into_iter().chain(far.into_iter().map(|(_, node)| node)).take(MOST_VERIFIERS).collect()
    }

    /// Keeps as many verifiers busy as may be, then sees whether the accusation is decided.
    fn ask_verifiers(&mut self, subject: &NodeId, now: Instant) {
        let Some(accusation) = self.accusations.get_mut(subject) else { return };
        let (id, claim) = (accusation.id, accusation.claim);
        let mut asking = Vec::new();
        let says_nothing = |answer: &&Answer| matches!(answer, Answer::Silent | Answer::Late | Answer::Withdrew);
        let silent = |waiting: &Accusation| waiting.asked.values().filter(says_nothing).count();
        while accusation.asked.len() - silent(accusation) < VERIFIERS
            && let Some(verifier) = accusation.candidates.pop_front()
        {
            accusation.asked.insert(verifier.clone(), Answer::Waiting);
            asking.push(verifier);
        }
        for verifier in asking {
            self.request_verification(subject, &verifier, id, claim, now);
        }
        self.weigh(subject, now);
    }

    fn request_verification(&mut self, subject: &NodeId, verifier: &NodeId, id: u64, claim: Claim, now: Instant) {
        // A verifier probes twice before it says no. If that takes long, another one is asked, and its answer still counts.
        let its_answer = self.probe_timeout(self.table.get(verifier).and_then(Entry::rtt));
        let late = (its_answer * 4).min(self.options.grace() / 2);
        self.schedule(now + late, Timer::VerifierSilent(subject.clone(), id, verifier.clone()));
        let request = proto::VerifyRequest {
            accusation: id,
            subject: subject.to_string(),
            boot_epoch: claim.boot_epoch.0,
            incarnation: claim.incarnation.0,
        };
        self.send(verifier, Channel::Datagram, ProtoBody::VerifyRequest(request), now);
    }

    /// Sets the verdict's date once there is a quorum; gives up when nobody is left to ask.
    fn weigh(&mut self, subject: &NodeId, now: Instant) {
        let electorate = self.table.electorate(subject);
        let grace = self.options.grace() * self.flaps.factor(subject, now);
        let Some(accusation) = self.accusations.get_mut(subject) else { return };
        if accusation.has_quorum(electorate) {
            if !accusation.verdict_due {
                accusation.verdict_due = true;
                let at = (accusation.first_missed + grace).max(now);
                let id = accusation.id;
                self.schedule(at, Timer::Verdict(subject.clone(), id));
            }
            return;
        }
        let waits =
            accusation.count(Answer::Waiting) + accusation.count(Answer::Late) > 0 || !accusation.candidates.is_empty();
        let decides_alone = quorum(electorate) == 0;
        if !waits && !decides_alone && !accusation.inconclusive {
            // The next missed probe asks again.
            accusation.inconclusive = true;
            self.stats.inconclusive += 1;
            // Nobody could be heard, or nobody hears this node.
            self.health.worsen(2);
            self.look_at_self();
        }
    }

    pub(crate) fn on_verify_reply(&mut self, from: &NodeId, id: u64, subject: &NodeId, answered: bool, now: Instant) {
        let accusation = self.accusations.get_mut(subject).filter(|accusation| accusation.id == id);
        let Some(answer) = accusation.and_then(|accusation| accusation.asked.get_mut(from)) else { return };
        *answer = match (answered, *answer) {
            (false, _) => Answer::Confirms,
            // An answer that came so late takes the confirmation back, but does not speak for the suspect.
            (true, Answer::Confirms | Answer::Withdrew) => Answer::Withdrew,
            (true, _) => Answer::Vouches,
        };
        if !answered {
            self.sweep(now);
        } else if self.void(subject) {
            self.stats.disproved += 1;
            self.health.worsen(1);
        }
        self.ask_verifiers(subject, now);
    }

    pub(crate) fn on_verifier_silent(&mut self, subject: &NodeId, id: u64, verifier: &NodeId, now: Instant) {
        let accusation = self.accusations.get_mut(subject).filter(|accusation| accusation.id == id);
        let Some(answer) = accusation.and_then(|accusation| accusation.asked.get_mut(verifier)) else { return };
        *answer = match *answer {
            Answer::Waiting => Answer::Late,
            Answer::Late => Answer::Silent,
            _ => return,
        };
        if *answer == Answer::Late {
            // By then it has had time for two probes of a member that it has not met before.
            let last = now + self.options.probe_timeout(None) * 3;
            self.schedule(last, Timer::VerifierSilent(subject.clone(), id, verifier.clone()));
        }
        self.ask_verifiers(subject, now);
    }

    /// Probes the suspect once more, now over a reliable stream, until the accusation is decided.
    pub(crate) fn on_confirm_due(&mut self, subject: &NodeId, id: u64, now: Instant) {
        let Some(accusation) = self.accusations.get_mut(subject).filter(|accusation| accusation.id == id) else {
            return;
        };
        if accusation.inconclusive || accusation.confirm_probes >= MOST_CONFIRM_PROBES {
            return;
        }
        accusation.confirm_probes += 1;
        let rtt = self.table.get(subject).and_then(Entry::rtt);
        let next = now + self.probe_timeout(rtt);
        self.probe(subject, Channel::Stream, Purpose::Ask, now);
        self.schedule(next, Timer::Confirm(subject.clone(), id));
    }

    pub(crate) fn on_confirm_missed(&mut self, subject: &NodeId, now: Instant) {
        if let Some(accusation) = self.accusations.get_mut(subject) {
            accusation.own_misses = accusation.own_misses.saturating_add(1);
            self.weigh(subject, now);
        }
    }

    pub(crate) fn on_verdict_due(&mut self, subject: &NodeId, id: u64, now: Instant) {
        let electorate = self.table.electorate(subject);
        let Some(accusation) = self.accusations.get_mut(subject).filter(|accusation| accusation.id == id) else {
            return;
        };
        accusation.verdict_due = false;
        if !accusation.has_quorum(electorate) {
            // The electorate grew meanwhile: the next missed probe asks again.
            accusation.inconclusive = true;
            return;
        }
        let needed = quorum(electorate);
        let mut witnesses = vec![self.local.clone()];
        witnesses.extend(accusation.confirmers().take(needed).cloned());
        let claim = Claim { standing: Standing::Unreachable, ..accusation.claim };
        let first_missed = accusation.first_missed;
        self.declare(subject, claim, witnesses, now);
        self.follow_up(subject, claim, first_missed, now);
    }

    pub(crate) fn declare(&mut self, subject: &NodeId, claim: Claim, witnesses: Vec<NodeId>, now: Instant) {
        let Some(entry) = self.table.get(subject) else { return };
        let metadata_version = entry.metadata_version;
        let record = entry.record.as_ref().map(|record| record.bytes.clone()).unwrap_or_default();
        let verdict = Update { node: subject.clone(), claim, metadata_version, record, witnesses, age: None };
        self.stats.verdicts += 1;
        self.learn_one(None, verdict, true, now);
        // The accused hears it first hand, so that it can deny it.
        self.tell(subject, subject, now);
    }

    /// The subject answered this node. Where nobody has confirmed the accusation, that will do.
    pub(crate) fn on_suspect_answered(&mut self, subject: &NodeId, is_responsive: bool) {
        let Some(accusation) = self.accusations.get_mut(subject) else { return };
        accusation.answered |= is_responsive;
        if accusation.is_confirmed() {
            self.void(subject);
        } else {
            self.absolve(subject);
        }
    }

    /// Drops an accusation if enough vouch for its subject; returns whether it did.
    fn void(&mut self, subject: &NodeId) -> bool {
        let needed = vouchers_needed(self.table.electorate(subject));
        let Some(accusation) = self.accusations.get(subject).filter(|accusation| accusation.vouchers() >= needed)
        else {
            return false;
        };
        let was_confirmed = accusation.count(Answer::Confirms) > 0;
        self.absolve(subject);
        if was_confirmed {
            // Some reach it and some do not: it stays under watch.
            self.watch_again(subject.clone());
        }
        true
    }

    /// The accusation is void.
    pub(crate) fn absolve(&mut self, subject: &NodeId) {
        if self.accusations.remove(subject).is_some() {
            self.touch();
            if let Some(member) = self.member(subject) {
                self.emit(Event::Recovered(member));
            }
        }
    }

    /// Returns the suspects whom nobody is being asked about any more.
    pub(crate) fn undecided(&self) -> impl Iterator<Item = &NodeId> {
        self.accusations.iter().filter(|(_, accusation)| accusation.inconclusive).map(|(subject, _)| subject)
    }

    /// Drops an accusation of a claim that no longer stands.
    pub(crate) fn drop_stale_accusation(&mut self, subject: &NodeId, now_claimed: Claim) {
        let stale = self.accusations.get(subject).is_some_and(|accusation| accusation.claim != now_claimed);
        if stale && now_claimed.standing == Standing::Alive {
            self.absolve(subject);
        } else if stale {
            self.accusations.remove(subject);
        }
    }
}

fn rendezvous(subject: &NodeId, candidate: &NodeId) -> u64 {
    let seed = XxHash64::oneshot(0, subject.as_str().as_bytes());
    XxHash64::oneshot(seed, candidate.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_three_or_a_majority_of_those_who_could_confirm() {
        let quorums: Vec<usize> = (0..8).map(quorum).collect();
        assert_eq!(quorums, [0, 1, 2, 2, 3, 3, 3, 3]);
    }
}
