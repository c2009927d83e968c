//! Packets under way, and what happens to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use membership::Channel;
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::agenda::{Agenda, Due};
use crate::settings::Weather;

/// How long a stream waits before it sends a lost packet again, the first time: QUIC's probe timeout on a link whose round trip is
/// known (RFC 9002 §6.2.1). It doubles each time.
const RETRANSMIT: Duration = Duration::from_millis(30);

/// The same before the round trip is known: three times the initial 333 ms (RFC 9002 §6.2.2).
const FIRST_RETRANSMIT: Duration = Duration::from_secs(1);

/// Sends of one packet of a stream before its connection is given up.
const MOST_SENDS: u32 = 8;

/// Most messages that wait for one link, as in the real shell.
const MOST_WAITING: usize = 32;

/// Something that will happen at a node, by its number.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    /// Its timer may be due.
    Wake,
    /// Its timer was due then, while it stood still.
    LateWake { due: Instant },
    /// The process starts.
    Start,
    /// A message on an established link.
    Message { from: usize, bytes: Bytes },
    /// A node dials: its hello has arrived.
    Hello { from: usize, dial: u64, bytes: Bytes },
    /// The answer to the hello has arrived.
    HelloAck { from: usize, dial: u64, bytes: Bytes },
    /// Whatever came of a dial of this node, it is over.
    DialOver { to: usize, dial: u64 },
}

impl Arrival {
    /// Returns what it brings, if it is a message.
    pub(crate) const fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Message { bytes, .. } | Self::Hello { bytes, .. } | Self::HelloAck { bytes, .. } => Some(bytes),
            Self::Wake | Self::LateWake { .. } | Self::Start | Self::DialOver { .. } => None,
        }
    }
}

/// How a packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As part of a handshake.
    Handshake,
    /// Over an established link.
    On(Channel),
}

/// Messages in the order they were sent.
pub(crate) type Waiting = Vec<(Channel, Bytes)>;

/// A dial under way.
#[derive(Debug)]
struct Dial {
    number: u64,
    /// What its handshake takes.
    rtt: Duration,
    waiting: Waiting,
}

/// What one node's own connection to the network does to its packets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Access {
    /// Share lost on the way to it, where it is not the usual.
    pub(crate) ingress_loss: Option<f64>,
    /// Share lost on the way from it, where it is not the usual.
    pub(crate) egress_loss: Option<f64>,
    /// Which part of a divided network it is in.
    pub(crate) part: u32,
}

/// What is under way, and which links are up.
#[derive(Debug)]
pub(crate) struct Network {
    agenda: Agenda,
    next_number: u64,
    links: Vec<BTreeSet<usize>>,
    /// Dials under way, by dialler and target.
    dials: BTreeMap<(usize, usize), Dial>,
    access: Vec<Access>,
    sent: u64,
    sent_bytes: u64,
}

impl Network {
    pub(crate) fn new(nodes: usize, started: Instant) -> Self {
        Self {
            agenda: Agenda::new(started),
            next_number: 0,
            links: vec![BTreeSet::new(); nodes],
            dials: BTreeMap::new(),
            access: vec![Access::default(); nodes],
            sent: 0,
            sent_bytes: 0,
        }
    }

    /// Puts something on its way to life `life` of node `to`.
    pub(crate) fn push(&mut self, at: Instant, to: usize, life: u32, arrival: Arrival) {
        self.next_number += 1;
        self.agenda.push(Due { at, number: self.next_number, to, life, arrival });
    }

    pub(crate) fn pop_until(&mut self, limit: Instant) -> Option<(Instant, usize, u32, Arrival)> {
        let Due { at, to, life, arrival, .. } = self.agenda.pop_until(limit)?;
        Some((at, to, life, arrival))
    }

    pub(crate) fn is_linked(&self, a: usize, b: usize) -> bool {
        self.links[a].contains(&b)
    }

    pub(crate) fn link(&mut self, a: usize, b: usize) {
        self.links[a].insert(b);
        self.links[b].insert(a);
    }

    /// Drops all links of a node, and its dials.
    pub(crate) fn unlink(&mut self, node: usize) {
        for other in std::mem::take(&mut self.links[node]) {
            self.links[other].remove(&node);
        }
        self.dials.retain(|(dialler, _), _| *dialler != node);
    }

