//! News: taken in once, passed on at once to every link, repeated until the other side has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body as ProtoBody;
use mesh_types::NodeId;

use crate::claim::Standing;
use crate::core::{Core, Phase, Timer};
use crate::event::Event;
use crate::exchange::{Channel, Output};
use crate::table::Merged;
use crate::wire::{self, Update, UpdateError};

/// How long news wait for company before they are sent.
const COALESCE: Duration = Duration::from_millis(2);

/// Bytes of a datagram left for the envelope around the updates: sender, sequence, digest, tags.
const ENVELOPE_BYTES: usize = 100;

/// What one link is still to be told about a member.
#[derive(Debug, Clone, Copy)]
struct Pending {
    sends_left: u8,
    /// Not sent to this link yet.
    fresh: bool,
}

/// News by link and subject. A subject stands in it once, however often it changes, so the members bound it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    links: BTreeMap<NodeId, BTreeMap<NodeId, Pending>>,
    flush_due: bool,
}

impl Outbox {
    pub(crate) fn depth(&self) -> usize {
        self.links.values().map(BTreeMap::len).sum()
    }

    /// Keeps the queues of `links` only.
    pub(crate) fn retain(&mut self, links: &BTreeSet<NodeId>) {
        self.links.retain(|link, _| links.contains(link));
    }

    /// The other side has everything: nothing needs repeating. What was never sent stays.
    pub(crate) fn settle(&mut self, link: &NodeId) {
        if let Some(pending) = self.links.get_mut(link) {
            pending.retain(|_, news| news.fresh);
        }
    }

    /// Takes note that `subject` has just been sent to `link`.
    fn sent(&mut self, link: &NodeId, subject: &NodeId) {
        let Some(pending) = self.links.get_mut(link) else { return };
        let Some(news) = pending.get_mut(subject) else { return };
        news.fresh = false;
        news.sends_left = news.sends_left.saturating_sub(1);
        if news.sends_left == 0 {
            pending.remove(subject);
        }
    }

