//! News: taken in once, passed on at once to every link, repeated until the other side has it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body as ProtoBody;
use mesh_types::NodeId;

use crate::claim::Standing;
use crate::class::Class;
use crate::core::{Core, Phase, Timer};
use crate::event::Event;
use crate::exchange::{Channel, Output};
use crate::table::{Entry, Merged};
use crate::wire::{self, Update, UpdateError};

/// Bytes of a datagram left for the envelope around the updates: sender, sequence, digest, tags.
pub(crate) const ENVELOPE_BYTES: usize = 100;

/// Bytes of updates that a datagram holds.
const DATAGRAM_ROOM: usize = mesh_proto::MAX_DATAGRAM_BYTES - ENVELOPE_BYTES;

impl Core {
    /// Takes in updates that `from` sent, and passes on what is new.
    pub(crate) fn learn(&mut self, from: &NodeId, updates: Vec<Update>, now: Instant) {
        for update in updates {
            self.learn_one(Some(from), update, true, now);
        }
    }

    /// Takes in one update; returns what it did, or `None` if it was refused or is about the local node.
    pub(crate) fn learn_one(
        &mut self,
        from: Option<&NodeId>,
        update: Update,
        forward: bool,
        now: Instant,
    ) -> Option<Merged> {
        if update.node == self.local {
            self.consider_self(&update, now);
            return None;
        }
        let node = update.node.clone();
        let said_at = self.said_at(from, update.age, now);
        if update.claim.standing == Standing::Alive && self.table.is_full() && self.table.get(&node).is_none() {
            self.make_room();
        }
        if let Some(from) = from.filter(|_| self.is_rumour(&update)) {
            self.hear_rumour(from, update, said_at, now);
            return None;
        }
        let rumour_at = self.table.rumour_believed_at(&node).copied();
        let merged = match self.table.merge(update, now) {
            Ok(merged) => merged,
            Err(error) => {
                self.reject_update(node.to_string(), &error);
                return None;
            }
        };
        if let Some(at) = rumour_at.filter(|_| self.table.rumour_believed_at(&node).is_none()) {
            self.timers.remove(&(at, Timer::Rumour(node.clone())));
        }
        if merged.is_news() {
            self.stats.news += 1;
            // What a newcomer is told at first is not news to the mesh.
            self.note_spread(&node, from.filter(|_| forward), said_at, now);
            self.on_news(&node, merged, now);
            if forward {
                self.enqueue(&node, from, class_of(merged), now);
            }
        } else {
            self.stats.duplicates += 1;
        }
        match from {
            // A flood goes over most links from both ends at once; what has come is not sent back.
            Some(from) if !merged.is_behind => self.outbox.heard(from, &node),
            // Whoever still takes a departed member for living is told at once.
            Some(from) if merged.after.standing != Standing::Alive => self.tell(from, &node, now),
            _ => {}
        }
        Some(merged)
    }

    /// Returns when news were first said, by this node's clock: just now if their author told it itself, in a hello or as a verdict
    /// of this node. No clocks are compared: ages add up, and half a round trip for each link.
    fn said_at(&self, from: Option<&NodeId>, age: Option<Duration>, now: Instant) -> Option<Instant> {
        let Some(from) = from else { return Some(now) };
        let travelled = self.table.get(from).and_then(Entry::rtt).unwrap_or_default() / 2;
        now.checked_sub(age? + travelled)
    }

    fn note_spread(&mut self, node: &NodeId, from: Option<&NodeId>, said_at: Option<Instant>, now: Instant) {
        self.table.set_said_at(node, said_at);
        if let (Some(_), Some(at)) = (from, said_at) {
            self.outputs.push_back(Output::Spread { age: now.saturating_duration_since(at) });
        }
    }

    pub(crate) fn reject_update(&mut self, node: String, error: &UpdateError) {
        self.emit(Event::UpdateRejected { node, reason: error.reason(), detail: describe(error) });
    }

    /// Queues what is known of `subject` for every link but `except`.
    pub(crate) fn enqueue(&mut self, subject: &NodeId, except: Option<&NodeId>, class: Class, now: Instant) {
        for link in self.links.iter().filter(|link| Some(*link) != except && *link != subject) {
            self.outbox.queue_news(link, subject, class, now);
        }
        self.plan_flush(now);
    }

    /// Queues the own record once more for one link, to ride on its next probe.
    pub(crate) fn enqueue_repeat(&mut self, link: &NodeId, now: Instant) {
        self.outbox.queue_repeat(link, &self.local, now);
    }

    fn plan_flush(&mut self, now: Instant) {
        if let Some(at) = self.outbox.plan_flush(now) {
            self.schedule(at, Timer::Flush);
        }
    }

    /// Sends what waits, as far as the links' rates allow; the rest waits for the next turn.
    pub(crate) fn flush(&mut self, now: Instant) {
        let mut is_storm = false;
        for to in self.outbox.begin_flush(now) {
            let updates = self.take_news(&to, now);
            let datagrams = self.send_updates(&to, updates, Channel::Datagram);
            self.send_queued_events(&to, now);
            self.send_queued_syncs(&to, now);
            is_storm |= datagrams > 1 || self.outbox.lane(&to, now).is_waiting();
        }
        self.outbox.end_flush(is_storm);
        if self.outbox.is_waiting() {
            self.plan_flush(now);
        }
    }

