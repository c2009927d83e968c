//! What has become of calls.

use std::sync::Arc;

use tokio::sync::watch;

/// How many calls there have been, by what became of their handlers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Handlers that began.
    pub begun: u64,
    /// Handlers that came to their end, be it a good one or a failure.
    pub ended: u64,
    /// Handlers that were dropped before their end: nobody waited for the answer any more.
    pub dropped: u64,
}

impl Calls {
    /// Returns how many handlers are at work.
    #[must_use]
    pub const fn running(self) -> u64 {
        self.begun - self.ended - self.dropped
    }
}

/// The counters; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(Arc<watch::Sender<Calls>>);

impl Counters {
    pub(crate) fn now(&self) -> Calls {
        *self.0.borrow()
    }

    pub(crate) async fn wait_for(&self, condition: impl FnMut(&Calls) -> bool) -> Calls {
        let mut changes = self.0.subscribe();
        let reached = changes.wait_for(condition).await;
        *reached.expect("the sender is ours, and alive")
    }

    pub(crate) fn begin(&self) -> Running {
        self.0.send_modify(|calls| calls.begun += 1);
        Running { counters: self.clone(), has_ended: false }
    }
}

/// One handler at work. Dropped before [`Running::end`], it counts as dropped.
#[derive(Debug)]
pub(crate) struct Running {
    counters: Counters,
    has_ended: bool,
}

impl Running {
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Self { counters, has_ended } = self;
        counters.0.send_modify(|calls| if *has_ended { calls.ended += 1 } else { calls.dropped += 1 });
    }
}
