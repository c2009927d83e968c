//! What becomes of departed members: shown for a while, then a tombstone, then forgotten.

use std::time::{Duration, Instant};

use mesh_types::{BootEpoch, NodeId};

use crate::core::{Core, Timer};
use crate::table::Entry;

/// How long a departed member stays visible; its tombstone stays longer.
const DEPARTED_VISIBLE: Duration = Duration::from_secs(300);

/// How long a tombstone keeps old news of a departed member from bringing it back.
const TOMBSTONE_KEPT: Duration = Duration::from_secs(24 * 3600);

impl Core {
    /// Sets the timers by which a departed member is hidden, then forgotten.
    ///
    /// They replace those of its earlier departures: a node that comes and goes all day has two timers, not thousands.
    pub(crate) fn schedule_departure(&mut self, node: &NodeId, boot_epoch: BootEpoch, now: Instant) {
        if let Some((at, earlier)) = self.departures.insert(node.clone(), (now, boot_epoch)) {
            self.timers.remove(&(at + DEPARTED_VISIBLE, Timer::HideDeparted(node.clone(), earlier)));
            self.timers.remove(&(at + TOMBSTONE_KEPT, Timer::ForgetDeparted(node.clone(), earlier)));
        }
        self.schedule(now + DEPARTED_VISIBLE, Timer::HideDeparted(node.clone(), boot_epoch));
        self.schedule(now + TOMBSTONE_KEPT, Timer::ForgetDeparted(node.clone(), boot_epoch));
    }

    pub(crate) fn hide_departed(&mut self, node: &NodeId, boot_epoch: BootEpoch, now: Instant) {
        if self.is_departed(node, boot_epoch) {
            self.table.hide(node);
            self.changed_at = now;
            self.touch();
        }
    }

    pub(crate) fn forget_departed(&mut self, node: &NodeId, boot_epoch: BootEpoch) {
        self.departures.remove(node);
        if self.is_departed(node, boot_epoch) {
            self.table.remove(node);
            self.spare(node);
            self.syncs.forget(node);
            self.flaps.forget(node);
            self.responses.forget(node);
            self.user_events.forget(node);
        }
    }

    /// Forgets whoever departed first, so that a living newcomer finds room in a full table.
    pub(crate) fn make_room(&mut self) {
        while self.table.is_full() {
            let first = self.departures.iter().min_by_key(|(_, (at, _))| *at);
            let Some((node, (at, boot_epoch))) = first.map(|(node, departure)| (node.clone(), *departure)) else {
                return;
            };
            self.timers.remove(&(at + DEPARTED_VISIBLE, Timer::HideDeparted(node.clone(), boot_epoch)));
            self.timers.remove(&(at + TOMBSTONE_KEPT, Timer::ForgetDeparted(node.clone(), boot_epoch)));
            self.forget_departed(&node, boot_epoch);
        }
    }

    fn is_departed(&self, node: &NodeId, boot_epoch: BootEpoch) -> bool {
        let claim = self.table.get(node).map(Entry::claim);
        claim.is_some_and(|claim| claim.boot_epoch == boot_epoch && claim.standing.is_final())
    }
}