    /// Returns news for a link, the most urgent first, as far as each class has the means.
    fn take_news(&mut self, link: &NodeId, now: Instant) -> Vec<proto::Update> {
        let limit = self.options.retransmit_limit;
        let mut updates = Vec::new();
        let mut room = 0;
        for class in Class::NEWS {
            while let Some(subject) = self.outbox.lane(link, now).first(class) {
                let update = self.table.news_of(&subject, now).map(|update| wire::encode_update(&update));
                let lane = self.outbox.lane(link, now);
                let Some(update) = update else {
                    lane.forget(&subject);
                    continue;
                };
                let size = wire::packed_len(&update);
                let begins_datagram = size > room && size <= DATAGRAM_ROOM;
                if !lane.pacer.take(class, size, usize::from(begins_datagram)) {
                    break;
                }
                room = if begins_datagram { DATAGRAM_ROOM - size } else { room.saturating_sub(size) };
                lane.sent(&subject, limit);
                updates.push(update);
            }
        }
        updates
    }

    /// Returns news for `link` that fit into a probe or ack, and counts them as sent. What fits into no datagram goes
    /// by itself.
    pub(crate) fn ride_along(&mut self, link: &NodeId, now: Instant) -> Vec<proto::Update> {
        let limit = self.options.retransmit_limit;
        let mut room = DATAGRAM_ROOM;
        let mut riding = Vec::new();
        let mut too_large = Vec::new();
        for (subject, class) in self.outbox.lane(link, now).subjects() {
            let Some(update) = self.table.news_of(&subject, now).map(|update| wire::encode_update(&update)) else {
                continue;
            };
            let size = wire::packed_len(&update);
            let is_too_large = size > DATAGRAM_ROOM;
            if !is_too_large && size > room {
                continue;
            }
            let lane = self.outbox.lane(link, now);
            if !lane.pacer.take(class, size, 0) {
                continue;
            }
            lane.sent(&subject, limit);
            if is_too_large {
                too_large.push(update);
            } else {
                room -= size;
                riding.push(update);
            }
        }
        self.send_updates(link, too_large, Channel::Stream);
        riding
    }

    /// Sends `node` what is known of `subject`, unless too much has been sent to it lately.
    pub(crate) fn tell(&mut self, node: &NodeId, subject: &NodeId, now: Instant) {
        let Some(update) = self.table.news_of(subject, now) else { return };
        let class = if update.claim.standing == Standing::Alive { Class::Membership } else { Class::Verdict };
        let encoded = wire::encode_update(&update);
        if self.outbox.lane(node, now).pacer.take(class, wire::packed_len(&encoded), 1) {
            self.send_updates(node, vec![encoded], Channel::Datagram);
        } else {
            self.outbox.shed(class);
        }
    }

    /// Sends updates that have been paid for, as datagrams where they fit; returns in how many messages.
    pub(crate) fn send_updates(&mut self, to: &NodeId, updates: Vec<proto::Update>, channel: Channel) -> usize {
        let runs = wire::pack(updates, DATAGRAM_ROOM);
        let messages = runs.len();
        for run in runs {
            let fits = run.iter().map(wire::packed_len).sum::<usize>() <= DATAGRAM_ROOM;
            let channel = if fits { channel } else { Channel::Stream };
            self.send_now(to, channel, ProtoBody::Flood(proto::Flood { updates: run }));
        }
        messages
    }

    /// Sends a message that the protocol's timers bound: a probe, or a question to a verifier.
    pub(crate) fn send(&mut self, to: &NodeId, channel: Channel, body: ProtoBody, now: Instant) {
        self.outbox.lane(to, now).pacer.charge(Class::Probe, ENVELOPE_BYTES, 1);
        self.send_now(to, channel, body);
    }

    /// Sends an answer. Who asks more often than the rate allows gets none.
    pub(crate) fn answer(&mut self, to: &NodeId, channel: Channel, body: ProtoBody, now: Instant) {
        if self.outbox.lane(to, now).pacer.take(Class::Probe, ENVELOPE_BYTES, 1) {
            self.send_now(to, channel, body);
        } else {
            self.outbox.shed(Class::Probe);
        }
    }

    /// Sends a user event over a link once the link's rate has room for it.
    pub(crate) fn send_event_message(&mut self, link: &NodeId, message: Bytes, now: Instant) {
        self.outbox.queue_event(link, message, now);
        self.send_queued_events(link, now);
        if self.outbox.lane(link, now).has_events() {
            self.plan_flush(now);
        }
    }

    fn send_queued_events(&mut self, link: &NodeId, now: Instant) {
        while let Some(message) = self.outbox.next_event(link, now) {
            self.send_bytes(link, Channel::Stream, message);
        }
    }

