//! What all providers know, merged by peer.

use std::fmt;
use std::iter::Peekable;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::{Instant, SystemTime};

use crate::emit;
use crate::events::{EventKind, Events, Ring};
use crate::provider::{HealthProvider, HealthRecord};
use crate::snapshot::{PeerHealth, Snapshot, Summary};
use crate::time::{Moment, Timeline};
use crate::watch::Watch;

/// Age at which a snapshot is looked at again, in milliseconds.
const MAX_AGE_MS: u64 = 100;

/// Most records that providers may give for one snapshot; what comes after is left out and counted.
const MAX_RECORDS: usize = 65_536;

/// Shows the health of all peers that its providers know. Cheap to ask: readers share what the first one made.
pub struct HealthBoard {
    timeline: Timeline,
    providers: Vec<Arc<dyn HealthProvider>>,
    newest: RwLock<Arc<Snapshot>>,
    /// One more than the tick of the last look, 0 before the first.
    looked: AtomicU64,
    /// Held while looking.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watch: Watch,
    events: Ring,
    /// The snapshot before the newest. Once no reader holds it, the next one is written over it: most of its peers
    /// are still who they were, and 10,000 of them cost more to allocate than to look at.
    spare: Option<Arc<Snapshot>>,
}

impl fmt::Debug for HealthBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let providers: Vec<_> = self.providers.iter().map(|provider| provider.id()).collect();
        f.debug_struct("HealthBoard").field("providers", &providers).finish_non_exhaustive()
    }
}

impl HealthBoard {
    /// Makes a board of `providers`, whose moments come from `timeline`. Where two know the same peer, metadata of
    /// the earlier one wins; for all else their order does not matter.
    #[must_use]
    pub fn new(timeline: Timeline, providers: Vec<Arc<dyn HealthProvider>>) -> Self {
        Self {
            timeline,
            providers,
            newest: RwLock::new(Arc::new(Snapshot::new(0, None, Vec::new(), Summary::default()))),
            looked: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Returns the moment at which the clocks show `monotonic` and `wall`.
    #[must_use]
    pub fn moment(&self, monotonic: Instant, wall: SystemTime) -> Moment {
        self.timeline.moment(monotonic, wall)
    }

    /// Returns the health of all peers, as it was within the last 100 ms. While somebody else is looking anew, it
    /// returns what was there before, without waiting.
    #[must_use]
    pub fn snapshot(&self, now: Moment) -> Arc<Snapshot> {
        let looked = self.looked.load(Ordering::Acquire);
        let is_young = looked > 0 && now.tick.as_millis().saturating_sub(looked - 1) < MAX_AGE_MS;
        if is_young {
            return self.newest();
        }
        match self.state.try_lock() {
            Ok(mut state) => self.look(&mut state, now),
            Err(TryLockError::Poisoned(state)) => self.look(&mut state.into_inner(), now),
            Err(TryLockError::WouldBlock) if looked > 0 => self.newest(),
            // There is nothing yet that could be returned instead.
            Err(TryLockError::WouldBlock) => self.refresh(now),
        }
    }

    /// Asks every provider, whatever the age of what is known, and returns what they say.
    pub fn refresh(&self, now: Moment) -> Arc<Snapshot> {
        self.look(&mut self.state(), now)
    }

    /// Returns what happened after the event `seq`, 0 for all that is kept: the 4,096 newest events.
    #[must_use]
    pub fn events_since(&self, seq: u64, now: Moment) -> Events {
        drop(self.snapshot(now));
        self.state().events.since(seq)
    }

    fn newest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A provider that panics leaves no more than a few events untold.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, state: &mut State, now: Moment) -> Arc<Snapshot> {
        let old = self.newest();
        let (peers, pass) = self.visit(state.take_spare(), &old.peers, now);
        let is_told = pass.is_same_story && peers.len() == old.peers.len() && state.watch.is_idle();
        let peers = if is_told { peers } else { merged(peers, &old.peers) };
        let has_changed = if is_told { pass.has_changed } else { state.tell(&old.peers, &peers, now) };
        let summary = if is_told { old.summary } else { Summary::of_all(&peers) };
        emit::summary(summary);
        let newest = if has_changed || old.since.is_none() {
            let newest = Arc::new(Snapshot::new(old.version + 1, Some(now), peers, summary));
            *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&newest);
            state.spare = Some(old);
            newest
        } else {
            state.spare = Some(Arc::new(Snapshot::new(0, None, peers, summary)));
            old
        };
        self.looked.store(now.tick.as_millis() + 1, Ordering::Release);
        newest
    }

    /// Asks every provider, and writes what they say over `peers`.
    fn visit(&self, mut peers: Vec<PeerHealth>, old: &[PeerHealth], now: Moment) -> (Vec<PeerHealth>, Pass) {
        let mut pass = Pass { is_same_story: true, has_changed: false };
        let (mut given, mut left_out) = (0, 0);
        let mut known = old.iter();
        for provider in &self.providers {
            provider.visit(now, &mut |record| {
                pass.compare(known.next(), &record);
                match peers.get_mut(given) {
                    Some(peer) => peer.replace(record),
                    None if given < MAX_RECORDS => peers.push(PeerHealth::new(record)),
                    None => left_out += 1,
                }
                given += 1;
            });
        }
        peers.truncate(given);
        emit::left_out(left_out);
        (peers, pass)
    }
}

