//! What a tracker holds of one peer: a word a source that anybody may write, and the rest behind a lock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_types::{BootEpoch, Incarnation, MetadataVersion, NodeId};

use crate::evidence::{Source, Verdict, Verdicts};
use crate::lease::PeerFacts;
use crate::slab::{Block, Hot, Seat};
use crate::time::{Moment, Tick};
use crate::word::{Lifetimes, Word};

/// One peer. Clones are of the same one, and each finds its words with one step.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) block: Arc<Block>,
    pub(crate) index: u32,
    pub(crate) rest: Arc<Rest>,
}

/// What is looked for less often than a peer's words.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Held, not read: the words are nobody else's as long as this lives.
    _seat: Seat,
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
    pub(crate) fn new(id: NodeId, seat: Seat, created: Tick) -> Self {
        let facts = Arc::new(PeerFacts::new(id));
        let cold = Mutex::new(Cold { facts, life: None, described: None });
        Self {
            block: Arc::clone(seat.block()),
            index: seat.index(),
            rest: Arc::new(Rest { _seat: seat, created, cold }),
        }
    }

    /// Returns whether both are of the same peer, in the same life.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rest, &other.rest)
    }

    #[inline]
    fn hot(&self) -> &Hot {
        self.block.hot(self.index)
    }

    pub(crate) fn word(&self, source: Source) -> Word {
        Word(self.block.slot(self.index, source).load(Ordering::Relaxed))
    }

    pub(crate) fn store(&self, source: Source, word: Word) {
        self.block.hear(self.index, source);
        self.block.slot(self.index, source).store(word.0, Ordering::Relaxed);
    }

    /// Replaces the word of `source`, unless it is newer than `tick`.
    pub(crate) fn say(&self, source: Source, verdict: Verdict, tick: Tick) {
        self.advance(source, tick, |_old| Word::new(verdict, tick));
    }

    /// Replaces the word of `source` by what `next` makes of it, unless it is newer than `tick`.
    pub(crate) fn advance(&self, source: Source, tick: Tick, next: impl Fn(Word) -> Word) {
        self.replace(source, |old| (old.tick() <= tick).then(|| next(old)));
    }

    fn replace(&self, source: Source, next: impl Fn(Word) -> Option<Word>) {
        let slot = self.block.slot(self.index, source);
        let mut old = slot.load(Ordering::Relaxed);
        while let Some(word) = next(Word(old)) {
            self.block.hear(self.index, source);
            match slot.compare_exchange_weak(old, word.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_old) => return,
                Err(seen) => old = seen,
            }
        }
    }

    /// The hot path: plain stores into memory that is written for this peer alone.
    pub(crate) fn heartbeat(&self, at: Moment) {
        let hot = self.hot();
        hot.lease.store(Word::new(Verdict::Up, at.tick).0, Ordering::Relaxed);
        hot.heartbeat_steps.store(at.wall.steps(), Ordering::Relaxed);
        // Not an atomic add, which costs more than all the rest: of two at the very same time one may go uncounted.
        hot.heartbeats.store(hot.heartbeats.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn disconnect(&self, at: Moment) {
        self.say(Source::Lease, Verdict::Down, at.tick);
        self.hot().disconnect_steps.fetch_max(at.wall.steps(), Ordering::Relaxed);
    }

    /// Makes `source` silent.
    pub(crate) fn clear(&self, source: Source) {
        self.store(source, Word::NONE);
    }

    /// Makes every source but gossip and the operator silent whose word, as of `at`, is not *up*.
    pub(crate) fn forgive(&self, lifetimes: &Lifetimes, at: Tick) {
        let judge = lifetimes.at(at);
        for source in Source::ALL {
            if matches!(source, Source::Gossip | Source::Admin) {
                continue;
            }
            self.replace(source, |old| {
                let verdict = judge.judge(source, old).verdict();
                (old.tick() <= at && verdict.is_some_and(|verdict| verdict > Verdict::Up)).then_some(Word::NONE)
            });
        }
    }

    pub(crate) fn verdicts(&self, lifetimes: &Lifetimes, now: Tick) -> Verdicts {
        self.block.verdicts(self.index, &lifetimes.at(now))
    }

    pub(crate) fn heartbeats(&self) -> u64 {
        self.hot().heartbeats.load(Ordering::Relaxed)
    }

    /// Returns when somebody last said something of the peer.
    pub(crate) fn newest_tick(&self) -> Tick {
        Source::ALL.into_iter().map(|source| self.word(source).tick()).fold(self.rest.created, Tick::max)
    }

    pub(crate) fn cold(&self) -> MutexGuard<'_, Cold> {
        self.rest.cold()
    }

    /// Changes the facts, which `cold` guards; the next snapshot shows them.
    pub(crate) fn edit<R>(&self, cold: &mut MutexGuard<'_, Cold>, edit: impl FnOnce(&mut PeerFacts) -> R) -> R {
        let result = edit(Arc::make_mut(&mut cold.facts));
        self.hot().cold_version.fetch_add(1, Ordering::Release);
        result
    }

    /// Says to all clones that the peer is in no table any more.
    pub(crate) fn retire(&self) {
        self.block.retire(self.index);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.block.is_retired(self.index)
    }
}

impl Rest {
    pub(crate) fn cold(&self) -> MutexGuard<'_, Cold> {
        // Every change leaves the facts whole, so a panic elsewhere cannot have left them half made.
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
