//! Probes: who is asked when, and what an answer or its absence means. And the search for the mesh.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body as ProtoBody;
use mesh_types::{Endpoint, NodeId};
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::claim::Standing;
use crate::core::{Channel, Core, Output, Phase, Timer};
use crate::wire::Update;

/// Every which probe goes to any member instead of a link: it covers pairs that the overlay does not.
const RANDOM_EVERY: u64 = 10;

/// Every which round also tries somebody lost, or a seed, so that the halves of a healed partition meet.
const HEAL_EVERY: u64 = 5;

/// Up to so many links are all probed in every round.
const FEW_LINKS: usize = 3;

/// First wait before seeds are dialled again; doubles up to the probe interval.
const FIRST_REDIAL: Duration = Duration::from_millis(50);

/// Most seeds dialled in one round.
const SEEDS_A_ROUND: usize = 8;

/// Why a probe was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To watch a member: no answer makes it suspect.
    Watch,
    /// To judge a member that is suspect already, here or elsewhere, or to find one that is lost.
    Ask,
}

#[derive(Debug)]
struct Outstanding {
    target: NodeId,
    sent_at: Instant,
    purpose: Purpose,
}

/// Probes under way, and whose turn is next.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    round: u64,
    /// Links still to be probed before all have had their turn.
    turn: Vec<NodeId>,
    next_sequence: u64,
    outstanding: BTreeMap<u64, Outstanding>,
}

/// The search for the mesh.
#[derive(Debug, Default)]
pub(crate) struct Join {
    seeds: Vec<Endpoint>,
    redial: Duration,
}

impl Core {
    pub(crate) fn start_probing(&mut self, now: Instant) {
        // Nodes that start together do not probe together.
        let first = self.options.interval.mul_f64(self.rng.random_range(0.0..1.0));
        self.schedule(now + first, Timer::Probe);
    }

    /// Probes whoever has the turn.
    pub(crate) fn probe_next(&mut self, now: Instant) {
        self.schedule(now + self.options.interval, Timer::Probe);
        self.prober.round += 1;
        let round = self.prober.round;
        if self.links.len() <= FEW_LINKS {
            for link in self.links.clone() {
                self.probe(&link, Channel::Datagram, Purpose::Watch, now);
            }
        } else if let Some(target) = self.next_target(round) {
            self.probe(&target, Channel::Datagram, Purpose::Watch, now);
        }
        if round.is_multiple_of(HEAL_EVERY) {
            self.look_for_lost(now);
        }
        if self.table.alive() <= 1 && self.phase == Phase::Running {
            self.phase = Phase::Joining;
            self.start_dialling(now);
        }
        // What was observed since the last round becomes visible.
        self.touch();
    }

    fn next_target(&mut self, round: u64) -> Option<NodeId> {
        if round.is_multiple_of(RANDOM_EVERY) {
            let others: Vec<NodeId> = self.alive_others().cloned().collect();
            return others.choose(&mut self.rng).cloned();
        }
        let links = &self.links;
        self.prober.turn.retain(|node| links.contains(node));
        if self.prober.turn.is_empty() {
            self.prober.turn = self.links.iter().cloned().collect();
            self.prober.turn.shuffle(&mut self.rng);
        }
        self.prober.turn.pop()
    }

    fn alive_others(&self) -> impl Iterator<Item = &NodeId> {
        let alive = self.table.iter().filter(|(_, entry)| entry.claim.standing == Standing::Alive);
        alive.map(|(node, _)| node).filter(|node| **node != self.local)
    }

    /// Probes one member that is unreachable or dead, and one that was accused to no end, and dials one seed that nobody alive
    /// listens at.
    fn look_for_lost(&mut self, now: Instant) {
        let is_lost = |standing| matches!(standing, Standing::Unreachable | Standing::Dead);
        let lost = self.table.iter().filter(|(_, entry)| is_lost(entry.claim.standing) && entry.record.is_some());
        let lost: Vec<NodeId> = lost.map(|(node, _)| node.clone()).collect();
        if let Some(target) = lost.choose(&mut self.rng) {
            self.probe(target, Channel::Datagram, Purpose::Ask, now);
        }
        // A suspect that is no link would not be probed again for long, though nobody else doubts it.
        let suspects: Vec<NodeId> = self.undecided().cloned().collect();
        if let Some(target) = suspects.choose(&mut self.rng) {
            self.probe(target, Channel::Datagram, Purpose::Ask, now);
        }
        let strangers: Vec<Endpoint> = self.unknown_seeds();
        if let Some(endpoint) = strangers.choose(&mut self.rng) {
            self.outputs.push_back(Output::Connect { endpoint: endpoint.clone() });
        }
    }

    fn unknown_seeds(&self) -> Vec<Endpoint> {
        let is_known = |seed: &Endpoint| {
            self.table.iter().any(|(_, entry)| {
                let listens_there = |record: &crate::record::Record| record.metadata.endpoint == *seed;
                entry.claim.standing == Standing::Alive && entry.record.as_ref().is_some_and(listens_there)
            })
        };
        self.join.seeds.iter().filter(|seed| !is_known(seed)).cloned().collect()
    }

