//! What is written often about peers, side by side: who reads all of it reads memory from end to end.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::evidence::{Source, Verdicts};
use crate::word::{Judge, Word};

/// Peers of one block: a bit each in [`Block::free`].
const SEATS: usize = 64;

/// The peer is in no table any more.
const RETIRED: u32 = 1;
/// Somebody has spoken through [`Rare`].
const RARELY_HEARD: u32 = 2;

/// Most of what is written about one peer, in one cache line.
///
/// The words are independent of each other, so every access to them is relaxed.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Hot {
    gossip: AtomicU64,
    pub(crate) lease: AtomicU64,
    transport: AtomicU64,
    breaker: AtomicU64,
    pub(crate) heartbeat_steps: AtomicU64,
    pub(crate) heartbeats: AtomicU64,
    pub(crate) disconnect_steps: AtomicU64,
    /// Counts the changes of what is cold, and wraps.
    pub(crate) cold_version: AtomicU32,
    flags: AtomicU32,
}

/// The words of sources that few hosts have. They are read only where somebody has written.
#[derive(Debug, Default)]
struct Rare {
    probe: AtomicU64,
    admin: AtomicU64,
    custom_a: AtomicU64,
    custom_b: AtomicU64,
}

/// Room for as many peers as a word has bits.
#[derive(Debug)]
pub(crate) struct Block {
    hot: [Hot; SEATS],
    rare: [Rare; SEATS],
    /// The seats that nobody has.
    free: AtomicU64,
}

impl Block {
    /// Makes a block of which the first seat is taken.
    fn new() -> Self {
        let hot = [(); SEATS].map(|()| Hot::default());
        let rare = [(); SEATS].map(|()| Rare::default());
        Self { hot, rare, free: AtomicU64::new(!1) }
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "cannot fail: the remainder is below the length")]
    pub(crate) fn hot(&self, index: u32) -> &Hot {
        &self.hot[index as usize % SEATS]
    }

    #[expect(clippy::indexing_slicing, reason = "cannot fail: the remainder is below the length")]
    fn rare(&self, index: u32) -> &Rare {
        &self.rare[index as usize % SEATS]
    }

    #[inline]
    pub(crate) fn slot(&self, index: u32, source: Source) -> &AtomicU64 {
        let hot = self.hot(index);
        match source {
            Source::Gossip => &hot.gossip,
            Source::Lease => &hot.lease,
            Source::Transport => &hot.transport,
            Source::Breaker => &hot.breaker,
            Source::Probe => &self.rare(index).probe,
            Source::Admin => &self.rare(index).admin,
            Source::CustomA => &self.rare(index).custom_a,
            Source::CustomB => &self.rare(index).custom_b,
        }
    }

    /// Returns what each source says of the peer at `index`.
    #[inline]
    pub(crate) fn verdicts(&self, index: u32, judge: &Judge) -> Verdicts {
        let hear = |verdicts: Verdicts, source: Source| {
            let word = Word(self.slot(index, source).load(Ordering::Relaxed));
            verdicts.hearing(source, judge.judge(source, word))
        };
        let often = [Source::Gossip, Source::Lease, Source::Transport, Source::Breaker];
        let verdicts = often.into_iter().fold(Verdicts::default(), hear);
        if self.hot(index).flags.load(Ordering::Relaxed) & RARELY_HEARD == 0 {
            return verdicts;
        }
        [Source::Probe, Source::Admin, Source::CustomA, Source::CustomB].into_iter().fold(verdicts, hear)
    }

    /// Notes that `source` speaks of the peer at `index`: from now on a visit looks at its word.
    #[inline]
    pub(crate) fn hear(&self, index: u32, source: Source) {
        if matches!(source, Source::Probe | Source::Admin | Source::CustomA | Source::CustomB) {
            self.raise(index, RARELY_HEARD);
        }
    }

    pub(crate) fn retire(&self, index: u32) {
        self.raise(index, RETIRED);
    }

    pub(crate) fn is_retired(&self, index: u32) -> bool {
        self.hot(index).flags.load(Ordering::Relaxed) & RETIRED != 0
    }

    fn raise(&self, index: u32, flag: u32) {
        let flags = &self.hot(index).flags;
        if flags.load(Ordering::Relaxed) & flag == 0 {
            flags.fetch_or(flag, Ordering::Relaxed);
        }
    }

    /// Forgets what was said of the peer that sat at `index` before.
    fn empty(&self, index: u32) {
        for source in Source::ALL {
            self.slot(index, source).store(Word::NONE.0, Ordering::Relaxed);
        }
        let hot = self.hot(index);
        for word in [&hot.heartbeat_steps, &hot.heartbeats, &hot.disconnect_steps] {
            word.store(0, Ordering::Relaxed);
        }
        hot.flags.store(0, Ordering::Relaxed);
    }
}

/// One peer's place in a block, which is free again once this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    block: Arc<Block>,
    index: u32,
}

impl Seat {
    /// Takes a free seat of `block`. One thread at a time may ask.
    fn take(block: &Arc<Block>) -> Option<Self> {
        // Whoever had it has written its last before it was free.
        let index = NonZeroU64::new(block.free.load(Ordering::Acquire))?.trailing_zeros();
        block.free.fetch_and(!(1 << index), Ordering::Relaxed);
        block.empty(index);
        Some(Self { block: Arc::clone(block), index })
    }

    pub(crate) const fn block(&self) -> &Arc<Block> {
        &self.block
    }

    pub(crate) const fn index(&self) -> u32 {
        self.index
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.block.free.fetch_or(1 << self.index, Ordering::Release);
    }
}

/// The blocks of one tracker: room for as many peers as it ever had at once.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    blocks: Vec<Arc<Block>>,
}

impl Slab {
    /// Returns a seat where nothing is said yet.
    pub(crate) fn seat(&mut self) -> Seat {
        // The last block first: while peers only come, the others are full.
        if let Some(seat) = self.blocks.iter().rev().find_map(Seat::take) {
            return seat;
        }
        let block = Arc::new(Block::new());
        self.blocks.push(Arc::clone(&block));
        Seat { block, index: 0 }
    }
}
