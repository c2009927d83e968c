//! The health of all peers at one moment: immutable, versioned, shared.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::evidence::{HealthState, Source, Verdicts};
use crate::lease::PeerFacts;
use crate::provider::HealthRecord;
use crate::time::{Moment, WallTime};

/// One peer, all providers taken together.
#[derive(Debug, Clone)]
pub struct PeerHealth {
    /// Who it is, what it holds, and what is written beside it.
    pub facts: Arc<PeerFacts>,
    /// When it was last heard of.
    pub last_heartbeat: Option<WallTime>,
    /// When it was last disconnected; it may have recovered since.
    pub last_disconnect: Option<WallTime>,
    /// What each source says.
    pub verdicts: Verdicts,
    /// What follows.
    pub state: HealthState,
    /// The source that decided it.
    pub decided_by: Option<Source>,
    /// How much of its work is pending: a copy, so that counting reads no facts. The highest stands for more, too.
    pending: u16,
}

impl PeerHealth {
    pub(crate) fn new(record: HealthRecord<'_>) -> Self {
        let (state, decided_by) = record.verdicts.state();
        Self {
            facts: Arc::clone(record.facts),
            last_heartbeat: record.last_heartbeat,
            last_disconnect: record.last_disconnect,
            verdicts: record.verdicts,
            state,
            decided_by,
            pending: pending(record.facts),
        }
    }

    /// Makes this what `record` says, of whomever it was before.
    #[inline(always)]
    pub(crate) fn replace(&mut self, record: HealthRecord<'_>) {
        if !Arc::ptr_eq(&self.facts, record.facts) {
            self.facts = Arc::clone(record.facts);
            self.pending = pending(record.facts);
        }
        self.last_heartbeat = record.last_heartbeat;
        self.last_disconnect = record.last_disconnect;
        if self.verdicts != record.verdicts {
            self.verdicts = record.verdicts;
            (self.state, self.decided_by) = record.verdicts.state();
        }
    }

    /// Returns this as a provider would say it.
    #[inline]
    pub(crate) const fn record(&self) -> HealthRecord<'_> {
        HealthRecord {
            facts: &self.facts,
            verdicts: self.verdicts,
            last_heartbeat: self.last_heartbeat,
            last_disconnect: self.last_disconnect,
        }
    }

    fn pending(&self) -> usize {
        if self.pending == u16::MAX { self.facts.pending.len() } else { usize::from(self.pending) }
    }

    /// Returns whether the peer may get work.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.state.is_eligible()
    }

    /// Folds in what another provider says of the same peer.
    pub(crate) fn merge(&mut self, other: &Self) {
        if !Arc::ptr_eq(&self.facts, &other.facts) && !other.facts.is_bare() {
            Arc::make_mut(&mut self.facts).merge(&other.facts);
            self.pending = pending(&self.facts);
        }
        self.last_heartbeat = self.last_heartbeat.max(other.last_heartbeat);
        self.last_disconnect = self.last_disconnect.max(other.last_disconnect);
        self.verdicts = self.verdicts.merged(other.verdicts);
        (self.state, self.decided_by) = self.verdicts.state();
    }

    /// Returns whether readers would see no difference between the two.
    pub(crate) fn shows_as(&self, other: &Self) -> bool {
        self.verdicts == other.verdicts
            && self.last_heartbeat == other.last_heartbeat
            && self.last_disconnect == other.last_disconnect
            && (Arc::ptr_eq(&self.facts, &other.facts) || self.facts == other.facts)
    }
}

fn pending(facts: &PeerFacts) -> u16 {
    u16::try_from(facts.pending.len()).unwrap_or(u16::MAX)
}

/// How many peers are how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Peers held for unknown.
    pub unknown: usize,
    /// Peers held for healthy.
    pub healthy: usize,
    /// Peers held for degraded.
    pub degraded: usize,
    /// Peers held for unhealthy.
    pub unhealthy: usize,
    /// Work that was taken from peers and that nobody has yet.
    pub pending_reassignments: usize,
}

impl Summary {
    pub(crate) fn of_all(peers: &[PeerHealth]) -> Self {
        let mut summary = Self::default();
        for peer in peers {
            *summary.of_mut(peer.state) += 1;
            summary.pending_reassignments += peer.pending();
        }
        summary
    }

    /// Returns how many peers may get work.
    #[must_use]
    pub const fn eligible(&self) -> usize {
        self.unknown + self.healthy + self.degraded
    }

    /// Returns how many peers are in `state`.
    #[must_use]
    pub const fn of(&self, state: HealthState) -> usize {
        match state {
            HealthState::Unknown => self.unknown,
            HealthState::Healthy => self.healthy,
            HealthState::Degraded => self.degraded,
            HealthState::Unhealthy => self.unhealthy,
        }
    }

    const fn of_mut(&mut self, state: HealthState) -> &mut usize {
        match state {
            HealthState::Unknown => &mut self.unknown,
            HealthState::Healthy => &mut self.healthy,
            HealthState::Degraded => &mut self.degraded,
            HealthState::Unhealthy => &mut self.unhealthy,
        }
    }
}

/// The health of all peers. Two of the same version, of one board, show the same.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) version: u64,
    pub(crate) since: Option<Moment>,
    pub(crate) peers: Vec<PeerHealth>,
    pub(crate) summary: Summary,
    /// All of it, once somebody has asked.
    pub(crate) document: OnceLock<Bytes>,
}

impl Snapshot {
    pub(crate) fn new(version: u64, since: Option<Moment>, peers: Vec<PeerHealth>, summary: Summary) -> Self {
        Self { version, since, peers, summary, document: OnceLock::new() }
    }

    /// Returns the version, which counts the changes on this board.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Returns when the board first saw the peers like this; `None` before it has looked.
    #[must_use]
    pub const fn since(&self) -> Option<Moment> {
        self.since
    }

    /// Returns the peers, each once, by ascending id.
    #[must_use]
    pub fn peers(&self) -> &[PeerHealth] {
        &self.peers
    }

    /// Returns the peer of that name, whose case counts.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&PeerHealth> {
        // Not an error: nobody of that name is known.
        let index = self.peers.binary_search_by(|peer| peer.facts.id.as_str().cmp(id)).ok()?;
        self.peers.get(index)
    }

    /// Returns how many peers are how.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }
}
