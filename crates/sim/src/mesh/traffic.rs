//! How messages travel between the cores, and what a core's outputs do.

use std::time::{Duration, Instant};

use bytes::Bytes;
use membership::{Channel, Core, Input, Output, Rejected};
use mesh_proto::Message as _;
use mesh_proto::gossip::Envelope;
use mesh_proto::gossip::envelope::Body;
use mesh_types::NodeId;

use super::Mesh;
use crate::network::{Arrival, Kind};
use crate::release::updates_mut;

/// Longest wait of a dialler for the answer to its hello; seeds are tried impatiently first, as in the real shell.
const DIAL_PATIENCE: Duration = Duration::from_secs(3);
const FIRST_PATIENCE: Duration = Duration::from_millis(250);

impl Mesh {
    pub(super) fn arrive(&mut self, to: usize, arrival: Arrival) {
        match arrival {
            Arrival::Start => self.boot(to),
            Arrival::Wake => {
                self.nodes[to].wake_at = None;
                self.with_core(to, |core, now| core.handle(Input::Timeout, now).expect("a timer is no input"));
            }
            Arrival::LateWake { due } => {
                self.nodes[to].wake_at = None;
                let lag = self.now - due;
                self.with_core(to, |core, now| {
                    core.handle(Input::LoopLag(lag), now).expect("a lag is no input");
                    core.handle(Input::Timeout, now).expect("a timer is no input");
                });
            }
            Arrival::Message { from, bytes } => self.on_message(to, from, bytes),
            Arrival::Hello { from, dial, bytes } => self.on_hello(to, from, dial, &bytes),
            Arrival::HelloAck { from, dial, bytes } => self.on_hello_ack(to, from, dial, &bytes),
            Arrival::DialOver { to: target, dial } => drop(self.network.end_dial(to, target, dial)),
        }
    }

    fn on_message(&mut self, to: usize, from: usize, bytes: Bytes) {
        let sender = self.nodes[from].id.clone();
        let mut result = Ok(());
        let message = bytes.clone();
        self.with_core(to, |core, now| result = core.handle(Input::Message { from: &sender, bytes: message }, now));
        match result {
            // It overtook the answer to this node's hello: the connection keeps it until the link is up.
            Err(Rejected::UnknownSender { .. }) if self.network.is_linked(from, to) => {
                let again = self.now + *self.weather.latency.end();
                self.network.push(again, to, self.nodes[to].life, Arrival::Message { from, bytes });
            }
            // An earlier life of it was linked to the sender.
            Err(Rejected::UnknownSender { .. }) => {}
            other => other.expect("cores speak the protocol"),
        }
    }

    fn on_hello(&mut self, to: usize, from: usize, dial: u64, bytes: &Bytes) {
        if !self.network.is_dialling(from, to, dial) || self.network.is_cut(from, to) {
            return;
        }
        let sender = self.sender(from);
        let mut ack = None;
        self.with_core(to, |core, now| ack = core.handle_hello(&sender, bytes, now).ok());
        let release = self.nodes[to].release;
        if let Some(answer) = ack.map(|ack| release.hello_ack(&ack)) {
            self.link_up(to, from, self.network.handshake(from, to));
            if !self.carry(self.now, (to, from), Channel::Stream, &Arrival::HelloAck { from: to, dial, bytes: answer })
            {
                self.network.unlink_pair(to, from);
            }
        }
    }

    fn on_hello_ack(&mut self, to: usize, from: usize, dial: u64, bytes: &Bytes) {
        let rtt = self.network.handshake(to, from);
        let Some(waiting) = self.network.end_dial(to, from, dial) else {
            self.network.unlink_pair(to, from);
            return;
        };
        let sender = self.sender(from);
        self.network.link(to, from);
        let mut accepted = true;
        self.with_core(to, |core, now| accepted = core.handle_hello_ack(&sender, bytes, now).is_ok());
        if !accepted {
            self.network.unlink_pair(to, from);
            return;
        }
        self.link_up(to, from, rtt);
        for (channel, message) in waiting {
            self.transmit(to, from, channel, message);
        }
    }

    /// Tells a node what the handshake of its new link has shown.
    fn link_up(&mut self, number: usize, other: usize, rtt: Duration) {
        self.network.link(number, other);
        let peer = self.nodes[other].id.clone();
        self.with_core(number, |core, now| {
            core.handle(Input::LinkRtt { peer: &peer, rtt }, now).expect("a round trip is no input");
        });
    }

