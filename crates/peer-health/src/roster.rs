//! The tracker as a provider: its peers side by side, so that a visit touches no lock but its own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::cell::Cell;
use crate::emit;
use crate::lease::PeerFacts;
use crate::provider::{HealthProvider, HealthRecord};
use crate::time::Moment;
use crate::tracker::Tracker;

/// The peers of a table of some version, ascending.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    table_version: u64,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cell: Arc<Cell>,
    /// Which version of what is cold `facts` is.
    cold_version: u64,
    facts: Arc<PeerFacts>,
}

impl Row {
    fn new(cell: &Arc<Cell>) -> Self {
        // The version first: should the facts change in between, they are read once more.
        let cold_version = cell.cold_version();
        let facts = Arc::clone(&cell.cold().facts);
        Self { cell: Arc::clone(cell), cold_version, facts }
    }
}

impl HealthProvider for Tracker {
    fn id(&self) -> &str {
        "tracker"
    }

    fn visit(&self, now: Moment, visit: &mut dyn FnMut(HealthRecord<'_>)) {
        // A visitor that panics leaves the rows as they are.
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let table_version = self.table_version();
        if roster.table_version != table_version {
            roster.rows = self.read().values().map(Row::new).collect();
            roster.table_version = table_version;
        }
        let mut heartbeats = self.past_heartbeats.load(Ordering::Relaxed);
        for row in &mut roster.rows {
            let cell = &row.cell;
            if row.cold_version != cell.cold_version() {
                *row = Row::new(&Arc::clone(cell));
            }
            heartbeats += row.cell.heartbeats();
            visit(HealthRecord {
                facts: &row.facts,
                verdicts: row.cell.verdicts(&self.rules.lifetimes, now.tick),
                last_heartbeat: row.cell.last_heartbeat(),
                last_disconnect: row.cell.last_disconnect(),
            });
        }
        emit::heartbeats(heartbeats);
    }
}
