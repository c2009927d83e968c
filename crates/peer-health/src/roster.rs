//! The tracker as a provider: its peers in order, so that a visit takes no lock but its own.

use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::cell::{Cell, Rest};
use crate::emit;
use crate::lease::PeerFacts;
use crate::provider::{HealthProvider, HealthRecord};
use crate::slab::{Block, Hot};
use crate::time::{Moment, WallTime};
use crate::tracker::Tracker;

/// The peers of a table of some version, ascending.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    table_version: u64,
    rows: Vec<Row>,
}

/// What a visit needs of one peer, in one place. It goes for the rest only when what is cold has changed.
#[derive(Debug)]
struct Row {
    facts: Arc<PeerFacts>,
    block: Arc<Block>,
    index: u32,
    /// Which version of what is cold `facts` is.
    cold_version: u32,
    rest: Arc<Rest>,
}

impl Row {
    fn new(cell: Cell) -> Self {
        let Cell { block, index, rest } = cell;
        let (cold_version, facts) = read(&block, index, &rest);
        Self { facts, block, index, cold_version, rest }
    }

    #[inline]
    fn hot(&self) -> &Hot {
        self.block.hot(self.index)
    }

    fn refresh(&mut self) {
        (self.cold_version, self.facts) = read(&self.block, self.index, &self.rest);
    }
}

fn read(block: &Block, index: u32, rest: &Rest) -> (u32, Arc<PeerFacts>) {
    // The version first: should the facts change in between, they are read once more.
    let version = block.hot(index).cold_version.load(Ordering::Acquire);
    (version, Arc::clone(&rest.cold().facts))
}

impl Roster {
    /// Lets go of who is forgotten, and takes `newcomers` in.
    fn update(&mut self, newcomers: Vec<Cell>) {
        let mut newcomers: Vec<_> = newcomers.into_iter().map(Row::new).collect();
        newcomers.sort_by(|a, b| a.facts.id.cmp(&b.facts.id));
        self.rows.retain(|row| !row.block.is_retired(row.index));
        let mut rows = Vec::with_capacity(self.rows.len() + newcomers.len());
        let mut known = mem::take(&mut self.rows).into_iter();
        for newcomer in newcomers {
            let before = known.as_slice().partition_point(|row| row.facts.id < newcomer.facts.id);
            rows.extend(known.by_ref().take(before));
            rows.push(newcomer);
        }
        rows.extend(known);
        self.rows = rows;
    }
}

impl HealthProvider for Tracker {
    fn id(&self) -> &str {
        "tracker"
    }

    fn visit(&self, now: Moment, visit: &mut dyn FnMut(HealthRecord<'_>)) {
        // A visitor that panics leaves the rows as they are.
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        // First of all: who is forgotten meanwhile is counted late, never twice.
        let mut heartbeats = self.past_heartbeats.load(Ordering::Relaxed);
        if roster.table_version != self.table_version() {
            let (version, newcomers) = self.take_newcomers();
            roster.update(newcomers);
            roster.table_version = version;
        }
        let judge = self.rules.lifetimes.at(now.tick);
        for row in &mut roster.rows {
            if row.cold_version != row.hot().cold_version.load(Ordering::Acquire) {
                row.refresh();
            }
            let hot = row.hot();
            heartbeats += hot.heartbeats.load(Ordering::Relaxed);
            visit(HealthRecord {
                facts: &row.facts,
                verdicts: row.block.verdicts(row.index, &judge),
                last_heartbeat: WallTime::from_steps(hot.heartbeat_steps.load(Ordering::Relaxed)),
                last_disconnect: WallTime::from_steps(hot.disconnect_steps.load(Ordering::Relaxed)),
            });
        }
        emit::heartbeats(heartbeats);
    }
}
