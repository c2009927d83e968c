//! Probes: who is asked when, and what an answer or its absence means.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body as ProtoBody;
use mesh_types::NodeId;
use rand::RngExt;
use rand::seq::{IndexedRandom, IteratorRandom};
use twox_hash::XxHash64;

use crate::claim::Standing;
use crate::core::{Core, Phase, Timer};
use crate::exchange::{Channel, Output};
use crate::sync::QUIET;
use crate::table::Entry;
use crate::wire::{Probe, Update};

/// Every which round also probes any member: it covers pairs that the overlay does not. A stranger costs a handshake, some
/// 4 KB, so this is the better part of what a node at rest sends unless it is seldom.
const RANDOM_EVERY: u64 = 100;

/// Somebody lost, or a seed, is tried in so large a share of the rounds at least, so that the halves of a healed partition meet.
const LEAST_SEARCH: f64 = 0.2;

/// The mesh as a whole makes so many such tries an interval, if it is small.
const TRIES_OF_ALL: f64 = 8.0;

/// In every which round what was observed of others, as round trips, becomes visible: who looks at the table is woken by it.
const SHOWN_EVERY: u64 = 5;

/// Up to so many links are all probed in every round.
const FEW_LINKS: usize = 3;

/// Longest time ahead that a promise of another probe is believed.
const LONGEST_PROMISE: Duration = Duration::from_secs(600);

/// Why a probe was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To watch a link in its turn, which comes again after this: no answer makes it suspect.
    Turn(Duration),
    /// To watch a member out of turn.
    Watch,
    /// To judge a member that is suspect already, here or elsewhere, or to find one that is lost.
    Ask,
}

#[derive(Debug)]
struct Outstanding {
    target: NodeId,
    sent_at: Instant,
    purpose: Purpose,
    /// Whether its answer may tell the round trip.
    is_timed: bool,
    /// When it counts as missed.
    missed_at: Instant,
}

/// Probes under way, and whose turn is next.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    round: u64,
    /// Where in the order of turns the link probed last stands.
    last_turn: u64,
    /// Members to be probed in the next round besides: there was something the matter with them.
    again: BTreeSet<NodeId>,
    next_sequence: u64,
    outstanding: BTreeMap<u64, Outstanding>,
    /// By when a link is to probe this node, by its own word.
    expected: BTreeMap<NodeId, Instant>,
    last_sweep: Option<Instant>,
    last_loss: Option<Instant>,
    /// Whether digests are to be compared once the table is quiet.
    compare_due: bool,
}

impl Prober {
    /// What is under way now says nothing of round trips: this node was late itself.
    pub(crate) fn distrust_round_trips(&mut self) {
        self.outstanding.values_mut().for_each(|probe| probe.is_timed = false);
    }

    /// Forgets the promises of members that are no links any more.
    pub(crate) fn retain_expected(&mut self, links: &BTreeSet<NodeId>, timers: &mut BTreeSet<(Instant, Timer)>) {
        self.expected.retain(|node, at| {
            let stays = links.contains(node);
            if !stays {
                timers.remove(&(*at, Timer::Expected(node.clone())));
            }
            stays
        });
    }

    pub(crate) fn postpone_expected(&mut self, node: &NodeId, until: Instant) {
        if let Some(at) = self.expected.get_mut(node) {
            *at = until;
        }
    }

    fn is_probing(&self, node: &NodeId) -> bool {
        self.outstanding.values().any(|probe| probe.target == *node)
    }
}

impl Core {
    pub(crate) fn start_probing(&mut self, now: Instant) {
        // Nodes that start together do not probe together.
        self.prober.last_turn = self.rng.random();
        let first = self.options.interval.mul_f64(self.rng.random_range(0.0..1.0));
        self.schedule(now + first, Timer::Probe);
    }

