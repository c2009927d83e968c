//! Picking on one thread.

use std::fmt;
use std::sync::Arc;

use crate::balancer::Picker;
use crate::plan::Plan;
use crate::{Chooser, Entropy, PeerLease, PickCx, PickError};

/// A balancer's deputy that one thread or task keeps for itself: it picks as its [`Balancer`](crate::Balancer) does,
/// for three quarters of the cost, because it looks at a snapshot that it holds instead of the one that is shared.
///
/// Each pick asks whether there is a newer snapshot, so it sees every change of the table as soon as the balancer does.
/// Between two picks it keeps one snapshot in memory, however old: drop it, rather than let it lie unused for long.
pub struct LocalBalancer<C: Chooser = Box<dyn Chooser>> {
    picker: Arc<Picker<C>>,
    plan: Arc<Plan>,
    entropy: Entropy,
}

impl<C: Chooser> LocalBalancer<C> {
    pub(crate) fn new(picker: Arc<Picker<C>>, entropy: Entropy) -> Self {
        Self { plan: picker.load(), picker, entropy }
    }

    /// Leases a peer for a call that starts at `cx.now`. Never waits, takes no lock and allocates nothing, but for what
    /// giving back an outdated snapshot takes.
    ///
    /// # Errors
    /// As [`Balancer::acquire`](crate::Balancer::acquire).
    #[inline]
    pub fn acquire(&mut self, cx: &PickCx<'_>) -> Result<PeerLease, PickError> {
        if self.picker.is_outdated(&self.plan) {
            self.catch_up();
        }
        self.picker.pick(&self.plan, cx, &mut self.entropy)
    }

    /// Returns the version of the table that the last pick was made from.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.plan.version
    }

    #[cold]
    fn catch_up(&mut self) {
        self.plan = self.picker.load();
    }
}

impl<C: Chooser> fmt::Debug for LocalBalancer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBalancer").field("version", &self.version()).finish_non_exhaustive()
    }
}
