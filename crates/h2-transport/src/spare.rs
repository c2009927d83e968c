//! Buffers that connections lend each other.

use std::cell::RefCell;

/// Room in each: two of the largest records of TLS.
pub(crate) const BYTES: usize = 32 * 1024;

/// How many a thread keeps: a connection that is polled holds one with what it has read ahead, and one with what it is to send.
const KEPT: usize = 2;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Returns an empty buffer with room for [`BYTES`]. As a rule it is one that another connection has had a moment ago, and is still in the
/// processor's cache.
pub(crate) fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(BYTES))
}

/// Gives a buffer to whoever needs one next on this thread.
pub(crate) fn give_back(mut buffer: Vec<u8>) {
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT {
            spare.push(buffer);
        }
    });
}