    fn has_fresh(&self, link: &NodeId) -> bool {
        self.links.get(link).is_some_and(|pending| pending.values().any(|news| news.fresh))
    }
}

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
        if update.claim.standing == Standing::Alive && self.table.is_full() && self.table.get(&node).is_none() {
            self.make_room();
        }
        let merged = match self.table.merge(update, now) {
            Ok(merged) => merged,
            Err(error) => {
                self.reject_update(node.to_string(), &error);
                return None;
            }
        };
        if merged.is_news() {
            self.stats.news += 1;
            self.on_news(&node, merged, now);
            if forward {
                self.enqueue(&node, from, now);
            }
        } else {
            self.stats.duplicates += 1;
        }
        // Whoever still takes a departed member for living is told at once.
        if let Some(from) = from
            && merged.is_behind
            && merged.after.standing != Standing::Alive
        {
            self.tell(from, &node);
        }
        Some(merged)
    }

    pub(crate) fn reject_update(&mut self, node: String, error: &UpdateError) {
        self.emit(Event::UpdateRejected { node, reason: error.reason(), detail: describe(error) });
    }

    /// Queues what is known of `subject` for every link but `except`.
    pub(crate) fn enqueue(&mut self, subject: &NodeId, except: Option<&NodeId>, now: Instant) {
        let news = Pending { sends_left: self.options.retransmit_limit, fresh: true };
        for link in self.links.iter().filter(|link| Some(*link) != except && *link != subject) {
            self.outbox.links.entry(link.clone()).or_default().insert(subject.clone(), news);
        }
        if !self.outbox.flush_due {
            self.outbox.flush_due = true;
            self.schedule(now + COALESCE, Timer::Flush);
        }
    }

    /// Queues the own record once more for one link, to ride on its next probe.
    pub(crate) fn enqueue_repeat(&mut self, link: &NodeId) {
        let news = Pending { sends_left: 1, fresh: false };
        self.outbox.links.entry(link.clone()).or_default().entry(self.local.clone()).or_insert(news);
    }

    /// Sends all fresh news.
    pub(crate) fn flush(&mut self, _now: Instant) {
        self.outbox.flush_due = false;
        let links: Vec<NodeId> = self.outbox.links.keys().cloned().collect();
        for link in links {
            if !self.outbox.has_fresh(&link) {
                continue;
            }
            let updates = self.take_news(&link, |news| news.fresh);
            self.send_updates(&link, updates, Channel::Datagram);
        }
    }

    /// Returns news for `link` that fit into a probe or ack, and counts them as sent. What fits into no datagram goes
    /// by itself.
    pub(crate) fn ride_along(&mut self, link: &NodeId) -> Vec<proto::Update> {
        let mut room = mesh_proto::MAX_DATAGRAM_BYTES - ENVELOPE_BYTES;
        let mut riding = Vec::new();
        let mut too_large = Vec::new();
        let subjects: Vec<NodeId> =
            self.outbox.links.get(link).map(|pending| pending.keys().cloned().collect()).unwrap_or_default();
        for subject in subjects {
            let Some(update) = self.table.update_of(&subject).map(|update| wire::encode_update(&update)) else {
                continue;
            };
            let size = wire::packed_len(&update);
            if size > mesh_proto::MAX_DATAGRAM_BYTES - ENVELOPE_BYTES {
                too_large.push(update);
            } else if size > room {
                continue;
            } else {
                room -= size;
                riding.push(update);
            }
            self.outbox.sent(link, &subject);
        }
        self.send_updates(link, too_large, Channel::Stream);
        riding
    }

    /// Sends `node` what is known of `subject`.
    pub(crate) fn tell(&mut self, node: &NodeId, subject: &NodeId) {
        if let Some(update) = self.table.update_of(subject) {
            self.send_updates(node, vec![wire::encode_update(&update)], Channel::Datagram);
        }
    }

    /// Sends updates, as datagrams where they fit.
    pub(crate) fn send_updates(&mut self, to: &NodeId, updates: Vec<proto::Update>, channel: Channel) {
        let budget = mesh_proto::MAX_DATAGRAM_BYTES - ENVELOPE_BYTES;
        for run in wire::pack(updates, budget) {
            let fits = run.iter().map(wire::packed_len).sum::<usize>() <= budget;
            let channel = if fits { channel } else { Channel::Stream };
            self.send(to, channel, ProtoBody::Flood(proto::Flood { updates: run }));
        }
    }

    /// Sends a message to a member whose endpoint is known.
    pub(crate) fn send(&mut self, to: &NodeId, channel: Channel, body: ProtoBody) {
        let record = self.table.get(to).and_then(|entry| entry.record.as_ref());
        if let Some(endpoint) = record.map(|record| record.metadata.endpoint.clone()) {
            let bytes = wire::encode(&self.local, body);
            self.outputs.push_back(Output::Send { to: to.clone(), endpoint, channel, bytes });
        }
    }

    fn take_news(&mut self, link: &NodeId, which: impl Fn(&Pending) -> bool) -> Vec<proto::Update> {
        let Some(pending) = self.outbox.links.get(link) else { return Vec::new() };
        let subjects: Vec<NodeId> =
            pending.iter().filter(|(_, news)| which(news)).map(|(subject, _)| subject.clone()).collect();
        let mut updates = Vec::with_capacity(subjects.len());
        for subject in subjects {
            updates.extend(self.table.update_of(&subject).map(|update| wire::encode_update(&update)));
            self.outbox.sent(link, &subject);
        }
        updates
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
            if is_alive {
                self.overlay.insert(node);
            } else {
                self.overlay.remove(node);
            }
            self.relink(!is_alive);
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
        let links = self.overlay.neighbours(&self.local);
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
        let accuser = self.table.get(node).and_then(|entry| entry.witnesses.first());
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