    /// Sends a probe and waits for its answer.
    pub(crate) fn probe(&mut self, target: &NodeId, channel: Channel, purpose: Purpose, now: Instant) {
        let Some(entry) = self.table.get(target) else { return };
        let timeout = self.options.probe_timeout(entry.rtt);
        self.prober.next_sequence += 1;
        let sequence = self.prober.next_sequence;
        let outstanding = Outstanding { target: target.clone(), sent_at: now, purpose };
        self.prober.outstanding.insert(sequence, outstanding);
        self.schedule(now + timeout, Timer::ProbeMissed(sequence));
        self.stats.probes += 1;
        let digest = self.table.digest();
        let updates = self.ride_along(target);
        self.send(target, channel, ProtoBody::Probe(proto::Probe { sequence, digest, updates }));
    }

    pub(crate) fn on_probe(&mut self, from: &NodeId, sequence: u64, digest: u64, updates: Vec<Update>, now: Instant) {
        self.learn(from, updates, now);
        if self.phase == Phase::Stopped {
            return;
        }
        // Somebody held for lost speaks: it may not know, and only it can deny it.
        if self.table.standing(from).is_some_and(|standing| standing != Standing::Alive) {
            self.tell(from, from);
        }
        if digest == self.table.digest() {
            self.on_digest_match(from);
        }
        let ack = proto::Ack { sequence, digest: self.table.digest(), updates: self.ride_along(from) };
        self.send(from, Channel::Datagram, ProtoBody::Ack(ack));
    }

    pub(crate) fn on_ack(&mut self, from: &NodeId, sequence: u64, digest: u64, updates: Vec<Update>, now: Instant) {
        self.learn(from, updates, now);
        let outstanding = self.prober.outstanding.get(&sequence).filter(|probe| probe.target == *from);
        let Some(sent_at) = outstanding.map(|probe| probe.sent_at) else { return };
        self.prober.outstanding.remove(&sequence);
        self.observe_rtt(from, now.saturating_duration_since(sent_at));
        self.absolve(from);
        self.vouch_for(from);
        if self.table.standing(from).is_some_and(|standing| standing != Standing::Alive) {
            self.tell(from, from);
        }
        if digest == self.table.digest() {
            self.on_digest_match(from);
        } else {
            self.on_digest_mismatch(from, now);
        }
    }

    fn observe_rtt(&mut self, peer: &NodeId, sample: Duration) {
        if let Some((_, rtt)) = self.table.get_mut_observed(peer) {
            // RFC 6298 §2: the first sample as it is, then one eighth of each.
            *rtt = Some(rtt.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8));
            self.outputs.push_back(Output::Rtt { peer: peer.clone(), rtt: sample });
        }
    }

    pub(crate) fn on_probe_missed(&mut self, sequence: u64, now: Instant) {
        let Some(probe) = self.prober.outstanding.get(&sequence) else { return };
        let (target, sent_at, purpose) = (probe.target.clone(), probe.sent_at, probe.purpose);
        self.stats.missed_probes += 1;
        // A late answer still counts while it can change anything.
        self.schedule(now + self.options.suspicion_interval, Timer::ProbeForgotten(sequence));
        match purpose {
            Purpose::Watch => self.accuse(&target, sent_at, now),
            Purpose::Ask => self.on_confirm_missed(&target, now),
        }
    }

    pub(crate) fn forget_probe(&mut self, sequence: u64) {
        self.prober.outstanding.remove(&sequence);
    }

    /// Repeats the own record to one link.
    pub(crate) fn refresh(&mut self, now: Instant) {
        self.schedule(now + self.options.metadata_refresh_period, Timer::Refresh);
        let links: Vec<NodeId> = self.links.iter().cloned().collect();
        if let Some(link) = links.choose(&mut self.rng) {
            self.enqueue_repeat(link);
        }
    }

    pub(crate) fn start_join(&mut self, seeds: Vec<Endpoint>, now: Instant) {
        let own = &self.own_record.metadata.endpoint;
        self.join.seeds = seeds.into_iter().filter(|seed| seed != own).collect();
        if self.phase == Phase::Joining {
            self.start_dialling(now);
        }
    }

    fn start_dialling(&mut self, now: Instant) {
        self.join.redial = FIRST_REDIAL;
        self.dial_seeds(now);
    }

    pub(crate) fn dial_seeds(&mut self, now: Instant) {
        if self.phase != Phase::Joining || self.join.seeds.is_empty() {
            return;
        }
        let mut seeds = self.join.seeds.clone();
        seeds.shuffle(&mut self.rng);
        for endpoint in seeds.into_iter().take(SEEDS_A_ROUND) {
            self.outputs.push_back(Output::Connect { endpoint });
        }
        // Joining again while joining must not dial twice as often.
        self.timers.retain(|(_, timer)| *timer != Timer::Join);
        let wait = self.join.redial.mul_f64(self.rng.random_range(0.75..1.25));
        self.schedule(now + wait, Timer::Join);
        self.join.redial = (self.join.redial * 2).min(self.options.interval);
    }
}
