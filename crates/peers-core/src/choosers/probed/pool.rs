//! The answers to load probes that were not used yet.

use std::cmp::Reverse;

use crate::Tick;
use crate::estimator::low;
use crate::sync::{AtomicU64, Ordering};

/// Times are counted in this many bits' worth of nanoseconds, 65.5 µs: as old answers make room for new ones, the order of
/// many answers matters more than their exact age. They wrap after three days.
const STEP_BITS: u32 = 16;
/// How long an answer is worth something, from its question on: a second.
const FRESH_STEPS: i32 = 15_259;

/// Returns the time of `now` as answers have it.
pub(crate) const fn steps(now: Tick) -> u32 {
    low(now.as_nanos() >> STEP_BITS)
}

/// What a peer said of its load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answer {
    /// The low half of the peer's key: for as long as an answer lives as good as the whole.
    pub(crate) key: u32,
    /// Where the peer was in its group.
    pub(crate) place: u32,
    /// When the peer was asked, by [`steps`]: what it said was true at some time since.
    pub(crate) asked: u32,
    /// Requests in flight there that were not of this node.
    pub(crate) others: u32,
    /// What requests took there, in nanoseconds; 0 if it could not say.
    pub(crate) latency_ns: f32,
}

/// Room for some answers, each to be used a limited number of times. Nobody waits for anybody: who comes second does
/// without.
#[derive(Debug)]
pub(crate) struct Pool<const SLOTS: usize>([Slot; SLOTS]);

/// An answer as it was seen in a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) answer: Answer,
    slot: usize,
    state: State,
}

impl<const SLOTS: usize> Pool<SLOTS> {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Slot::new()))
    }

    /// Puts an answer that may be used `uses` times where there is room, else in the place of the oldest; it is lost if
    /// all are newer.
    pub(crate) fn put(&self, answer: &Answer, uses: u8) {
        // Where another thread is faster, it has put or used something meanwhile: look anew, so often and no more.
        for _ in 0..SLOTS {
            let open = self.0.iter().filter_map(|slot| {
                let state = State(slot.state.load(Ordering::Relaxed));
                Some((slot, state, state.older_by(answer.asked).filter(|steps| *steps >= 0)?))
            });
            let Some((slot, state, _)) = open.min_by_key(|(.., older_by)| Reverse(*older_by)) else { return };
            if slot.replace(state, answer, uses) {
                return;
            }
        }
    }

    /// Iterates over the answers that are fresh at `now`. One that is replaced meanwhile may show something of each, and
    /// cannot be used.
    pub(crate) fn fresh(&self, now: Tick) -> impl Iterator<Item = Seen> {
        let now = steps(now);
        self.0.iter().enumerate().filter_map(move |(slot, answers)| {
            let state = State(answers.state.load(Ordering::Acquire));
            let is_fresh = state.is_full() && since(state.asked(), now) <= FRESH_STEPS;
            is_fresh.then(|| Seen { answer: answers.read(state.asked()), slot, state })
        })
    }

    /// Uses an answer once; returns whether it was still there, as it was seen.
    pub(crate) fn use_up(&self, seen: &Seen) -> bool {
        self.0.get(seen.slot).is_some_and(|slot| slot.change(seen.state, seen.state.used()))
    }
}

