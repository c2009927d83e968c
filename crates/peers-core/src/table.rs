//! The peers that can be called, and what is known about each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mesh_types::{BootEpoch, MetadataVersion, NodeId};

use crate::balancer::Picker;
use crate::candidates::{Candidate, Candidates};
use crate::cell::{Http3Learned, PeerCell};
use crate::lease::PeerKey;
use crate::plan::Roster;
use crate::published::{Keeper, Published};
use crate::shared::Shared;
use crate::sync::Ordering;
use crate::{
    Balancer, BreakerState, Chooser, Filters, Fleet, Lifecycle, Outcome, OutcomeObserver, Peer, PeerHandle, PeerUpdate,
    Sink, TableOptions, Tick,
};

/// Most removed peers whose version is remembered, so that old news does not bring them back.
const DEPARTED_MAX: usize = 4_096;

/// The peers of one service.
///
/// Writers take turns; whoever picks reads a snapshot and is never held up. A peer keeps its cell (counters, breaker,
/// latency estimate, pending leases) however often its descriptor changes, until it is removed.
pub struct PeerTable {
    writer: Mutex<Writer>,
    roster: Published<Roster>,
    shared: Arc<Shared>,
}

/// What an update has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Version of the table after it.
    pub version: u64,
    /// Peers that were not there.
    pub added: usize,
    /// Peers that are described otherwise.
    pub changed: usize,
    /// Peers that are no longer there.
    pub removed: usize,
    /// Descriptors older than what is known, which changed nothing.
    pub stale: usize,
}

/// A balancer's side of a change.
pub(crate) trait Replan: Send + Sync {
    fn replan(&self, roster: &Roster);

    /// Returns the name of its chooser.
    fn chooser(&self) -> &'static str;

    /// Hands the metrics of its picks to `sink`.
    fn visit(&self, sink: &mut dyn Sink);
}

#[derive(Default)]
struct Writer {
    peers: BTreeMap<NodeId, Entry>,
    departed: Departed,
    plans: Vec<Weak<dyn Replan>>,
    keys: u64,
    version: u64,
}

struct Entry {
    keeper: Keeper<PeerCell>,
    peer: Arc<Peer>,
}

impl PeerTable {
    /// Makes an empty table.
    #[must_use]
    pub fn new(options: TableOptions) -> Self {
        Self::of_fleet(options, None)
    }

    pub(crate) fn of_fleet(options: TableOptions, fleet: Option<Fleet>) -> Self {
        Self {
            writer: Mutex::new(Writer::default()),
            roster: Published::new(Roster { version: 0, candidates: Candidates::none() }),
            shared: Arc::new(Shared::new(options, fleet)),
        }
    }

    /// Applies one step of a peer list at `now`; see [`PeerTable::apply_all`].
    pub fn apply(&self, now: Tick, update: PeerUpdate) -> Applied {
        self.apply_all(now, [update])
    }

    /// Applies steps of a peer list and then publishes once; publishes nothing if nothing has changed.
    ///
    /// A descriptor counts if its generation and then its metadata version are not older than what is known of the
    /// peer, a removed one included; the same one twice changes nothing. A later generation is another process: the peer
    /// keeps its counters and its pending leases, and nothing is held against it.
    pub fn apply_all(&self, now: Tick, updates: impl IntoIterator<Item = PeerUpdate>) -> Applied {
        let mut writer = self.lock();
        let mut applied = Applied::default();
        for update in updates {
            match update {
                PeerUpdate::Reset(peers) => {
                    let stay: BTreeSet<&NodeId> = peers.iter().map(|peer| &peer.id).collect();
                    let gone: Vec<NodeId> = writer.peers.keys().filter(|id| !stay.contains(id)).cloned().collect();
                    applied.removed += gone.iter().filter(|id| writer.remove(id)).count();
                    for peer in peers {
                        writer.upsert(now, peer, &self.shared, &mut applied);
                    }
                }
                PeerUpdate::Upsert(peer) => writer.upsert(now, peer, &self.shared, &mut applied),
                PeerUpdate::Remove(id) => applied.removed += usize::from(writer.remove(&id)),
            }
        }
        if applied.added + applied.changed + applied.removed > 0 {
            self.publish(&mut writer);
        }
        Applied { version: writer.version, ..applied }
    }

