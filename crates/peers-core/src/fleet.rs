//! The tables of one process, and what one of them learns for all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mesh_types::NodeId;

use crate::shared::Shared;
use crate::{BreakerState, Outcome, OutcomeObserver, PeerHandle, PeerTable, Published, Sink, TableOptions, Tick};

/// The tables of one process: one for each service that it calls, say, on whichever plane. Cloning is a reference count.
///
/// A peer has a breaker in each table, for it may serve one service well and another badly. That it is not reached
/// ([`Outcome::Unreachable`]) holds for all: as many such calls through one table as open a breaker open that of each other
/// table, as far as its rails allow. From then on each tries for itself.
///
/// A pick reads nothing of it, and neither does the report of a call that went well, unless one before it has not. All its
/// tables are told the time by one clock.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    /// As many as there are, and what is left of those that are gone until the next is made. No call waits to read it.
    tables: Published<Vec<Weak<PeerTable>>>,
    /// Whoever makes a table has it.
    making: Mutex<()>,
    observer: Option<Arc<dyn OutcomeObserver>>,
}

/// What the calls to one peer have come to, in all tables of a fleet that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// Calls under way.
    pub inflight: u64,
    /// Calls that did well, those included that were answered with an error which is not the peer's fault.
    pub successes: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Those of them that did not reach it.
    pub unreachable: u64,
    /// Calls that it had no room for.
    pub overloads: u64,
    /// Calls that nobody waited for.
    pub cancelled: u64,
    /// What the next call is expected to take; the longest of all tables.
    pub latency: Duration,
    /// What its breakers were last moved to: the worst of all tables.
    pub breaker: BreakerState,
}

impl Fleet {
    /// Makes a fleet without tables. `observer` is told of each call that did not reach its peer, and of the first afterwards,
    /// in the same table, that did; it hears of no other, so that calls that go well cost nothing.
    #[must_use]
    pub fn watched(observer: Arc<dyn OutcomeObserver>) -> Self {
        Self::of(Some(observer))
    }

    fn of(observer: Option<Arc<dyn OutcomeObserver>>) -> Self {
        Self { inner: Arc::new(Inner { tables: Published::new(Vec::new()), making: Mutex::default(), observer }) }
    }

    /// Makes an empty table that belongs to it for as long as somebody holds it.
    #[must_use]
    pub fn table(&self, options: TableOptions) -> Arc<PeerTable> {
        let table = Arc::new(PeerTable::of_fleet(options, Some(self.clone())));
        let _making = self.inner.making.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.inner.tables.load();
        let left = known.iter().filter(|known| known.strong_count() > 0).cloned();
        self.inner.tables.publish(left.chain([Arc::downgrade(&table)]).collect());
        table
    }

    /// Returns its tables.
    #[must_use]
    pub fn tables(&self) -> Vec<Arc<PeerTable>> {
        self.inner.tables.load().iter().filter_map(Weak::upgrade).collect()
    }

    /// Hands every metric of its tables and their balancers to `sink`, as they are at `now`; see [`PeerTable::visit`]. Of two tables
    /// of the same service and transport it tells one after the other. Beyond `series_max` peers of tables, the others of each table
    /// are summed up.
    pub fn visit(&self, now: Tick, series_max: usize, sink: &mut dyn Sink) {
        let mut left = series_max;
        for table in self.tables() {
            left -= table.visit_up_to(left.min(table.shared().options.series_max), now, sink);
            table.visit_balancers(sink);
        }
    }

    /// Returns what has come of the calls to each peer, as of `now`.
    #[must_use]
    pub fn calls(&self, now: Tick) -> BTreeMap<NodeId, Calls> {
        let mut calls = BTreeMap::new();
        self.tables().iter().for_each(|table| table.add_calls(now, &mut calls));
        calls
    }

    /// Calls `visit` for each peer of each table whose breaker is not closed.
    pub fn visit_out(&self, visit: &mut dyn FnMut(PeerHandle)) {
        self.tables().iter().for_each(|table| table.visit_out(visit));
    }

    /// Tells whoever watches that a call to `peer` ended with `outcome`.
    pub(crate) fn tell(&self, peer: &NodeId, now: Tick, took: Duration, outcome: Outcome) {
        if let Some(observer) = &self.inner.observer {
            observer.observe(peer, now, took, outcome);
        }
    }

    /// Has all tables but that of `finder` keep calls away from `peer` for now.
    pub(crate) fn lose(&self, peer: &NodeId, now: Tick, finder: &Arc<Shared>) {
        let tables = self.tables();
        for table in tables.iter().filter(|table| !Arc::ptr_eq(table.shared(), finder)) {
            if let Some(handle) = table.handle(peer) {
                handle.lose(now);
            }
        }
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self::of(None)
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("tables", &self.tables().len()).finish_non_exhaustive()
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            inflight: 0,
            successes: 0,
            failures: 0,
            unreachable: 0,
            overloads: 0,
            cancelled: 0,
            latency: Duration::ZERO,
            breaker: BreakerState::Closed,
        }
    }
}

impl Calls {
    pub(crate) fn add(&mut self, other: &Self) {
        self.inflight += other.inflight;
        self.successes += other.successes;
        self.failures += other.failures;
        self.unreachable += other.unreachable;
        self.overloads += other.overloads;
        self.cancelled += other.cancelled;
        self.latency = self.latency.max(other.latency);
        if other.breaker.badness() > self.breaker.badness() {
            self.breaker = other.breaker;
        }
    }
}