    /// Sends a message of a comparison once the member's rate has room for it.
    pub(crate) fn send_sync(&mut self, to: &NodeId, body: ProtoBody, now: Instant) {
        let message = wire::encode(&self.local, body);
        self.outbox.queue_sync(to, message, now);
        self.send_queued_syncs(to, now);
        if self.outbox.has_syncs(to) {
            self.plan_flush(now);
        }
    }

    fn send_queued_syncs(&mut self, to: &NodeId, now: Instant) {
        while let Some(message) = self.outbox.next_sync(to, now) {
            self.send_bytes(to, Channel::Stream, message);
        }
    }

    fn send_now(&mut self, to: &NodeId, channel: Channel, body: ProtoBody) {
        let bytes = wire::encode(&self.local, body);
        self.send_bytes(to, channel, bytes);
    }

    /// Sends to a member whose endpoint is known.
    fn send_bytes(&mut self, to: &NodeId, channel: Channel, bytes: Bytes) {
        let metadata = self.table.get(to).and_then(Entry::metadata);
        if let Some(endpoint) = metadata.map(|metadata| metadata.endpoint.clone()) {
            self.outputs.push_back(Output::Send { to: to.clone(), endpoint, channel, bytes });
        }
    }

    /// Draws the consequences of news about another member.
    fn on_news(&mut self, node: &NodeId, merged: Merged, now: Instant) {
        self.changed_at = now;
        self.touch();
        self.expect_quiet(now);
        self.drop_stale_accusation(node, merged.after);
        if self.phase == Phase::Joining && merged.after.standing == Standing::Alive {
            self.phase = Phase::Running;
        }
        let was_alive = merged.before.is_some_and(|claim| claim.standing == Standing::Alive);
        let is_alive = merged.after.standing == Standing::Alive;
        if was_alive != is_alive {
            let has_moved = match is_alive {
                true => self.overlay.insert(node),
                false => self.overlay.remove(node, &self.table.living()),
            };
            if has_moved || self.overlay.are_few(self.table.alive()) {
                self.relink(!is_alive);
            }
        }
        if merged.after.standing != Standing::Unreachable {
            self.spare(node);
        }
        match merged.after.standing {
            Standing::Unreachable => {
                self.note_flap(node, merged, now);
                self.note_loss(now);
                self.expect_death(node, merged.after, now);
            }
            Standing::Dead | Standing::Left if merged.before != Some(merged.after) => {
                self.schedule_departure(node, merged.after.boot_epoch, now);
            }
            Standing::Alive | Standing::Dead | Standing::Left => {}
        }
        self.emit_change(node, merged);
    }

    /// Recomputes the links after the members of the overlay changed.
    ///
    /// Links that take the place of somebody lost are probed soon: whatever took that one may have taken more.
    pub(crate) fn relink(&mut self, somebody_is_lost: bool) {
        let links = self.overlay.neighbours(self.table.alive(), self.table.living());
        if somebody_is_lost {
            let new: Vec<NodeId> = links.difference(&self.links).cloned().collect();
            new.into_iter().for_each(|link| self.watch_again(link));
        }
        self.links = links;
        self.outbox.retain(&self.links);
        self.prober.retain_expected(&self.links, &mut self.timers);
    }

    fn note_flap(&mut self, node: &NodeId, merged: Merged, now: Instant) {
        let was_alive = merged.before.is_some_and(|claim| claim.standing == Standing::Alive);
        let accuser = self.table.get(node).and_then(|entry| entry.witnesses().first());
        if let Some(accuser) = accuser.filter(|_| was_alive) {
            self.flaps.note(node, accuser, now);
        }
    }

    fn emit_change(&mut self, node: &NodeId, merged: Merged) {
        let Some(member) = self.member(node) else { return };
        let Merged { before, after, new_record, .. } = merged;
        let new_life = before.is_none_or(|claim| claim.boot_epoch < after.boot_epoch);
        let came_back = before.is_some_and(|claim| claim.standing != Standing::Alive);
        let changed = before != Some(after);
        let event = match after.standing {
            Standing::Alive if new_life => Event::Joined(member),
            Standing::Alive if came_back => Event::Recovered(member),
            Standing::Unreachable if changed => Event::Unreachable(member),
            Standing::Dead if changed => Event::Dead(member),
            Standing::Left if changed => Event::Left(member),
            _ if new_record => Event::Updated(member),
            // A higher incarnation alone is the protocol's own matter.
            _ => return,
        };
        self.emit(event);
    }
}

/// How urgent news are.
fn class_of(merged: Merged) -> Class {
    let Merged { before, after, .. } = merged;
    let is_denial = before.is_some_and(|claim| {
        claim.boot_epoch == after.boot_epoch
            && (claim.incarnation, claim.standing) != (after.incarnation, after.standing)
    });
    let is_new = before.is_none_or(|claim| claim.boot_epoch < after.boot_epoch);
    match after.standing {
        Standing::Alive if is_new => Class::Membership,
        Standing::Alive if !is_denial => Class::Metadata,
        _ => Class::Verdict,
    }
}

/// Writes an error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}
