//! How much of the past a slot keeps. A program of its own: whatever else ran beside it could hold values back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use peers_core::Published;

/// Counts how many of it are alive.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A snapshot of a large mesh is tens of KiB: what nobody reads any more must not wait for a batch of its kind.
#[test]
fn a_value_that_was_replaced_is_given_back_within_a_few_publishes() {
    let alive = Arc::new(AtomicUsize::new(1));
    let slot = Published::new(Counted(Arc::clone(&alive)));
    let mut most = 0;
    for _ in 0..1_000 {
        alive.fetch_add(1, Ordering::Relaxed);
        slot.publish(Counted(Arc::clone(&alive)));
        most = most.max(alive.load(Ordering::Relaxed));
    }
    assert!(most <= 5, "{most} values were alive at once");
}
