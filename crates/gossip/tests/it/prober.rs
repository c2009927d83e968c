//! A member of the test's making that probes a node all the time, over links that the node renews.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body;
use mesh_proto::{GOSSIP_PROTOCOL_MAX, Message as _};
use quinn::Connection;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval};

use crate::Failure;
use crate::raw_peer::RawPeer;

/// Time between two probes.
const PERIOD: Duration = Duration::from_millis(10);

/// Sends a probe every 10 ms on the newest link, and notes which are answered, on whichever link.
pub(crate) struct Prober {
    pub(crate) sent: u64,
    /// Links that the node has begun anew.
    pub(crate) renewals: u64,
    pub(crate) answered: BTreeSet<u64>,
    newest: Connection,
    answers: Vec<Instant>,
    events: mpsc::Receiver<Event>,
    period: Interval,
    _tasks: JoinSet<()>,
}

enum Event {
    Linked(Connection),
    Answered(u64),
}

impl Prober {
    /// Probes whoever is at the other end of `first`, and answers whoever dials `peer`.
    pub(crate) fn new(peer: RawPeer, first: Connection) -> Self {
        let (sender, events) = mpsc::channel(1024);
        let mut tasks = JoinSet::new();
        tasks.spawn(read(first.clone(), sender.clone()));
        tasks.spawn(async move {
            let mut readers = JoinSet::new();
            while let Ok(mut caller) = peer.called().await {
                if caller.answer(&peer, GOSSIP_PROTOCOL_MAX).await.is_ok() {
                    readers.spawn(read(caller.connection.clone(), sender.clone()));
                    drop(sender.send(Event::Linked(caller.connection)).await);
                }
            }
        });
        Self {
            sent: 0,
            renewals: 0,
            answered: BTreeSet::new(),
            newest: first,
            answers: Vec::new(),
            events,
            period: interval(PERIOD),
            _tasks: tasks,
        }
    }

    /// Goes on until `condition` holds.
    pub(crate) async fn until(&mut self, condition: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        while !condition(self) {
            tokio::select! {
                _ = self.period.tick() => {
                    self.sent += 1;
                    self.newest.send_datagram(probe(self.sent))?;
                }
                event = self.events.recv() => match event.ok_or("the readers are gone")? {
                    Event::Linked(connection) => {
                        self.renewals += 1;
                        self.newest = connection;
                    }
                    Event::Answered(sequence) => {
                        self.answered.insert(sequence);
                        self.answers.push(Instant::now());
                    }
                },
            }
        }
        Ok(())
    }

    /// Returns which probes have no answer, but for the last few, which may be under way.
    pub(crate) fn unanswered(&self) -> Vec<u64> {
        (1..=self.sent.saturating_sub(10)).filter(|sequence| !self.answered.contains(sequence)).collect()
    }

    /// Returns the longest time between two answers.
    pub(crate) fn longest_gap(&self) -> Duration {
        let gaps = self.answers.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

fn probe(sequence: u64) -> Bytes {
    let body = Body::Probe(proto::Probe { sequence, ..proto::Probe::default() });
    proto::Envelope { sender: "mallory".to_owned(), body: Some(body) }.encode_to_vec().into()
}

/// Notes answers, and answers probes, until the link ends.
async fn read(connection: Connection, events: mpsc::Sender<Event>) {
    while let Ok(datagram) = connection.read_datagram().await {
        match proto::Envelope::decode(datagram).unwrap_or_default().body {
            Some(Body::Ack(ack)) => drop(events.send(Event::Answered(ack.sequence)).await),
            Some(Body::Probe(probe)) => {
                let body = Body::Ack(proto::Ack { sequence: probe.sequence, ..proto::Ack::default() });
                let ack = proto::Envelope { sender: "mallory".to_owned(), body: Some(body) }.encode_to_vec();
                // The link may be gone by now.
                drop(connection.send_datagram(ack.into()));
            }
            _ => {}
        }
    }
}
