//! What a change of one peer costs its writer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peers_core::{Balancer, Filters, Peer, PeerTable, PeerUpdate, TableOptions, Tick, TwoRandom};

use crate::contest::{Claim, Contest, Turn};
use crate::made_up::peer;

/// How many peers the limit is about.
pub(crate) const PEERS: usize = 1_000;
/// Giving back what was replaced is part of it: a third of the time.
const AT_MOST: Duration = Duration::from_micros(30);

/// A table with one balancer, and two descriptions of one of its peers.
pub(crate) struct Publish {
    table: PeerTable,
    _balancer: Balancer<TwoRandom>,
    described: [Peer; 2],
    changes: AtomicUsize,
}

impl Publish {
    pub(crate) fn new(peers: usize) -> Self {
        let table = PeerTable::new(TableOptions::default());
        table.apply(Tick::ZERO, PeerUpdate::Reset((0..peers).map(peer).collect()));
        let balancer = table.balancer(Filters::none(), TwoRandom::default());
        let usual = peer(peers / 2);
        let light = Peer { weight: Peer::DEFAULT_WEIGHT / 2, ..usual.clone() };
        Self { table, _balancer: balancer, described: [light, usual], changes: AtomicUsize::new(0) }
    }

    pub(crate) fn contest(&self) -> Contest<'_> {
        let name = "one change published";
        Contest::new(name, |turn| self.change(turn)).claim(Claim::AtMost(AT_MOST))
    }

    /// Changes the same peer to and fro.
    fn change(&self, turn: Turn) {
        let before = self.table.version();
        for _ in 0..turn.operations {
            let [light, usual] = &self.described;
            let is_even = self.changes.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            let peer = if is_even { light } else { usual };
            self.table.apply(Tick::from_nanos(turn.start_ns), PeerUpdate::Upsert(peer.clone()));
        }
        assert_eq!(self.table.version() - before, turn.operations, "every change is published");
    }
}