    /// Probes whoever has the turn.
    pub(crate) fn probe_next(&mut self, now: Instant) {
        let interval = self.probe_interval();
        self.schedule(now + interval, Timer::Probe);
        self.prober.round += 1;
        self.outbox.forget_idle(&self.links, now);
        for node in std::mem::take(&mut self.prober.again) {
            self.probe(&node, Channel::Datagram, Purpose::Watch, now);
        }
        if self.links.len() <= FEW_LINKS {
            for link in self.links.clone() {
                self.probe(&link, Channel::Datagram, Purpose::Turn(interval), now);
            }
        } else if let Some(link) = self.next_link() {
            let turns = u32::try_from(self.links.len()).unwrap_or(u32::MAX);
            self.probe(&link, Channel::Datagram, Purpose::Turn(interval.saturating_mul(turns)), now);
        }
        if self.prober.round.is_multiple_of(RANDOM_EVERY) {
            self.probe_anybody(now);
        }
        self.ask_undecided(now);
        self.look_for_lost(now);
        self.look_at_self();
        if self.table.alive() <= 1 && self.phase == Phase::Running {
            self.phase = Phase::Joining;
            self.start_dialling(now);
        }
        if self.prober.round.is_multiple_of(SHOWN_EVERY) {
            self.touch();
        }
    }

    /// Returns the link whose turn is next. A fixed order makes a node probe its links evenly in time, and be expected evenly by them:
    /// whichever is next misses it first. Each node has an order of its own, or all would probe the same ones first.
    fn next_link(&mut self) -> Option<NodeId> {
        let own = XxHash64::oneshot(0, self.local.as_str().as_bytes());
        let place = |link: &NodeId| XxHash64::oneshot(own, link.as_str().as_bytes());
        let mut turns: Vec<(u64, &NodeId)> = self.links.iter().map(|link| (place(link), link)).collect();
        turns.sort_unstable();
        let next = turns.iter().find(|turn| turn.0 > self.prober.last_turn).or_else(|| turns.first())?;
        self.prober.last_turn = next.0;
        Some(next.1.clone())
    }

    fn probe_anybody(&mut self, now: Instant) {
        let (links, local) = (&self.links, &self.local);
        let strangers = self.table.living().filter(|node| *node != local && !links.contains(*node));
        if let Some(target) = strangers.choose(&mut self.rng).cloned() {
            self.probe(&target, Channel::Datagram, Purpose::Watch, now);
        }
    }

    /// Probes a member once more in the next round.
    pub(crate) fn watch_again(&mut self, node: NodeId) {
        if self.prober.again.len() < 2 * usize::from(self.options.fanout) {
            self.prober.again.insert(node);
        }
    }

