//! The table of peers, and what may be recorded of them.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use foldhash::fast::FixedState;
use indexmap::IndexMap;
use mesh_types::NodeId;

use crate::cell::Cell;
use crate::emit;
use crate::evidence::{Source, Verdict};
use crate::handle::{HealthHandle, Outcome, Rules};
use crate::lease::{Lease, Release};
use crate::metadata::{Metadata, keys, same_key};
use crate::options::{Options, TrackError};
use crate::roster::Roster;
use crate::slab::Slab;
use crate::time::{Moment, Tick};
use crate::word::Lifetimes;

/// Who is tracked.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Found by id in one step. A fixed hash: the same records make the same table.
    pub(crate) peers: IndexMap<NodeId, Cell, FixedState>,
    /// Where their words are.
    slab: Slab,
    /// Those of them that the roster does not have yet.
    newcomers: Vec<Cell>,
}

/// Tracks the health and the leases of peers. One a process; it is a [`HealthProvider`](crate::HealthProvider).
///
/// Any thread may record at any time. Who records often asks for a [`HealthHandle`] once.
#[derive(Debug)]
pub struct Tracker {
    pub(crate) options: Options,
    pub(crate) rules: Rules,
    table: RwLock<Table>,
    /// Counts the times that peers came and went.
    table_version: AtomicU64,
    /// Who gave up which work, by sequence id, until it is assigned again.
    pending: Mutex<BTreeMap<u64, Cell>>,
    pub(crate) roster: Mutex<Roster>,
    /// What was last written beside a peer, while somebody has it.
    last_written: Mutex<Weak<Metadata>>,
    /// Heartbeats of peers that are forgotten.
    pub(crate) past_heartbeats: AtomicU64,
}