/// Returns the steps from one time to another, both modulo 2^32.
const fn since(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

/// `[version:22 | uses left:8 | phase:2 | asked:32]`. The version grows with each answer, so that no state comes
/// back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State(u64);

const PHASE_SHIFT: u32 = 32;
const PHASE_MASK: u64 = 0b11;
const USES_SHIFT: u32 = 34;
const USES_MASK: u64 = 0xff;
const VERSION_SHIFT: u32 = 42;

const EMPTY: u64 = 0;
const WRITING: u64 = 1;
const FULL: u64 = 2;

impl State {
    const fn new(version: u64, phase: u64, uses: u8, asked: u32) -> Self {
        Self(version << VERSION_SHIFT | (uses as u64) << USES_SHIFT | phase << PHASE_SHIFT | asked as u64)
    }

    const fn version(self) -> u64 {
        self.0 >> VERSION_SHIFT
    }

    const fn phase(self) -> u64 {
        self.0 >> PHASE_SHIFT & PHASE_MASK
    }

    const fn is_full(self) -> bool {
        self.phase() == FULL
    }

    const fn asked(self) -> u32 {
        low(self.0)
    }

    /// Returns the state of a full slot after one use more.
    const fn used(self) -> Self {
        let left = self.0 >> USES_SHIFT & USES_MASK;
        if left > 1 { Self(self.0 - (1 << USES_SHIFT)) } else { Self::new(self.version(), EMPTY, 0, 0) }
    }

    /// Returns by how much an answer asked for at `asked` is newer than what is here; `None` while that is written.
    const fn older_by(self, asked: u32) -> Option<i32> {
        match self.phase() {
            EMPTY => Some(i32::MAX),
            FULL => Some(since(self.asked(), asked)),
            _ => None,
        }
    }
}

/// Room for an answer. Whoever moves the state from where it was seen owns the step: a writer the words after it until
/// it has moved the state on, a user what it has read of them before.
#[derive(Debug)]
struct Slot {
    state: AtomicU64,
    /// `[key:32 | place:32]`.
    whom: AtomicU64,
    /// `[latency in ns as f32:32 | others in flight:32]`.
    load: AtomicU64,
}

impl Slot {
    fn new() -> Self {
        let empty = State::new(0, EMPTY, 0, 0);
        Self { state: AtomicU64::new(empty.0), whom: AtomicU64::new(0), load: AtomicU64::new(0) }
    }

    fn replace(&self, seen: State, answer: &Answer, uses: u8) -> bool {
        let version = seen.version() + 1;
        if !self.change(seen, State::new(version, WRITING, 0, 0)) {
            return false;
        }
        let Answer { key, place, asked, others, latency_ns } = *answer;
        self.whom.store(u64::from(key) << 32 | u64::from(place), Ordering::Relaxed);
        self.load.store(u64::from(latency_ns.to_bits()) << 32 | u64::from(others), Ordering::Relaxed);
        self.state.store(State::new(version, FULL, uses, asked).0, Ordering::Release);
        true
    }

    fn read(&self, asked: u32) -> Answer {
        let (whom, load) = (self.whom.load(Ordering::Relaxed), self.load.load(Ordering::Relaxed));
        let latency_ns = f32::from_bits(low(load >> 32));
        Answer { key: low(whom >> 32), place: low(whom), asked, others: low(load), latency_ns }
    }

    /// Moves the state on if it is still what was seen. Release and acquire, so that what a user has read before is read
    /// before the next writer writes.
    fn change(&self, seen: State, next: State) -> bool {
        self.state.compare_exchange(seen.0, next.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::ZERO.after(Duration::from_millis(ms))
    }

    fn answer(key: u32, asked_ms: u64) -> Answer {
        Answer { key, place: 7, asked: steps(at(asked_ms)), others: 3, latency_ns: 5e6 }
    }

    fn keys(pool: &Pool<3>, now_ms: u64) -> Vec<u32> {
        let mut keys: Vec<u32> = pool.fresh(at(now_ms)).map(|seen| seen.answer.key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn an_answer_is_given_as_it_was_put_and_as_often_as_it_may_be_used() {
        let pool = Pool::<3>::new();
        let most = Answer { key: u32::MAX, place: u32::MAX, asked: 0, others: u32::MAX, latency_ns: f32::MAX };
        pool.put(&answer(1, 0), 1);
        pool.put(&most, 255);
        let mut used = Vec::new();
        while let Some(seen) = pool.fresh(at(0)).next() {
            used.extend(pool.use_up(&seen).then_some(seen.answer));
        }
        assert_eq!(
            (used.len(), used.first(), used.get(1), used.last()),
            (256, Some(&answer(1, 0)), Some(&most), Some(&most))
        );
    }

    #[test]
    fn answers_are_fresh_for_a_second_from_the_question_on_also_where_the_time_wraps() {
        let wrap_ms = (1 << 48) / 1_000_000;
        for start in [0, wrap_ms - 500] {
            let pool = Pool::<3>::new();
            pool.put(&answer(1, start), 1);
            pool.put(&answer(2, start + 1), 1);
            assert_eq!([keys(&pool, start), keys(&pool, start + 1_000)], [[1, 2], [1, 2]]);
            assert_eq!(keys(&pool, start + 1_001), [2]);
            assert_eq!(keys(&pool, start + 1_002), [0; 0]);
        }
    }

    #[test]
    fn the_oldest_makes_room_and_one_that_is_older_than_all_gets_none() {
        let pool = Pool::<3>::new();
        for (key, asked_ms) in [(1, 20), (2, 10), (3, 30), (4, 15), (5, 12)] {
            pool.put(&answer(key, asked_ms), 1);
        }
        assert_eq!(keys(&pool, 30), [1, 3, 4]);
    }

    #[test]
    fn what_was_used_or_replaced_since_it_was_seen_cannot_be_used() {
        let pool = Pool::<3>::new();
        (1..=3).for_each(|key| pool.put(&answer(key, 0), 9));
        let seen: Vec<Seen> = pool.fresh(at(0)).collect();
        assert!(seen.first().is_some_and(|seen| pool.use_up(seen) && !pool.use_up(seen)));
        (4..=6).for_each(|key| pool.put(&answer(key, 1), 9));
        assert_eq!(seen.iter().filter(|seen| pool.use_up(seen)).count(), 0);
        assert_eq!(keys(&pool, 1), [4, 5, 6]);
    }
}
