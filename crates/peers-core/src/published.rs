//! The one pointer through which snapshots reach their readers, and the one file with `unsafe`.
#![expect(unsafe_code, reason = "epoch-protected pointer; every block states why it is sound")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_epoch::{self as epoch, Atomic, Guard, Owned, Shared};

/// A slot that holds the newest `Arc<T>`: readers never block and never wait for a writer.
///
/// Reading pins the thread's epoch (Fraser, *Practical lock-freedom*, 2004, §5.2.3) and clones an `Arc`;
/// publishing is one atomic swap. The previous value is freed once no reader can still see it.
pub struct Published<T: Send + Sync + 'static> {
    slot: Atomic<Arc<T>>,
}

impl<T: Send + Sync + 'static> Published<T> {
    /// Makes a slot that holds `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { slot: Atomic::new(Arc::new(value)) }
    }

    /// Returns the newest value, shared: it stays as it is however much is published after.
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        let guard = epoch::pin();
        Arc::clone(self.newest(&guard))
    }

    /// Calls `read` with the newest value, without touching its reference count. Keep `read` short:
    /// memory of values published meanwhile is not given back before it returns.
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        let guard = epoch::pin();
        read(self.newest(&guard))
    }

    /// Replaces the value for all readers that come after.
    pub fn publish(&self, value: T) {
        let guard = epoch::pin();
        let old = self.slot.swap(Owned::new(Arc::new(value)), Ordering::AcqRel, &guard);
        // SAFETY: the swap unlinked `old`, so no reader that pins from now on can reach it; readers that
        // already did are pinned, and the epoch runs this after they unpin. Each value is unlinked once.
        unsafe { guard.defer_destroy(old) };
    }

    fn newest<'g>(&self, guard: &'g Guard) -> &'g Arc<T> {
        let shared = self.slot.load(Ordering::Acquire, guard);
        // SAFETY: the slot is never null (set in `new`, then only swapped), and a value is destroyed only
        // after all guards that were alive when it was unlinked are gone; `guard` is one of them.
        unsafe { shared.deref() }
    }
}

impl<T: Send + Sync + 'static> Drop for Published<T> {
    fn drop(&mut self) {
        // SAFETY: `&mut self` means that no reader is left, so the value can go at once; the slot is not
        // null (see `newest`) and is not used after this.
        drop(unsafe { std::mem::replace(&mut self.slot, Atomic::from(Shared::null())).into_owned() });
    }
}

impl<T: Send + Sync + fmt::Debug + 'static> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(|value| f.debug_tuple("Published").field(value).finish())
    }
}

#[cfg(test)]
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
        // The epoch collects in batches: far fewer than were published may wait.
        let waiting = alive.load(Ordering::Relaxed);
        assert!(waiting < 5_000, "{waiting} values are still held");
    }
}