    /// Returns how often the peers have changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.roster.read(|roster| roster.version)
    }

    /// Returns the peers by ascending id, those that take no work included.
    #[must_use]
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        self.roster.read(|roster| roster.candidates.iter().map(|candidate| Arc::clone(candidate.peer)).collect())
    }

    /// Returns a handle to the peer `id`, if it is there.
    #[must_use]
    pub fn handle(&self, id: &NodeId) -> Option<PeerHandle> {
        self.roster.read(|roster| roster.get(id).map(|candidate| PeerHandle::new(candidate.cell.clone())))
    }

    /// Returns a balancer that picks among the peers which `filters` let through, by `chooser`. It sees every change of
    /// the table from then on, and has no peers once the table is dropped.
    #[must_use]
    pub fn balancer<C: Chooser>(&self, filters: Filters, chooser: C) -> Balancer<C> {
        let mut writer = self.lock();
        let picker = self.roster.read(|roster| Arc::new(Picker::new(roster, filters, chooser, &self.shared)));
        let plan: Weak<Picker<C>> = Arc::downgrade(&picker);
        writer.plans.push(plan);
        Balancer::new(picker)
    }

    /// Tells what calls have shown about HTTP/3 to the peer `id`, and lets the balancers that prefer HTTP/3 regroup.
    pub fn learn_http3(&self, id: &NodeId, learned: Http3Learned) {
        let mut writer = self.lock();
        if let Some(entry) = writer.peers.get(id) {
            entry.keeper.kept().learn_http3(learned);
            self.publish(&mut writer);
        }
    }

    /// Calls `visit` for each peer whose breaker is not closed.
    pub(crate) fn visit_out(&self, visit: &mut dyn FnMut(PeerHandle)) {
        if self.shared.census.out() == 0 {
            return;
        }
        // Outside of the snapshot: who knows how long `visit` takes.
        let out: Vec<_> = self.roster.read(|roster| {
            let out = roster.candidates.iter().filter(|c| c.cell.breaker.state() != BreakerState::Closed);
            out.map(|candidate| PeerHandle::new(candidate.cell.clone())).collect()
        });
        out.into_iter().for_each(visit);
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the name of the chooser by which the table's peers are picked: `none` without a balancer, `several` when
    /// balancers differ.
    pub(crate) fn chooser(&self) -> &'static str {
        let writer = self.lock();
        let mut names = writer.plans.iter().filter_map(|plan| plan.upgrade().map(|plan| plan.chooser()));
        let first = names.next().unwrap_or("none");
        if names.all(|name| name == first) { first } else { "several" }
    }

    /// Hands the metrics of its balancers' picks to `sink`.
    pub(crate) fn visit_balancers(&self, sink: &mut dyn Sink) {
        let plans: Vec<_> = self.lock().plans.iter().filter_map(Weak::upgrade).collect();
        plans.iter().for_each(|plan| plan.visit(sink));
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&Roster) -> R) -> R {
        self.roster.read(read)
    }

    fn publish(&self, writer: &mut Writer) {
        writer.version += 1;
        let peers = writer.peers.values().map(|entry| Candidate { cell: entry.keeper.kept(), peer: &entry.peer });
        let roster = Roster { version: writer.version, candidates: Candidates::of(peers) };
        self.shared.census.set_total(roster.working());
        self.shared.publishes.fetch_add(1, Ordering::Relaxed);
        writer.plans.retain(|plan| {
            plan.upgrade().is_some_and(|plan| {
                plan.replan(&roster);
                true
            })
        });
        self.roster.publish(roster);
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        // A writer that panicked left peers that are each whole; the next publish shows them.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerTable {
    /// Leaves its balancers without peers.
    fn drop(&mut self) {
        let mut writer = self.lock();
        writer.peers.clear();
        self.publish(&mut writer);
    }
}

impl Default for PeerTable {
    fn default() -> Self {
        Self::new(TableOptions::default())
    }
}

impl OutcomeObserver for PeerTable {
    fn observe(&self, peer: &NodeId, now: Tick, took: Duration, outcome: Outcome) {
        if let Some(handle) = self.handle(peer) {
            handle.observe(now, took, outcome);
        }
    }
}

impl fmt::Debug for PeerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.roster.read(|roster| roster.candidates.len());
        f.debug_struct("PeerTable").field("version", &self.version()).field("peers", &count).finish_non_exhaustive()
    }
}

impl Writer {
    fn upsert(&mut self, now: Tick, peer: Peer, shared: &Arc<Shared>, applied: &mut Applied) {
        let version = (peer.generation, peer.metadata_version);
        if let Some(entry) = self.peers.get_mut(&peer.id) {
            let known = (entry.peer.generation, entry.peer.metadata_version);
            if version < known {
                applied.stale += 1;
            } else if *entry.peer != peer {
                applied.changed += 1;
                entry.describe(now, peer);
            }
            return;
        }
        if self.departed.knows_later(&peer.id, version) {
            applied.stale += 1;
            return;
        }
        applied.added += 1;
        self.keys += 1;
        let cell = PeerCell::new(PeerKey(self.keys), peer.clone(), Arc::clone(shared));
        if peer.lifecycle == Lifecycle::Joining {
            cell.start_slowly(now);
        }
        self.peers.insert(peer.id.clone(), Entry { keeper: Keeper::new(cell), peer: Arc::new(peer) });
    }

    /// Returns whether there was anybody to remove.
    fn remove(&mut self, id: &NodeId) -> bool {
        let Some(entry) = self.peers.remove(id) else { return false };
        self.departed.add(id, (entry.peer.generation, entry.peer.metadata_version));
        entry.keeper.kept().retire();
        true
    }
}

impl Entry {
    fn describe(&mut self, now: Tick, peer: Peer) {
        let cell = self.keeper.kept();
        if peer.generation > self.peer.generation {
            cell.restarted(now);
        }
        if peer.lifecycle == Lifecycle::Joining && self.peer.lifecycle != Lifecycle::Joining {
            cell.start_slowly(now);
        }
        cell.descriptor.publish(peer.clone());
        self.peer = Arc::new(peer);
    }
}

type Version = (BootEpoch, MetadataVersion);

/// Versions of removed peers, the longest gone forgotten first.
#[derive(Default)]
struct Departed {
    versions: BTreeMap<NodeId, Version>,
    order: VecDeque<NodeId>,
}

impl Departed {
    fn add(&mut self, id: &NodeId, version: Version) {
        if self.versions.insert(id.clone(), version).is_none() {
            self.order.push_back(id.clone());
        }
        if self.order.len() > DEPARTED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }

    /// Returns whether the peer left with a later version than this.
    fn knows_later(&self, id: &NodeId, version: Version) -> bool {
        self.versions.get(id).is_some_and(|left_with| version < *left_with)
    }
}
