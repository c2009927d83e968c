//! What happened to peers, the newest of it.

use std::collections::VecDeque;

use mesh_types::NodeId;

use crate::evidence::{HealthState, Source};
use crate::snapshot::PeerHealth;
use crate::time::Moment;

/// Something that happened to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number, one higher for each event of a board, from 1.
    pub seq: u64,
    /// When the board saw it.
    pub at: Moment,
    /// Whom it happened to.
    pub peer: NodeId,
    /// What happened.
    pub kind: EventKind,
    /// Why, if it was lost and somebody said why: the `disconnect.reason` of that time.
    pub reason: Option<Box<str>>,
}

/// What can happen to a peer. What lasts less than the time between two snapshots may go unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// It is known now.
    Appeared {
        /// What it is held for.
        state: HealthState,
    },
    /// It is held for something else now.
    Changed {
        /// What it was held for.
        from: HealthState,
        /// What it is held for.
        to: HealthState,
        /// The source that decided it; `None` if nothing counts any more.
        source: Option<Source>,
    },
    /// It is known no longer.
    Gone,
    /// Anomaly: it has changed four times within a minute. Told once until it has calmed down.
    Flapping,
    /// Anomaly: gossip holds it for alive, and no call has reached it for 10 s: the way there may be open in one
    /// direction only. Told once until it is over.
    Disagreement,
    /// Anomaly: nothing that was said of it counts any more. It is held for unknown, and gets work.
    Stale,
}

/// What happened after some event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// The events, in their order.
    pub events: Vec<Event>,
    /// Whether some are missing, because they were too long ago or the board is another one: take a snapshot then.
    pub lagged: bool,
    /// Number of the newest event: ask for what comes after it next.
    pub newest: u64,
}

/// The newest events.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    events: VecDeque<Event>,
    newest: u64,
}

/// Most events kept: some minutes of a mesh that is falling apart, in about 400 KiB, and reasons.
const CAPACITY: usize = 4096;

impl Ring {
    pub(crate) fn push(&mut self, at: Moment, peer: &PeerHealth, kind: EventKind, reason: Option<Box<str>>) {
        self.newest += 1;
        if self.events.len() == CAPACITY {
            self.events.pop_front();
        }
        self.events.push_back(Event { seq: self.newest, at, peer: peer.facts.id.clone(), kind, reason });
    }

    pub(crate) fn since(&self, seq: u64) -> Events {
        // A number that is still to come is of another board: all that is here is new then.
        let is_foreign = seq > self.newest;
        let seq = if is_foreign { 0 } else { seq };
        let first_kept = self.events.front().map_or(self.newest + 1, |event| event.seq);
        let events = self.events.iter().skip_while(|event| event.seq <= seq).cloned().collect();
        Events { events, lagged: is_foreign || seq + 1 < first_kept, newest: self.newest }
    }
}
