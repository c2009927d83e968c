//! The pointers that readers follow without a lock: [`Published`] to snapshots, [`Hold`] to what is in use. The one
//! file with `unsafe`.
#![expect(unsafe_code, reason = "two pointers without a lock; every block states why it is sound")]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_epoch::{self as epoch, Atomic, Guard, LocalHandle, Shared};

use crate::word::{Acquired, LeaseWord, Usage, Users};

thread_local! {
    static PARTICIPANT: LocalHandle = epoch::default_collector().register();
}

/// Pins the thread's epoch, as [`crossbeam_epoch::pin`] does, which is not inlined.
#[inline(always)]
pub(crate) fn pin() -> Guard {
    // Not an error: the thread is ending, and its participant is gone.
    PARTICIPANT.try_with(LocalHandle::pin).unwrap_or_else(|_| epoch::pin())
}

/// A slot that holds the newest `Arc<T>`: readers never block and never wait for a writer.
///
/// Reading pins the thread's epoch (Fraser, *Practical lock-freedom*, 2004, §5.2.3) and clones an `Arc`;
/// publishing is one atomic swap. The previous value is freed once no reader can still see it.
pub struct Published<T: Send + Sync + 'static> {
    /// What `Arc::into_raw` gave, so that a reader is one step from the value; it owns one strong count.
    slot: Atomic<T>,
}

impl<T: Send + Sync + 'static> Published<T> {
    /// Makes a slot that holds `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { slot: Atomic::from(Arc::into_raw(Arc::new(value))) }
    }

    /// Returns the newest value, shared: it stays as it is however much is published after.
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        let guard = pin();
        let newest: *const T = self.newest(&guard);
        // SAFETY: the pointer came from `Arc::into_raw`, and the slot's strong count is given back only after `guard`
        // is gone; the count added here is the one that the new `Arc` owns.
        unsafe {
            Arc::increment_strong_count(newest);
            Arc::from_raw(newest)
        }
    }

    /// Calls `read` with the newest value, without touching its reference count. Keep `read` short:
    /// memory of values published meanwhile is not given back before it returns.
    #[inline(always)]
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        let guard = pin();
        read(self.newest(&guard))
    }

    /// Replaces the value for all readers that come after.
    pub fn publish(&self, value: T) {
        let guard = pin();
        self.replace(value, &guard);
        // Collects now: the epoch would wait for a batch of 64, which may be minutes and megabytes of old values.
        guard.flush();
    }

    /// Publishes without collecting what was replaced: that is left to the next [`Published::publish`] on this thread.
    pub(crate) fn publish_before_another(&self, value: T) {
        self.replace(value, &pin());
    }

    fn replace(&self, value: T, guard: &Guard) {
        let new = Shared::from(Arc::into_raw(Arc::new(value)));
        let old = self.slot.swap(new, Ordering::AcqRel, guard);
        // SAFETY: the swap unlinked `old`, so no reader that pins from now on can reach it; readers that already did are
        // pinned, and the epoch runs this after they unpin. Each value is unlinked once, so its strong count is given
        // back once. `T: Send + Sync + 'static` may be dropped on any thread, at any time.
        unsafe { guard.defer_unchecked(move || drop(Arc::from_raw(old.as_raw()))) };
    }

    /// Returns the newest value, to be used no longer than `guard`: see [`Published::read`].
    #[inline(always)]
    pub(crate) fn newest<'g>(&self, guard: &'g Guard) -> &'g T {
        let shared = self.slot.load(Ordering::Acquire, guard);
        // SAFETY: the slot is never null (set in `new`, then only swapped), and a value's strong count is given back only
        // after all guards that were alive when it was unlinked are gone; `guard` is one of them.
        unsafe { shared.deref() }
    }
}

impl<T: Send + Sync + 'static> Drop for Published<T> {
    fn drop(&mut self) {
        let slot = std::mem::replace(&mut self.slot, Atomic::null());
        // SAFETY: `&mut self` means that no reader is left, so an unprotected look is enough and the slot's strong count
        // can be given back at once; the slot is not used after this.
        unsafe { drop(Arc::from_raw(slot.load(Ordering::Relaxed, epoch::unprotected()).as_raw())) };
    }
}

impl<T: Send + Sync + fmt::Debug + 'static> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(|value| f.debug_tuple("Published").field(value).finish())
    }
}

/// A value and the word that counts who uses it, on a cache line of their own.
#[derive(Debug)]
#[repr(C, align(64))]
struct Slot<T> {
    word: LeaseWord,
    value: T,
}

/// The one owner of a value that is lent by [`Kept::lease`]: dropped, it stops the lending, and the last lease ends
/// the value.
///
/// All leases together own one strong count of the `Arc`, made here and given back by whoever the word tells that
/// nobody is left. So a lease costs one addition to the word and none to the reference count. Who asks for a lease too
/// late has already counted one, and gives it back; if it was the first after the end, with a strong count of its own.
#[derive(Debug)]
pub(crate) struct Keeper<T: Send + Sync>(Kept<T>);

/// A shared reference to a value with a [`Keeper`]; it can be read for as long as it is held, retired or not.
#[derive(Debug)]
pub(crate) struct Kept<T>(Arc<Slot<T>>);

/// The use of a value, counted in its word from [`Kept::lease`] to its drop.
pub(crate) struct Hold<T: Send + Sync>(NonNull<Slot<T>>);

impl<T: Send + Sync> Keeper<T> {
    pub(crate) fn new(value: T) -> Self {
        let slot = Arc::new(Slot { word: LeaseWord::new(), value });
        // The leases' strong count; whoever hears `NoneLeft` gives it back.
        let _leases_own = Arc::into_raw(Arc::clone(&slot));
        Self(Kept(slot))
    }

