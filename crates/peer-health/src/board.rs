//! What all providers know, merged by peer.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::{Instant, SystemTime};

use crate::emit;
use crate::events::Events;
use crate::fold::Gathered;
use crate::provider::HealthProvider;
use crate::snapshot::{PeerHealth, Snapshot, Summary};
use crate::story::Story;
use crate::time::{Moment, Timeline};

/// Age at which a snapshot is looked at again, in milliseconds.
const MAX_AGE_MS: u64 = 100;

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
    story: Story,
    gathered: Gathered,
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
        self.state().story.since(seq)
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
        let room = state.take_spare();
        let glance = state.gathered.ask(&self.providers, &old.peers, now);
        let (peers, summary, has_changed) = if glance.is_same_story && state.story.is_idle() {
            (state.gathered.take_same(room), old.summary, glance.has_new_times)
        } else {
            let peers = state.gathered.fold(&old.peers, room);
            let has_changed = state.story.tell(&old.peers, &peers, now);
            let summary = Summary::of_all(&peers);
            (peers, summary, has_changed)
        };
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
}

impl State {
    /// Returns peers to write over: some of an earlier snapshot, or none.
    fn take_spare(&mut self) -> Vec<PeerHealth> {
        self.spare.take().and_then(Arc::into_inner).map(|snapshot| snapshot.peers).unwrap_or_default()
    }
}