    pub(crate) fn unlink_pair(&mut self, a: usize, b: usize) {
        self.links[a].remove(&b);
        self.links[b].remove(&a);
    }

    /// Begins a dial; `None` if one is under way, which then carries the message too.
    pub(crate) fn begin_dial(&mut self, from: usize, to: usize, message: Option<(Channel, Bytes)>) -> Option<u64> {
        if let Some(dial) = self.dials.get_mut(&(from, to)) {
            if dial.waiting.len() >= MOST_WAITING {
                dial.waiting.remove(0);
            }
            dial.waiting.extend(message);
            return None;
        }
        self.next_number += 1;
        let number = self.next_number;
        self.dials.insert((from, to), Dial { number, rtt: Duration::ZERO, waiting: message.into_iter().collect() });
        Some(number)
    }

    /// Sets what the handshake of a dial under way takes.
    pub(crate) fn set_handshake(&mut self, from: usize, to: usize, rtt: Duration) {
        if let Some(dial) = self.dials.get_mut(&(from, to)) {
            dial.rtt = rtt;
        }
    }

    /// Returns what the handshake of a dial under way takes.
    pub(crate) fn handshake(&self, from: usize, to: usize) -> Duration {
        self.dials.get(&(from, to)).map_or(Duration::ZERO, |dial| dial.rtt)
    }

    /// Ends a dial and returns what waited for it; `None` if it is over already.
    pub(crate) fn end_dial(&mut self, from: usize, to: usize, number: u64) -> Option<Waiting> {
        self.dials.get(&(from, to)).filter(|dial| dial.number == number)?;
        self.dials.remove(&(from, to)).map(|dial| dial.waiting)
    }

    pub(crate) fn is_dialling(&self, from: usize, to: usize, number: u64) -> bool {
        self.dials.get(&(from, to)).is_some_and(|dial| dial.number == number)
    }

    pub(crate) fn access_mut(&mut self, node: usize) -> &mut Access {
        &mut self.access[node]
    }

    /// Drops the links between parts of a divided network.
    pub(crate) fn drop_cut_links(&mut self) {
        let Self { links, access, .. } = self;
        for (node, linked) in links.iter_mut().enumerate() {
            linked.retain(|other| access[*other].part == access[node].part);
        }
    }

    /// Lets everybody reach everybody again.
    pub(crate) fn unite(&mut self) {
        for access in &mut self.access {
            access.part = 0;
        }
    }

    pub(crate) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.access[a].part != self.access[b].part
    }

    /// Packets sent so far.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes sent so far, without what QUIC and IP add.
    pub(crate) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Counts a packet and decides what becomes of it: how long each copy that arrives takes; none if it is lost.
    pub(crate) fn travel(
        &mut self,
        rng: &mut SmallRng,
        weather: &Weather,
        (from, to): (usize, usize),
        (kind, bytes): (Kind, usize),
    ) -> Vec<Duration> {
        self.sent += 1;
        self.sent_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut time = weather.one_way(rng);
        if self.is_cut(from, to) {
            return Vec::new();
        }
        match kind {
            Kind::On(Channel::Datagram) if self.is_lost(rng, weather, from, to) => Vec::new(),
            Kind::On(Channel::Datagram) if rng.random_bool(weather.duplication) => {
                vec![time, time + weather.one_way(rng)]
            }
            Kind::On(Channel::Datagram) => vec![time],
            Kind::On(Channel::Stream) | Kind::Handshake => {
                let mut again = if kind == Kind::Handshake { FIRST_RETRANSMIT } else { RETRANSMIT };
                for _ in 0..MOST_SENDS {
                    if !self.is_lost(rng, weather, from, to) {
                        return vec![time];
                    }
                    self.sent += 1;
                    time += again;
                    again *= 2;
                }
                Vec::new()
            }
        }
    }

    fn is_lost(&self, rng: &mut SmallRng, weather: &Weather, from: usize, to: usize) -> bool {
        let leaving = self.access[from].egress_loss;
        let arriving = self.access[to].ingress_loss;
        let share = match (leaving, arriving) {
            (None, None) => weather.loss,
            (leaving, arriving) => 1.0 - (1.0 - leaving.unwrap_or(0.0)) * (1.0 - arriving.unwrap_or(0.0)),
        };
        rng.random_bool(share)
    }
}