    pub(crate) const fn kept(&self) -> &Kept<T> {
        &self.0
    }
}

impl<T: Send + Sync> Drop for Keeper<T> {
    fn drop(&mut self) {
        let slot = &self.0.0;
        if slot.word.retire() == Users::NoneLeft {
            // SAFETY: the pointer is that of a living `Arc`; `retire` says that no lease is left, and the word gives
            // none from now on, so the leases' strong count is still there and given back once.
            unsafe { Arc::decrement_strong_count(Arc::as_ptr(slot)) };
        }
    }
}

impl<T: Send + Sync> Kept<T> {
    /// Lends the value; `None` once its keeper is gone, or when too many have it.
    #[inline(always)]
    pub(crate) fn lease(&self) -> Option<Hold<T>> {
        match self.0.word.acquire() {
            // SAFETY: the pointer of an `Arc` is not null.
            Acquired::Lease => Some(Hold(unsafe { NonNull::new_unchecked(Arc::as_ptr(&self.0).cast_mut()) })),
            acquired => self.refuse(acquired),
        }
    }

    #[cold]
    fn refuse(&self, acquired: Acquired) -> Option<Hold<T>> {
        if acquired == Acquired::RetiredAnew {
            // The leases' strong count was given back, and will be once more; `self` keeps the value meanwhile.
            let _leases_own = Arc::into_raw(Arc::clone(&self.0));
        }
        if acquired != Acquired::Full {
            drop(NonNull::new(Arc::as_ptr(&self.0).cast_mut()).map(Hold));
        }
        None
    }

    #[inline]
    pub(crate) fn usage(&self) -> Usage {
        self.0.word.usage()
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Send + Sync> Deref for Hold<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the word counts this lease from before it was made until its drop; the leases' strong count is given back
        // only when the word is retired and counts none. So the slot lives.
        unsafe { &self.0.as_ref().value }
    }
}

impl<T: Send + Sync> Drop for Hold<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `deref`; after `release` the slot is touched only if it says that nobody else can end it.
        if unsafe { self.0.as_ref() }.word.release() == Users::NoneLeft {
            // SAFETY: the pointer came from `Arc::as_ptr`; the word says `NoneLeft` once, so the leases' strong count
            // is still there and given back once.
            unsafe { Arc::decrement_strong_count(self.0.as_ptr().cast_const()) };
        }
    }
}

// SAFETY: a hold is a shared reference with a count, as an `Arc` is; what it can do from another thread (read the
// value, and end it) needs what `Arc` needs: `T: Send + Sync`. The word is atomic.
unsafe impl<T: Send + Sync> Send for Hold<T> {}
// SAFETY: see `Send`.
unsafe impl<T: Send + Sync> Sync for Hold<T> {}

impl<T: Send + Sync + fmt::Debug> fmt::Debug for Hold<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hold").field(&**self).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    /// Counts how many of it are alive.
    struct Counted(Arc<AtomicUsize>, u64, u64);

    impl Counted {
        fn new(alive: &Arc<AtomicUsize>, value: u64) -> Self {
            alive.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(alive), value, value)
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Reads until the last value, each whole and none older than the one before.
    fn read_all(cell: &Published<Counted>) {
        let mut last = 0;
        while last < 10_000 {
            let seen = cell.read(|value| (value.1, value.2));
            assert_eq!(seen.0, seen.1, "a torn value");
            assert!(seen.0 >= last, "went back from {last} to {}", seen.0);
            last = seen.0;
        }
    }

    #[test]
    fn readers_see_whole_values_in_order_while_a_writer_publishes() {
        let alive = Arc::new(AtomicUsize::new(0));
        let cell = Published::new(Counted::new(&alive, 0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| read_all(&cell));
            }
            for value in 1..=10_000 {
                cell.publish(Counted::new(&alive, value));
            }
        });
    }

    #[test]
    fn a_loaded_value_outlives_its_successors_and_the_slot() {
        let alive = Arc::new(AtomicUsize::new(0));
        let cell = Published::new(Counted::new(&alive, 1));
        let held = cell.load();
        cell.publish(Counted::new(&alive, 2));
        drop(cell);
        assert_eq!(held.1, 1);
    }

    #[test]
    fn replaced_values_are_given_back() {
        let alive = Arc::new(AtomicUsize::new(0));
        let cell = Published::new(Counted::new(&alive, 0));
        for value in 1..=100_000 {
            cell.publish(Counted::new(&alive, value));
        }
        // The epoch collects in batches, and not while a reader of another test is in the middle of a value: so many more
        // publishes may it take until few wait.
        let few_wait = (100_001..=10_000_000).any(|value| {
            thread::yield_now();
            cell.publish(Counted::new(&alive, value));
            alive.load(Ordering::Relaxed) < 5_000
        });
        assert!(few_wait, "{} values are still held", alive.load(Ordering::Relaxed));
    }

    #[test]
    fn a_lent_value_ends_with_its_last_lease_after_its_keeper() {
        let alive = Arc::new(AtomicUsize::new(0));
        let keeper = Keeper::new(Counted::new(&alive, 7));
        let kept = keeper.kept().clone();
        let holds: Vec<_> = (0..3).filter_map(|_| kept.lease()).collect();
        assert_eq!((holds.len(), kept.usage().pending), (3, 3));
        drop(keeper);
        assert!(kept.lease().is_none(), "lent after its keeper went");
        drop(kept);
        for hold in holds {
            assert_eq!((hold.1, alive.load(Ordering::Relaxed)), (7, 1));
        }
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_value_that_nobody_uses_ends_with_its_keeper() {
        let alive = Arc::new(AtomicUsize::new(0));
        let keeper = Keeper::new(Counted::new(&alive, 7));
        drop(keeper.kept().lease());
        drop(keeper);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}