impl Tracker {
    /// Makes a tracker that knows nobody.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let rules = Rules {
            lifetimes: Lifetimes::new(&options.freshness),
            transport_failures: u64::from(options.transport_failures),
        };
        Self {
            options,
            rules,
            table: RwLock::default(),
            table_version: AtomicU64::new(1),
            pending: Mutex::default(),
            roster: Mutex::default(),
            last_written: Mutex::default(),
            past_heartbeats: AtomicU64::new(0),
        }
    }

    /// Returns how the tracker judges, and its bounds.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Returns a handle of `peer`, which is known from now on.
    ///
    /// # Errors
    /// The peer is new and the tracker is full; so is the one error of every record by id that names no other.
    pub fn handle(&self, peer: &NodeId, now: Moment) -> Result<HealthHandle, TrackError> {
        self.with(peer, now, |cell| HealthHandle::new(cell.clone(), self.rules))
    }

    /// Returns a handle of `peer` if it is known.
    #[must_use]
    pub fn get(&self, peer: &NodeId) -> Option<HealthHandle> {
        self.find(peer).map(|cell| HealthHandle::new(cell, self.rules))
    }

    /// Returns how many peers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().peers.len()
    }

    /// Returns whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read().peers.is_empty()
    }

    /// Returns whether `peer` may get work at `now`: it is unknown, or nothing that counts says it is down. By
    /// leases alone that is: not disconnected, and never heard of or heard of within the grace period.
    #[must_use]
    pub fn is_eligible(&self, peer: &NodeId, now: Moment) -> bool {
        self.get(peer).is_none_or(|handle| handle.is_eligible(now))
    }

    /// Records a heartbeat, as [`HealthHandle::heartbeat`] does.
    ///
    /// # Errors
    /// As [`Tracker::handle`].
    pub fn record_heartbeat(&self, peer: &NodeId, at: Moment) -> Result<(), TrackError> {
        self.with(peer, at, |cell| cell.heartbeat(at))
    }

    /// Records how a call to `peer` went, as [`HealthHandle::outcome`] does.
    ///
    /// # Errors
    /// As [`Tracker::handle`].
    pub fn record_outcome(&self, peer: &NodeId, outcome: Outcome, at: Moment) -> Result<(), TrackError> {
        self.with(peer, at, |cell| self.rules.outcome(cell, outcome, at.tick))
    }

    /// Records how a call to `peer` went, if it is known.
    pub(crate) fn record_known_outcome(&self, peer: &NodeId, outcome: Outcome, at: Tick) {
        if let Some(cell) = self.read().peers.get(peer) {
            self.rules.outcome(cell, outcome, at);
        }
    }

    /// Records what `source` says of `peer`, as [`HealthHandle::record`] does.
    ///
    /// # Errors
    /// As [`Tracker::handle`].
    pub fn record(&self, peer: &NodeId, source: Source, verdict: Verdict, at: Moment) -> Result<(), TrackError> {
        self.with(peer, at, |cell| cell.say(source, verdict, at.tick))
    }

    /// Takes back what `source` said of `peer`, such as an operator's override.
    pub fn clear(&self, peer: &NodeId, source: Source) {
        if let Some(cell) = self.find(peer) {
            cell.clear(source);
        }
    }

    /// Records that `peer` holds `lease`. The work is no longer a pending reassignment of anybody; the same lease
    /// again changes nothing. It is no sign of life: a disconnected peer stays so until its next heartbeat.
    ///
    /// # Errors
    /// The peer has too many leases, or as [`Tracker::handle`].
    pub fn record_assignment(&self, peer: &NodeId, lease: Lease, at: Moment) -> Result<(), TrackError> {
        self.with(peer, at, |cell| self.assign(peer, cell, lease))?
    }

    fn assign(&self, peer: &NodeId, cell: &Cell, lease: Lease) -> Result<(), TrackError> {
        let limit = self.options.max_leases_per_peer;
        // What is pending is locked before a peer, here and everywhere.
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cold = cell.cold();
        if let Err(place) = cold.facts.leases.binary_search(&lease) {
            if cold.facts.leases.len() >= limit {
                return Err(TrackError::TooManyLeases { peer: peer.clone(), limit });
            }
            cell.edit(&mut cold, |facts| facts.leases.insert(place, lease));
            emit::assignment();
        }
        drop(cold);
        if let Some(earlier) = pending.remove(&lease.sequence_id) {
            unwait(&earlier, lease.sequence_id);
        }
        Ok(())
    }

    /// Records that `peer` gave `lease` back, and returns whether it held it. What it did not hold is ignored.
    ///
    /// # Errors
    /// The lease is requeued, and as much of the peer's work waits for reassignment as may: it holds the lease still.
    pub fn record_release(&self, peer: &NodeId, lease: Lease, release: Release) -> Result<bool, TrackError> {
        let table = self.read();
        let Some(cell) = table.peers.get(peer) else { return Ok(false) };
        let limit = self.options.max_leases_per_peer;
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cold = cell.cold();
        let Ok(place) = cold.facts.leases.binary_search(&lease) else { return Ok(false) };
        let waits = release == Release::Requeued;
        let slot = cold.facts.pending.binary_search(&lease.sequence_id);
        if waits && slot.is_err() && cold.facts.pending.len() >= limit {
            return Err(TrackError::TooManyLeases { peer: peer.clone(), limit });
        }
        cell.edit(&mut cold, |facts| {
            facts.leases.remove(place);
            if let (true, Err(slot)) = (waits, slot) {
                facts.pending.insert(slot, lease.sequence_id);
            }
        });
        drop(cold);
        let earlier = if waits { pending.insert(lease.sequence_id, cell.clone()) } else { None };
        if let Some(earlier) = earlier.filter(|earlier| !earlier.is(cell)) {
            unwait(&earlier, lease.sequence_id);
        }
        Ok(true)
    }

    /// Records that the connection to `peer` is gone: it gets no work until its next heartbeat, or until gossip
    /// tells of a newer life. Its leases stay until they are released. If it has been heard of since, nothing follows.
    ///
    /// # Errors
    /// The reason is too long or has no room, or as [`Tracker::handle`].
    pub fn record_disconnect(&self, peer: &NodeId, reason: Option<&str>, at: Moment) -> Result<(), TrackError> {
        self.with(peer, at, |cell| {
            // Whatever becomes of the reason, the peer is gone.
            cell.disconnect(at);
            emit::disconnect();
            match reason {
                Some(reason) => self.write(peer, cell, |_key| true, &[(keys::DISCONNECT_REASON, reason)]),
                // That of an earlier time is none of this one.
                None => self.write(peer, cell, |key| !same_key(key, keys::DISCONNECT_REASON), &[]),
            }
        })?
    }

    /// Sets metadata of `peer`, and leaves its other entries as they are.
    ///
    /// # Errors
    /// An entry is too long or has no room, and none is set; or as [`Tracker::handle`].
    pub fn set_metadata(&self, peer: &NodeId, entries: &[(&str, &str)], at: Moment) -> Result<(), TrackError> {
        self.with(peer, at, |cell| self.write(peer, cell, |_key| true, entries))?
    }

    /// Removes the metadata of `peer` whose key is `key`, in whatever case, and returns whether it was there.
    pub fn remove_metadata(&self, peer: &NodeId, key: &str) -> bool {
        let table = self.read();
        let Some(cell) = table.peers.get(peer) else { return false };
        let mut cold = cell.cold();
        if cold.facts.metadata.get(key).is_none() {
            return false;
        }
        cell.edit(&mut cold, |facts| Arc::make_mut(&mut facts.metadata).retain(|known| !same_key(known, key)))
    }

    /// Replaces the entries that `keep` refuses by `entries`, all or nothing.
    pub(crate) fn write(
        &self,
        peer: &NodeId,
        cell: &Cell,
        keep: impl Fn(&str) -> bool,
        entries: &[(&str, &str)],
    ) -> Result<(), TrackError> {
        let limit = self.options.max_metadata_entries;
        let mut cold = cell.cold();
        let mut metadata = Metadata::clone(&cold.facts.metadata);
        let mut changed = metadata.retain(keep);
        for (key, value) in entries {
            check_entry(peer, key, value)?;
            changed |= metadata.set(key, value);
            if metadata.len() > limit {
                return Err(TrackError::TooManyMetadata { peer: peer.clone(), key: (*key).to_owned(), limit });
            }
        }
        if changed {
            let metadata = self.once(metadata);
            cell.edit(&mut cold, |facts| facts.metadata = metadata);
        }
        Ok(())
    }

    /// Returns `metadata` to share. Of nodes of one kind the same is written: most are equal to what was written last.
    fn once(&self, mut metadata: Metadata) -> Arc<Metadata> {
        // A panic elsewhere leaves what was written last.
        let mut last = self.last_written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = last.upgrade().filter(|known| **known == metadata) {
            return same;
        }
        metadata.settle();
        let new = Arc::new(metadata);
        *last = Arc::downgrade(&new);
        new
    }

    fn find(&self, peer: &NodeId) -> Option<Cell> {
        self.read().peers.get(peer).cloned()
    }

    /// Calls `record` with the entry of `peer`, which comes to be if it is new and stays while `record` runs.
    pub(crate) fn with<R>(&self, peer: &NodeId, now: Moment, record: impl FnOnce(&Cell) -> R) -> Result<R, TrackError> {
        loop {
            if let Some(cell) = self.read().peers.get(peer) {
                return Ok(record(cell));
            }
            self.admit(peer, now)?;
        }
    }

    fn admit(&self, peer: &NodeId, now: Moment) -> Result<(), TrackError> {
        let mut table = self.change();
        let limit = self.options.max_peers;
        if table.peers.contains_key(peer) {
            return Ok(());
        }
        if table.peers.len() >= limit {
            return Err(TrackError::TooManyPeers { peer: peer.clone(), limit });
        }
        let cell = Cell::new(peer.clone(), table.slab.seat(), now.tick);
        table.peers.insert(peer.clone(), cell.clone());
        table.newcomers.push(cell);
        self.table_version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the table to change it. Who does bumps the version before letting go.
    fn change(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn table_version(&self) -> u64 {
        self.table_version.load(Ordering::Acquire)
    }

    /// Returns the version of the table, and who came since somebody last asked.
    pub(crate) fn take_newcomers(&self) -> (u64, Vec<Cell>) {
        let mut table = self.change();
        (self.table_version(), mem::take(&mut table.newcomers))
    }

    /// Forgets every peer that is gone, as of `now`, and returns how many those were. Call it every few seconds.
    ///
    /// Gone is who has no lease, no pending work and no operator's override, is held for unhealthy or unknown, and
    /// has not been spoken of for [`Options::tombstone_ttl`].
    pub fn collect(&self, now: Moment) -> usize {
        let ttl = u64::try_from(self.options.tombstone_ttl.as_millis()).unwrap_or(u64::MAX);
        let mut table = self.change();
        let before = table.peers.len();
        table.peers.retain(|_peer, cell| {
            let stays = now.tick.millis_since(cell.newest_tick()) <= ttl || self.is_needed(cell, now);
            if !stays {
                cell.retire();
                self.past_heartbeats.fetch_add(cell.heartbeats(), Ordering::Relaxed);
            }
            stays
        });
        let collected = before - table.peers.len();
        if collected > 0 {
            table.newcomers.retain(|cell| !cell.is_retired());
            self.table_version.fetch_add(1, Ordering::Release);
            emit::collected(collected);
        }
        collected
    }

    fn is_needed(&self, cell: &Cell, now: Moment) -> bool {
        let verdicts = cell.verdicts(&self.rules.lifetimes, now.tick);
        let is_up = verdicts.state().0 > crate::HealthState::Unknown && verdicts.state().0.is_eligible();
        let facts = &cell.cold().facts;
        is_up || verdicts.of(Source::Admin).is_some() || !facts.leases.is_empty() || !facts.pending.is_empty()
    }
}

fn unwait(cell: &Cell, sequence_id: u64) {
    let mut cold = cell.cold();
    if let Ok(place) = cold.facts.pending.binary_search(&sequence_id) {
        cell.edit(&mut cold, |facts| facts.pending.remove(place));
    }
}

fn check_entry(peer: &NodeId, key: &str, value: &str) -> Result<(), TrackError> {
    if key.is_empty() || key.len() > Metadata::MAX_KEY_BYTES {
        return Err(TrackError::MetadataKey { peer: peer.clone(), bytes: key.len() });
    }
    if value.len() > Metadata::MAX_VALUE_BYTES {
        return Err(TrackError::MetadataValue { peer: peer.clone(), key: key.to_owned(), bytes: value.len() });
    }
    Ok(())
}
