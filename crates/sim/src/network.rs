//! Packets under way, and what happens to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use membership::Channel;
use rand::RngExt;
use rand::rngs::SmallRng;

/// How long a stream waits before it sends a lost packet again.
const RETRANSMIT: Duration = Duration::from_millis(50);

/// Sends of one packet of a stream before its connection is given up.
const MOST_SENDS: u32 = 20;

/// Something that will happen at a node, by its number.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Its timer may be due.
    Wake,
    /// The process starts.
    Start,
    /// A message on an established link.
    Message { from: usize, bytes: Bytes },
    /// A node dials: its hello has arrived. Lives count the starts of both.
    Hello { from: usize, from_life: u32, bytes: Bytes },
    /// The answer to the hello has arrived.
    HelloAck { from: usize, from_life: u32, bytes: Bytes },
}

/// Messages in the order they were sent.
type Waiting = Vec<(Channel, Bytes)>;

/// What is under way, and which links are up.
#[derive(Debug, Default)]
pub(crate) struct Network {
    queue: BTreeMap<(Instant, u64), (usize, u32, Arrival)>,
    next_number: u64,
    links: BTreeSet<(usize, usize)>,
    /// Messages that wait for their link, by dialler and target.
    waiting: BTreeMap<(usize, usize), Waiting>,
    /// Pairs that cannot reach each other.
    blocked: BTreeSet<(usize, usize)>,
    /// Share of the packets lost on their way to a node, where it is not the usual.
    ingress_loss: BTreeMap<usize, f64>,
    sent: u64,
}

impl Network {
    /// Puts something on its way to life `life` of node `to`.
    pub(crate) fn push(&mut self, at: Instant, to: usize, life: u32, arrival: Arrival) {
        self.next_number += 1;
        self.queue.insert((at, self.next_number), (to, life, arrival));
    }

    pub(crate) fn pop_until(&mut self, limit: Instant) -> Option<(Instant, usize, u32, Arrival)> {
        let first = self.queue.first_entry().filter(|first| first.key().0 <= limit)?;
        let ((at, _), (to, life, arrival)) = first.remove_entry();
        Some((at, to, life, arrival))
    }

    pub(crate) fn is_linked(&self, a: usize, b: usize) -> bool {
        self.links.contains(&(a.min(b), a.max(b)))
    }

    pub(crate) fn link(&mut self, a: usize, b: usize) {
        self.links.insert((a.min(b), a.max(b)));
    }

    /// Drops all links of a node, and what waits for new ones.
    pub(crate) fn unlink(&mut self, node: usize) {
        self.links.retain(|(a, b)| *a != node && *b != node);
        self.waiting.retain(|(a, b), _| *a != node && *b != node);
    }

    pub(crate) fn unlink_pair(&mut self, a: usize, b: usize) {
        self.links.remove(&(a.min(b), a.max(b)));
        self.waiting.remove(&(b, a));
    }

    /// Keeps a message until the link is up; returns whether this is the first, so that somebody must dial.
    pub(crate) fn wait(&mut self, from: usize, to: usize, message: Option<(Channel, Bytes)>) -> bool {
        let is_first = !self.waiting.contains_key(&(from, to));
        self.waiting.entry((from, to)).or_default().extend(message);
        is_first
    }

    pub(crate) fn take_waiting(&mut self, from: usize, to: usize) -> Waiting {
        self.waiting.remove(&(from, to)).unwrap_or_default()
    }

    pub(crate) fn block(&mut self, a: usize, b: usize) {
        self.blocked.insert((a.min(b), a.max(b)));
        self.links.remove(&(a.min(b), a.max(b)));
    }

    pub(crate) fn unblock_all(&mut self) {
        self.blocked.clear();
    }

    pub(crate) fn is_blocked(&self, a: usize, b: usize) -> bool {
        self.blocked.contains(&(a.min(b), a.max(b)))
    }

    /// Sets the share of packets that are lost on their way to a node; those it sends are not touched.
    pub(crate) fn set_ingress_loss(&mut self, node: usize, loss: f64) {
        self.ingress_loss.insert(node, loss);
    }

    /// Returns the share of packets lost on their way to a node, if that is not the usual.
    pub(crate) fn ingress_loss(&self, node: usize) -> Option<f64> {
        self.ingress_loss.get(&node).copied()
    }

    /// Packets sent so far.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Counts a packet and decides how long it takes; `None` if it never arrives.
    pub(crate) fn travel_time(
        &mut self,
        rng: &mut SmallRng,
        latency: &std::ops::RangeInclusive<Duration>,
        loss: f64,
        channel: Channel,
    ) -> Option<Duration> {
        let mut time = rng.random_range(latency.clone());
        self.sent += 1;
        match channel {
            Channel::Datagram => (!rng.random_bool(loss)).then_some(time),
            Channel::Stream => {
                for _ in 0..MOST_SENDS {
                    if !rng.random_bool(loss) {
                        return Some(time);
                    }
                    self.sent += 1;
                    time += RETRANSMIT;
                }
                None
            }
        }
    }
}
