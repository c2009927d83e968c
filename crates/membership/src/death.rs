//! What becomes of a verdict that nobody denies: the member is dead.

use std::time::Instant;

use mesh_types::{BootEpoch, Incarnation, NodeId};
use rand::RngExt;

use crate::claim::{Claim, Standing};
use crate::core::{Core, Timer};

impl Core {
    /// This node's own verdict: it follows up.
    ///
    /// What a verdict was late is taken off the time to deny it, but not more than half.
    pub(crate) fn follow_up(&mut self, subject: &NodeId, claim: Claim, first_missed: Instant, now: Instant) {
        let dead_after = self.options.dead_after();
        let at = (first_missed + self.options.grace() + dead_after).max(now + dead_after / 2);
        self.doom(subject, claim, at);
    }

    /// Somebody else's verdict: if its author does not follow up, this node will.
    pub(crate) fn expect_death(&mut self, subject: &NodeId, claim: Claim, now: Instant) {
        let is_doomed = self.dooms.get(subject).is_some_and(|(_, doomed)| *doomed == claim);
        if !is_doomed {
            let after = self.options.dead_after().mul_f64(self.rng.random_range(1.4..1.6));
            self.doom(subject, claim, now + after);
        }
    }

    /// Sets the date of a death, in place of an earlier one: a member that is declared again and again has one timer.
    fn doom(&mut self, subject: &NodeId, claim: Claim, at: Instant) {
        self.spare(subject);
        self.dooms.insert(subject.clone(), (at, claim));
        self.schedule(at, death(subject, claim));
    }

    /// Takes back the date of a death.
    pub(crate) fn spare(&mut self, subject: &NodeId) {
        if let Some((at, claim)) = self.dooms.remove(subject) {
            self.timers.remove(&(at, death(subject, claim)));
        }
    }

    pub(crate) fn on_death_due(
        &mut self,
        subject: &NodeId,
        boot_epoch: BootEpoch,
        incarnation: Incarnation,
        now: Instant,
    ) {
        let doomed = Claim { boot_epoch, incarnation, standing: Standing::Unreachable };
        self.dooms.remove(subject);
        let Some(entry) = self.table.get(subject).filter(|entry| entry.claim() == doomed) else { return };
        let witnesses = entry.witnesses().to_vec();
        self.declare(subject, Claim { standing: Standing::Dead, ..doomed }, witnesses, now);
    }
}

fn death(subject: &NodeId, claim: Claim) -> Timer {
    Timer::Death(subject.clone(), claim.boot_epoch, claim.incarnation)
}