/// How what providers say differs from the newest snapshot, seen in passing.
struct Pass {
    /// Whether the same peers come in the same order, held for the same by the same sources: nothing to tell.
    is_same_story: bool,
    /// Whether anything is different of those peers.
    has_changed: bool,
}

impl Pass {
    fn compare(&mut self, known: Option<&PeerHealth>, record: &HealthRecord<'_>) {
        let Some(known) = known else {
            self.is_same_story = false;
            return;
        };
        self.is_same_story &= Arc::ptr_eq(&known.facts, record.facts) && known.verdicts == record.verdicts;
        self.has_changed |= known.last_heartbeat != record.last_heartbeat;
        self.has_changed |= known.last_disconnect != record.last_disconnect;
    }
}

/// Returns each peer once, by ascending id.
fn merged(mut peers: Vec<PeerHealth>, old: &[PeerHealth]) -> Vec<PeerHealth> {
    if !ascends(&peers, old) {
        // Stable: of one peer's records the earlier provider's stays first.
        peers.sort_by(|a, b| a.facts.id.cmp(&b.facts.id));
        peers.dedup_by(|later, first| {
            let is_same = later.facts.id == first.facts.id;
            if is_same {
                first.merge(later);
            }
            is_same
        });
    }
    peers
}

/// Returns whether each peer is there once, by ascending id. Where the same facts are next to each other as in
/// `old`, that is known without reading them.
fn ascends(peers: &[PeerHealth], old: &[PeerHealth]) -> bool {
    let mut before: Option<(&PeerHealth, bool)> = None;
    let mut old = old.iter();
    peers.iter().all(|peer| {
        let is_known = old.next().is_some_and(|known| Arc::ptr_eq(&known.facts, &peer.facts));
        let ascends = before.is_none_or(|(last, was_known)| (was_known && is_known) || last.facts.id < peer.facts.id);
        before = Some((peer, is_known));
        ascends
    })
}

impl State {
    /// Returns peers to write over: some of an earlier snapshot, or none.
    fn take_spare(&mut self) -> Vec<PeerHealth> {
        self.spare.take().and_then(Arc::into_inner).map(|snapshot| snapshot.peers).unwrap_or_default()
    }

    /// Tells what is different between `old` and `new`, and returns whether anything is.
    fn tell(&mut self, old: &[PeerHealth], new: &[PeerHealth], now: Moment) -> bool {
        self.watch.tidy(now.tick);
        let mut has_changed = false;
        let mut old = old.iter().peekable();
        for peer in new {
            let known = self.catch_up(&mut old, peer, now, &mut has_changed);
            has_changed |= known.is_none_or(|known| !known.shows_as(peer));
            self.compare(known, peer, now);
        }
        for gone in old {
            has_changed = true;
            self.gone(gone, now);
        }
        has_changed
    }

    /// Returns `peer` as it was, and tells who before it is gone.
    fn catch_up<'a>(
        &mut self,
        old: &mut Peekable<slice::Iter<'a, PeerHealth>>,
        peer: &PeerHealth,
        now: Moment,
        has_changed: &mut bool,
    ) -> Option<&'a PeerHealth> {
        loop {
            let next = *old.peek()?;
            if Arc::ptr_eq(&next.facts, &peer.facts) || next.facts.id == peer.facts.id {
                return old.next();
            }
            if next.facts.id > peer.facts.id {
                return None;
            }
            *has_changed = true;
            self.gone(next, now);
            old.next();
        }
    }

    fn gone(&mut self, peer: &PeerHealth, now: Moment) {
        self.watch.forget(&peer.facts.id);
        self.events.push(now, peer.facts.id.clone(), EventKind::Gone);
    }

    fn compare(&mut self, known: Option<&PeerHealth>, peer: &PeerHealth, now: Moment) {
        let id = &peer.facts.id;
        match known {
            None => self.events.push(now, id.clone(), EventKind::Appeared { state: peer.state }),
            Some(known) if known.state != peer.state => {
                let (from, to, source) = (known.state, peer.state, peer.decided_by);
                self.events.push(now, id.clone(), EventKind::Changed { from, to, source });
                emit::transition(from, to, source);
                if self.watch.changed(id, now.tick) {
                    self.anomaly(peer, EventKind::Flapping, now);
                }
            }
            Some(_same) => {}
        }
        if self.watch.heard(id, peer.verdicts, now.tick) {
            self.anomaly(peer, EventKind::Disagreement, now);
        }
        if peer.verdicts.is_stale() && known.is_none_or(|known| !known.verdicts.is_stale()) {
            self.anomaly(peer, EventKind::Stale, now);
        }
    }

    fn anomaly(&mut self, peer: &PeerHealth, kind: EventKind, now: Moment) {
        self.events.push(now, peer.facts.id.clone(), kind);
        emit::anomaly(kind);
    }
}