    /// Lets a node's core work, then does what it wants done.
    pub(super) fn with_core(&mut self, number: usize, work: impl FnOnce(&mut Core, Instant)) {
        let local_now = self.nodes[number].clock.shows(self.now);
        let Some(core) = self.nodes[number].core.as_mut() else { return };
        work(core, local_now);
        let mut outputs = Vec::new();
        while let Some(output) = core.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            self.perform(number, output);
        }
        self.set_wake(number);
    }

    fn perform(&mut self, number: usize, output: Output) {
        match output {
            Output::Send { to, channel, bytes, .. } => {
                let target = self.number_of(&to);
                self.note_denial(number, target, &bytes);
                let message = self.as_released(number, bytes);
                self.transmit(number, target, channel, message);
            }
            Output::Connect { endpoint } => {
                if let Some(target) = self.by_endpoint.get(&endpoint) {
                    self.dial(number, *target, None);
                }
            }
            Output::Event(event) => self.log.add(self.now - self.started, &self.nodes[number].id, &event),
            Output::Spread { age } => self.note_age(age),
            Output::Rtt { .. } | Output::SyncStarted { .. } | Output::SyncEnded { .. } => {}
        }
    }

    /// Returns a message as the sender's release writes it, and looks at whose records it passes on.
    fn as_released(&mut self, from: usize, bytes: Bytes) -> Bytes {
        if !self.is_mixed {
            return bytes;
        }
        let sender = &self.nodes[from];
        let message = sender.release.message(&sender.id, bytes);
        let mut envelope = Envelope::decode(message.clone()).expect("cores speak the protocol");
        for update in updates_mut(&mut envelope).into_iter().filter(|update| !update.record.is_empty()) {
            let origin = &self.nodes[self.number_of(&update.node.parse().expect("cores name nodes"))];
            let is_current = origin.core.as_ref().is_some_and(|core| core.boot_epoch().0 == update.boot_epoch);
            self.stripped_records += u64::from(is_current && !origin.release.wrote(&update.record));
        }
        message
    }

    fn note_age(&mut self, age: Duration) {
        self.oldest_news = self.oldest_news.max(age);
    }

    /// Remembers who has said that a member does not answer: verdicts are held against it.
    fn note_denial(&mut self, from: usize, to: usize, bytes: &Bytes) {
        if !looks_like_verify_reply(bytes) {
            return;
        }
        let envelope = Envelope::decode(bytes.clone()).expect("cores speak the protocol");
        if let Some(Body::VerifyReply(reply)) = envelope.body
            && !reply.answered
        {
            let subject = self.number_of(&reply.subject.parse().expect("cores name nodes"));
            self.denials.insert((from, to, subject));
        }
    }

    pub(super) fn number_of(&self, node: &NodeId) -> usize {
        let digits = node.as_str().strip_prefix("node-").map(str::parse);
        digits.and_then(Result::ok).expect("cores know real nodes only")
    }

    fn transmit(&mut self, from: usize, to: usize, channel: Channel, bytes: Bytes) {
        if self.network.is_linked(from, to) {
            self.carry(self.now, (from, to), channel, &Arrival::Message { from, bytes });
        } else {
            self.dial(from, to, Some((channel, bytes)));
        }
    }

    fn dial(&mut self, from: usize, to: usize, message: Option<(Channel, Bytes)>) {
        let is_seed = message.is_none();
        if is_seed && self.network.is_linked(from, to) {
            return;
        }
        let Some(dial) = self.network.begin_dial(from, to, message) else { return };
        let over = Arrival::DialOver { to, dial };
        let patience = if is_seed { self.patience_with(from, to) } else { DIAL_PATIENCE };
        self.network.push(self.now + patience, from, self.nodes[from].life, over);
        let Some(bytes) = self.nodes[from].core.as_ref().map(Core::hello) else { return };
        let bytes = self.nodes[from].release.hello(&bytes);
        // The handshake takes one round trip before the hello can go.
        let handshake = [(from, to), (to, from)].map(|way| {
            let times = self.network.travel(&mut self.rng, &self.weather, way, (Kind::Handshake, 1_200));
            times.first().copied()
        });
        let [Some(there), Some(back)] = handshake else { return };
        let begin = self.now + there + back;
        self.network.set_handshake(from, to, there + back);
        self.carry(begin, (from, to), Channel::Stream, &Arrival::Hello { from, dial, bytes });
    }

    /// Returns how long a node waits for a seed this time, and doubles it for the next.
    fn patience_with(&mut self, from: usize, seed: usize) -> Duration {
        let patience = self.nodes[from].patience.entry(seed).or_insert(FIRST_PATIENCE);
        let this_time = *patience;
        *patience = (this_time * 2).min(DIAL_PATIENCE);
        this_time
    }

    /// Puts something on its way after `begin`; returns whether it will arrive.
    fn carry(&mut self, begin: Instant, (from, to): (usize, usize), channel: Channel, arrival: &Arrival) -> bool {
        let size = arrival.bytes().map_or(0, Bytes::len);
        let travel = self.network.travel(&mut self.rng, &self.weather, (from, to), (Kind::On(channel), size));
        for time in &travel {
            self.network.push(begin + *time, to, self.nodes[to].life, arrival.clone());
        }
        !travel.is_empty()
    }

    pub(super) fn set_wake(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let due = node.core.as_ref().and_then(Core::poll_timeout).map(|local| node.clock.when(local).max(self.now));
        if let Some(due) = due
            && node.wake_at.is_none_or(|at| due < at)
        {
            node.wake_at = Some(due);
            let life = node.life;
            self.network.push(due, number, life, Arrival::Wake);
        }
    }
}

/// Whether the message may be a reply of a verifier: most are not, and need not be decoded to be told so.
fn looks_like_verify_reply(bytes: &Bytes) -> bool {
    // The sender comes first: its tag, its length, its text; then the tag of the body, field 6 by length.
    let Some(length) = bytes.get(1) else { return false };
    bytes.get(2 + usize::from(*length)) == Some(&((6 << 3) | 2))
}
