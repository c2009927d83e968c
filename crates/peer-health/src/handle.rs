//! One peer, held by whoever speaks of it often.

use crate::cell::Cell;
use crate::evidence::{HealthState, Source, Verdict, Verdicts};
use crate::time::{Moment, Tick};
use crate::word::{Lifetimes, Word};

/// How a call to a peer went, as its transport saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer came, whatever it says.
    Reached,
    /// None came, or no connection was made.
    Failed,
}

/// How a tracker judges, copied to where it is needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) lifetimes: Lifetimes,
    pub(crate) transport_failures: u64,
}

impl Rules {
    pub(crate) fn outcome(&self, cell: &Cell, outcome: Outcome, at: Tick) {
        cell.advance(Source::Transport, at, |old| match outcome {
            Outcome::Reached => Word::new(Verdict::Up, at),
            Outcome::Failed => {
                let failures = old.count().saturating_add(1);
                let verdict = if failures >= self.transport_failures { Verdict::Down } else { Verdict::Degraded };
                Word::new(verdict, at).counting(failures)
            }
        });
    }
}

/// Records of one peer without looking it up. Cloning shares the peer; nothing here locks, waits or allocates.
///
/// A handle speaks of the entry it was made for. Once that is forgotten ([`HealthHandle::is_retired`]), what it
/// records goes nowhere: late words of an earlier life.
#[derive(Debug, Clone)]
pub struct HealthHandle {
    cell: Cell,
    rules: Rules,
}

impl HealthHandle {
    pub(crate) const fn new(cell: Cell, rules: Rules) -> Self {
        Self { cell, rules }
    }

    /// Records a heartbeat: plain stores, nothing else. A peer that was disconnected has recovered.
    ///
    /// The last writer wins, also over a newer disconnect: have one writer a peer, or order them. Of two heartbeats
    /// of one peer at the very same time the metrics may count one.
    #[inline]
    pub fn heartbeat(&self, at: Moment) {
        self.cell.heartbeat(at);
    }

    /// Records how a call went. Failures in a row add up to *down*; an answer ends the row.
    pub fn outcome(&self, outcome: Outcome, at: Moment) {
        self.rules.outcome(&self.cell, outcome, at.tick);
    }

    /// Records what `source` says, unless it has said something newer. For [`Source::Lease`] prefer
    /// [`HealthHandle::heartbeat`], which tells the time of it, too.
    pub fn record(&self, source: Source, verdict: Verdict, at: Moment) {
        self.cell.say(source, verdict, at.tick);
    }

    /// Takes back what `source` said.
    pub fn clear(&self, source: Source) {
        self.cell.clear(source);
    }

    /// Returns what each source says at `now`.
    #[must_use]
    pub fn verdicts(&self, now: Moment) -> Verdicts {
        self.cell.verdicts(&self.rules.lifetimes, now.tick)
    }

    /// Returns what the peer is held for at `now`.
    #[must_use]
    pub fn state(&self, now: Moment) -> HealthState {
        self.verdicts(now).state().0
    }

    /// Returns whether the peer may get work at `now`.
    #[must_use]
    pub fn is_eligible(&self, now: Moment) -> bool {
        self.state(now).is_eligible()
    }

    /// Returns whether the tracker has forgotten this entry.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.cell.is_retired()
    }
}