    /// Probes all links at once: others miss a member too, and what took it may have taken more.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let lately = |at| now.saturating_duration_since(at) < self.options.interval;
        if self.prober.last_sweep.is_some_and(lately) {
            return;
        }
        self.prober.last_sweep = Some(now);
        for link in self.links.clone() {
            if !self.accusations.contains_key(&link) && !self.prober.is_probing(&link) {
                self.probe(&link, Channel::Datagram, Purpose::Watch, now);
            }
        }
    }

    /// Probes one member that was accused to no end: one that is no link would not be probed again for long, though nobody else
    /// doubts it.
    fn ask_undecided(&mut self, now: Instant) {
        let undecided: Vec<NodeId> = self.undecided().cloned().collect();
        if let Some(target) = undecided.choose(&mut self.rng).cloned() {
            self.probe(&target, Channel::Datagram, Purpose::Ask, now);
        }
    }

    /// A member has become unreachable. If it is not the only one lately, the mesh may be falling apart: all links are probed.
    pub(crate) fn note_loss(&mut self, now: Instant) {
        let earlier = self.prober.last_loss.replace(now);
        if earlier.is_some_and(|at| now.saturating_duration_since(at) < self.options.interval * 2) {
            self.sweep(now);
        }
    }

    /// The table has changed and has been quiet since: one link is probed to compare digests, so that whatever was lost on its way
    /// is missed no longer than this.
    pub(crate) fn compare_after_quiet(&mut self, now: Instant) {
        let quiet_at = self.changed_at + QUIET;
        if quiet_at > now {
            self.schedule(quiet_at, Timer::Compare);
            return;
        }
        self.prober.compare_due = false;
        if let Some(link) = self.links.iter().choose(&mut self.rng).cloned() {
            self.probe(&link, Channel::Datagram, Purpose::Watch, now);
        }
    }

    /// Lets digests be compared once the news have settled.
    pub(crate) fn expect_quiet(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.prober.compare_due, true) {
            // Not all at once.
            let jitter = QUIET.mul_f64(self.rng.random_range(0.0..0.5));
            self.schedule(now + QUIET + jitter, Timer::Compare);
        }
    }

    /// Now and then probes one member that is unreachable or dead, and dials one seed that nobody alive listens at.
    fn look_for_lost(&mut self, now: Instant) {
        let alive = f64::from(u32::try_from(self.table.alive().max(1)).unwrap_or(u32::MAX));
        if !self.rng.random_bool((TRIES_OF_ALL / alive).clamp(LEAST_SEARCH, 1.0)) {
            return;
        }
        let is_lost = |standing| matches!(standing, Standing::Unreachable | Standing::Dead);
        let lost = self.table.iter().filter(|(_, entry)| is_lost(entry.claim().standing) && entry.record.is_some());
        let lost = lost.map(|(node, _)| node).choose(&mut self.rng).cloned();
        if let Some(target) = lost {
            self.probe(&target, Channel::Datagram, Purpose::Ask, now);
        }
        if let Some(endpoint) = self.unknown_seeds().choose(&mut self.rng).cloned() {
            self.outputs.push_back(Output::Connect { endpoint });
        }
    }

    /// Sends a probe and waits for its answer.
    pub(crate) fn probe(&mut self, target: &NodeId, channel: Channel, purpose: Purpose, now: Instant) {
        let Some(entry) = self.table.get(target) else { return };
        let timeout = self.probe_timeout(entry.rtt());
        self.prober.next_sequence += 1;
        let sequence = self.prober.next_sequence;
        let missed_at = now + timeout;
        let outstanding = Outstanding { target: target.clone(), sent_at: now, purpose, is_timed: true, missed_at };
        self.prober.outstanding.insert(sequence, outstanding);
        self.responses.sent(target, sequence, now);
        self.schedule(missed_at, Timer::ProbeMissed(sequence));
        self.stats.probes += 1;
        let again_in_ms = match purpose {
            Purpose::Turn(again_in) => u32::try_from(again_in.as_millis()).unwrap_or(0),
            Purpose::Watch | Purpose::Ask => 0,
        };
        let digest = self.table.digest();
        let updates = self.ride_along(target, now);
        let reliable = channel == Channel::Stream;
        let probe = proto::Probe { sequence, digest, updates, reliable, again_in_ms };
        self.send(target, channel, ProtoBody::Probe(probe), now);
    }

    pub(crate) fn on_probe(&mut self, from: &NodeId, probe: Probe, now: Instant) {
        self.learn(from, probe.updates, now);
        if self.phase == Phase::Stopped {
            return;
        }
        self.expect_probe(from, probe.again_in, now);
        // Somebody held for lost speaks: it may not know, and only it can deny it.
        if self.table.standing(from).is_some_and(|standing| standing != Standing::Alive) {
            self.tell(from, from, now);
        }
        if probe.digest == self.table.digest() {
            self.on_digest_match(from);
        }
        let updates = self.ride_along(from, now);
        let ack = proto::Ack { sequence: probe.sequence, digest: self.table.digest(), updates };
        let channel = if probe.reliable { Channel::Stream } else { Channel::Datagram };
        self.answer(from, channel, ProtoBody::Ack(ack), now);
    }

    /// Takes note of when a link means to probe this node again.
    fn expect_probe(&mut self, from: &NodeId, again_in: Duration, now: Instant) {
        let is_promise = !again_in.is_zero() && again_in <= LONGEST_PROMISE;
        if !is_promise || !self.links.contains(from) {
            return;
        }
        // A quarter of an interval for delays on the way.
        let at = now + again_in + self.options.interval / 4;
        if let Some(earlier) = self.prober.expected.insert(from.clone(), at) {
            self.timers.remove(&(earlier, Timer::Expected(from.clone())));
        }
        self.schedule(at, Timer::Expected(from.clone()));
    }

    /// A link that meant to probe this node has not: it is asked why.
    pub(crate) fn on_probe_not_come(&mut self, from: &NodeId, now: Instant) {
        self.prober.expected.remove(from);
        let is_watched = self.links.contains(from) && !self.accusations.contains_key(from);
        if is_watched && !self.prober.is_probing(from) {
            self.stats.broken_promises += 1;
            self.probe(from, Channel::Datagram, Purpose::Watch, now);
        }
    }

    pub(crate) fn on_ack(&mut self, from: &NodeId, sequence: u64, digest: u64, updates: Vec<Update>, now: Instant) {
        self.learn(from, updates, now);
        let outstanding = self.prober.outstanding.get(&sequence).filter(|probe| probe.target == *from);
        let Some((sent_at, is_timed, missed_at)) =
            outstanding.map(|probe| (probe.sent_at, probe.is_timed, probe.missed_at))
        else {
            return;
        };
        self.prober.outstanding.remove(&sequence);
        self.timers.remove(&(missed_at, Timer::ProbeMissed(sequence)));
        self.responses.answered(from, sequence);
        let took = now.saturating_duration_since(sent_at);
        if is_timed {
            self.observe_rtt(from, took);
        }
        if took <= self.options.probe_timeout(self.table.get(from).and_then(Entry::rtt)) {
            self.health.improve();
        }
        let is_responsive = self.responses.is_responsive(from, now);
        self.on_suspect_answered(from, is_responsive);
        if is_responsive {
            self.vouch_for(from, now);
        }
        if self.table.standing(from).is_some_and(|standing| standing != Standing::Alive) {
            self.tell(from, from, now);
        }
        if digest == self.table.digest() {
            self.on_digest_match(from);
        } else {
            self.on_digest_mismatch(from, now);
        }
    }

    fn observe_rtt(&mut self, peer: &NodeId, sample: Duration) {
        // RFC 6298 §2: the first sample as it is, then one eighth of each.
        let smooth = |rtt: Option<Duration>| rtt.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8);
        if self.table.set_rtt(peer, smooth) {
            self.outputs.push_back(Output::Rtt { peer: peer.clone(), rtt: sample });
        }
    }

    /// What a handshake has shown stands in until a probe has been answered.
    pub(crate) fn seed_rtt(&mut self, peer: &NodeId, sample: Duration) {
        self.table.set_rtt(peer, |rtt| rtt.unwrap_or(sample));
    }

    pub(crate) fn on_probe_missed(&mut self, sequence: u64, now: Instant) {
        let Some(probe) = self.prober.outstanding.get(&sequence) else { return };
        let (target, sent_at, purpose) = (probe.target.clone(), probe.sent_at, probe.purpose);
        self.stats.missed_probes += 1;
        self.responses.missed(&target, sequence);
        // A late answer still counts while it can change anything.
        self.schedule(now + self.options.suspicion_interval, Timer::ProbeForgotten(sequence));
        match purpose {
            Purpose::Turn(_) | Purpose::Watch => self.accuse(&target, sent_at, now),
            Purpose::Ask => self.on_confirm_missed(&target, now),
        }
    }

    pub(crate) fn forget_probe(&mut self, sequence: u64) {
        self.prober.outstanding.remove(&sequence);
    }

    /// Repeats the own record to one link.
    pub(crate) fn refresh(&mut self, now: Instant) {
        self.schedule(now + self.options.metadata_refresh_period, Timer::Refresh);
        if let Some(link) = self.links.iter().choose(&mut self.rng).cloned() {
            self.enqueue_repeat(&link, now);
        }
    }
}
