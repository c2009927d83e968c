//! What asking the closed breakers costs a pick.
//!
//! A balancer cannot be had without its breakers. So the two contests rebuild the reading half of a two-random pick
//! from handles: the same peers are drawn and compared, and one of the two asks the breakers of both, and once more
//! that of the chosen, as a pick does before it leases.

use std::hint::black_box;

use peers_core::{BreakerState, Entropy, PeerHandle, PeerTable, PeerUpdate, TableOptions, Tick};

use crate::contest::{Claim, Contest, Turn};
use crate::made_up::peer;

const NO_GATE: &str = "two compared, no gate";
const OVER_NS_MAX: f64 = 2.0;

pub(crate) struct Gate {
    /// Dropped, it would take its peers out of work.
    _table: PeerTable,
    handles: Vec<PeerHandle>,
}

impl Gate {
    pub(crate) fn new(peers: usize) -> Self {
        let table = PeerTable::new(TableOptions::default());
        table.apply(Tick::ZERO, PeerUpdate::Reset((0..peers).map(peer).collect()));
        let handles = table.peers().iter().filter_map(|peer| table.handle(&peer.id)).collect();
        Self { _table: table, handles }
    }

    pub(crate) fn contests(&self) -> [Contest<'_>; 2] {
        [
            Contest::new(NO_GATE, |turn| compare(&self.handles, turn, |_| true)),
            Contest::new("two compared, closed gate", |turn| {
                compare(&self.handles, turn, |peer| peer.breaker() == BreakerState::Closed);
            })
            .claim(Claim::Over(NO_GATE, OVER_NS_MAX)),
        ]
    }
}

#[inline]
fn compare(handles: &[PeerHandle], turn: Turn, takes_calls: impl Fn(&PeerHandle) -> bool) {
    let mut entropy = Entropy::seeded(turn.seed);
    for _ in 0..turn.operations {
        let Some((first, second)) = entropy.two_below(handles.len()) else { return };
        let pending = |index: usize| handles.get(index).filter(|peer| takes_calls(peer)).map(|p| (p.pending(), p));
        let chosen = match (pending(first), pending(second)) {
            (Some(a), Some(b)) if b.0 < a.0 => Some(b.1),
            (Some(a), _) => Some(a.1),
            (None, other) => other.map(|other| other.1),
        };
        black_box(chosen.filter(|peer| takes_calls(peer)));
    }
}
