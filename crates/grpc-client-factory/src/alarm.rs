//! Waking who looks after connections, when there is something to look after again.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Wakes the task that looks after the connections of a factory, which sleeps while no call is under way. Each call rings, which costs the
/// look at a flag that says that it was rung before.
///
/// Who looks sets it before: what has begun by then is seen, and what begins later rings. For that to hold, a call must leave its trace
/// before it rings, and all of this in one order for all threads.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    is_set: AtomicBool,
    rung: Notify,
}

impl Alarm {
    /// From now on the next ring wakes, and none after it.
    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
    }

    /// Wakes whoever waits, or who is the next to wait, if it is set.
    pub(crate) fn ring(&self) {
        if self.is_set.load(Ordering::SeqCst) && self.is_set.swap(false, Ordering::SeqCst) {
            self.rung.notify_one();
        }
    }

    /// Resolves when it has rung.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the ring to the next who waits.
    pub(crate) async fn rung(&self) {
        self.rung.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn it_rings_once_each_time_that_it_is_set_also_for_who_waits_later() {
        let alarm = Alarm::default();
        let rings = |times: u32| {
            (0..times).for_each(|_| alarm.ring());
            [alarm.rung().now_or_never().is_some(), alarm.rung().now_or_never().is_some()]
        };
        assert_eq!(rings(1), [false, false]);
        alarm.set();
        assert_eq!(rings(0), [false, false]);
        assert_eq!(rings(3), [true, false]);
        assert_eq!(rings(1), [false, false]);
    }
}
