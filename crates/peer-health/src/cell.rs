//! What a tracker holds of one peer: a word a source that anybody may write, and the rest behind a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_types::{BootEpoch, Incarnation, MetadataVersion, NodeId};

use crate::evidence::{Source, Verdict, Verdicts};
use crate::lease::PeerFacts;
use crate::time::{Moment, Tick, WallTime};
use crate::word::{Lifetimes, Word};

/// The words are independent of each other, so every access to them is relaxed; what must agree is in [`Cold`].
///
/// All but that is in two cache lines next to each other, which processors fetch together.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Cell {
    words: [AtomicU64; Source::ALL.len()],
    heartbeat_steps: AtomicU64,
    heartbeats: AtomicU64,
    disconnect_steps: AtomicU64,
    /// Counts the changes of what is cold.
    cold_version: AtomicU64,
    retired: AtomicBool,
    created: Tick,
    cold: Mutex<Cold>,
}

/// What is written rarely.
#[derive(Debug)]
pub(crate) struct Cold {
    /// Shared with snapshots: copied before it changes, if one holds it.
    pub(crate) facts: Arc<PeerFacts>,
    /// Which life of the node gossip spoke of last.
    pub(crate) life: Option<(BootEpoch, Incarnation)>,
    /// Which metadata of the node is among the facts.
    pub(crate) described: Option<(BootEpoch, MetadataVersion)>,
}

impl Cell {
    pub(crate) fn new(id: NodeId, created: Tick) -> Self {
        let facts = Arc::new(PeerFacts::new(id));
        Self {
            words: [const { AtomicU64::new(0) }; Source::ALL.len()],
            heartbeat_steps: AtomicU64::new(0),
            heartbeats: AtomicU64::new(0),
            disconnect_steps: AtomicU64::new(0),
            cold_version: AtomicU64::new(1),
            retired: AtomicBool::new(false),
            created,
            cold: Mutex::new(Cold { facts, life: None, described: None }),
        }
    }

    fn slot(&self, source: Source) -> &AtomicU64 {
        // One slot for each source, by its discriminant.
        let [gossip, lease, transport, breaker, probe, admin, custom_a, custom_b] = &self.words;
        match source {
            Source::Gossip => gossip,
            Source::Lease => lease,
            Source::Transport => transport,
            Source::Breaker => breaker,
            Source::Probe => probe,
            Source::Admin => admin,
            Source::CustomA => custom_a,
            Source::CustomB => custom_b,
        }
    }

    pub(crate) fn word(&self, source: Source) -> Word {
        Word(self.slot(source).load(Ordering::Relaxed))
    }

    pub(crate) fn store(&self, source: Source, word: Word) {
        self.slot(source).store(word.0, Ordering::Relaxed);
    }

    /// Replaces the word of `source` by what `next` makes of it, unless it is newer than `tick`.
    pub(crate) fn advance(&self, source: Source, tick: Tick, next: impl Fn(Word) -> Word) {
        self.replace(source, |old| (old.tick() <= tick).then(|| next(old)));
    }

    fn replace(&self, source: Source, next: impl Fn(Word) -> Option<Word>) {
        let slot = self.slot(source);
        let mut old = slot.load(Ordering::Relaxed);
        while let Some(word) = next(Word(old)) {
            match slot.compare_exchange_weak(old, word.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_old) => return,
                Err(seen) => old = seen,
            }
        }
    }

    /// The hot path: plain stores into memory that is written for this peer alone.
    pub(crate) fn heartbeat(&self, at: Moment) {
        self.store(Source::Lease, Word::new(Verdict::Up, at.tick));
        self.heartbeat_steps.store(at.wall.steps(), Ordering::Relaxed);
        // Not an atomic add, which costs more than all the rest: of two at the very same time one may go uncounted.
        self.heartbeats.store(self.heartbeats.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn disconnect(&self, at: Moment) {
        self.store(Source::Lease, Word::new(Verdict::Down, at.tick));
        self.disconnect_steps.store(at.wall.steps(), Ordering::Relaxed);
    }

    /// Makes `source` silent.
    pub(crate) fn clear(&self, source: Source) {
        self.store(source, Word::NONE);
    }

    /// Makes every source but gossip and the operator silent whose word, as of `at`, is not *up*.
    pub(crate) fn forgive(&self, lifetimes: &Lifetimes, at: Tick) {
        for source in Source::ALL {
            if matches!(source, Source::Gossip | Source::Admin) {
                continue;
            }
            self.replace(source, |old| {
                let verdict = lifetimes.judge(Verdicts::default(), source, old, at).of(source);
                (old.tick() <= at && verdict.is_some_and(|verdict| verdict > Verdict::Up)).then_some(Word::NONE)
            });
        }
    }

    pub(crate) fn verdicts(&self, lifetimes: &Lifetimes, now: Tick) -> Verdicts {
        self.words.iter().zip(Source::ALL).fold(Verdicts::default(), |verdicts, (slot, source)| {
            match Word(slot.load(Ordering::Relaxed)) {
                Word::NONE => verdicts,
                word => lifetimes.judge(verdicts, source, word, now),
            }
        })
    }

    pub(crate) fn last_heartbeat(&self) -> Option<WallTime> {
        WallTime::from_steps(self.heartbeat_steps.load(Ordering::Relaxed))
    }

    pub(crate) fn last_disconnect(&self) -> Option<WallTime> {
        WallTime::from_steps(self.disconnect_steps.load(Ordering::Relaxed))
    }

    pub(crate) fn heartbeats(&self) -> u64 {
        self.heartbeats.load(Ordering::Relaxed)
    }

    /// Returns when somebody last said something of the peer.
    pub(crate) fn newest_tick(&self) -> Tick {
        Source::ALL.into_iter().map(|source| self.word(source).tick()).fold(self.created, Tick::max)
    }

    pub(crate) fn cold_version(&self) -> u64 {
        self.cold_version.load(Ordering::Acquire)
    }

    pub(crate) fn cold(&self) -> MutexGuard<'_, Cold> {
        // Every change leaves the facts whole, so a panic elsewhere cannot have left them half made.
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the facts, which `cold` guards; the next snapshot shows them.
    pub(crate) fn edit<R>(&self, cold: &mut MutexGuard<'_, Cold>, edit: impl FnOnce(&mut PeerFacts) -> R) -> R {
        let result = edit(Arc::make_mut(&mut cold.facts));
        self.cold_version.fetch_add(1, Ordering::Release);
        result
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }
}
