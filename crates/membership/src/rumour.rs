//! A death that others have declared of a member that lives as far as this node knows: passed on at once, believed a little
//! later.
//!
//! A crash comes as a verdict first, and death after it. Death out of the blue is what the halves of a partition tell each other
//! when they meet again. Were it believed at once, each half would hold its own members for dead, give up its links to
//! them and with those its overlay, just when everybody has to be told. So it is passed on to whom it is about, who
//! comes back in a new life over links that are still there.

use std::time::Instant;

use mesh_types::NodeId;

use crate::claim::Standing;
use crate::class::Class;
use crate::core::{Core, Timer};
use crate::table::Entry;
use crate::wire::Update;

impl Core {
    /// Whether an update says that a member is dead of which this node knew no ill.
    pub(crate) fn is_rumour(&self, update: &Update) -> bool {
        if update.claim.standing != Standing::Dead {
            return false;
        }
        let Some(known) = self.table.get(&update.node).map(Entry::claim) else { return false };
        known.standing == Standing::Alive
            && known.boot_epoch == update.claim.boot_epoch
            && update.claim > known
            && !self.accusations.contains_key(&update.node)
    }

    /// Passes a rumour on, unless it is known; it is believed half an interval from now.
    pub(crate) fn hear_rumour(&mut self, from: &NodeId, update: Update, said_at: Option<Instant>, now: Instant) {
        let node = update.node.clone();
        let replaced = self.table.rumour_believed_at(&node).copied();
        let believed_at = now + self.options.interval / 2;
        match self.table.hear_rumour(update, believed_at) {
            Ok(true) => {
                self.stats.news += 1;
                self.table.set_said_at(&node, said_at);
                if let Some(at) = replaced {
                    self.timers.remove(&(at, Timer::Rumour(node.clone())));
                }
                self.schedule(believed_at, Timer::Rumour(node.clone()));
                if self.links.contains(&node) {
                    self.outbox.queue_news(&node, &node, Class::Verdict, now);
                }
                self.enqueue(&node, Some(from), Class::Verdict, now);
            }
            Ok(false) => {
                self.stats.duplicates += 1;
                self.outbox.heard(from, &node);
            }
            Err(error) => self.reject_update(node.to_string(), &error),
        }
    }

    /// The member has not denied it.
    pub(crate) fn believe_rumour(&mut self, node: &NodeId, now: Instant) {
        if self.table.rumour_believed_at(node).is_none() {
            return;
        }
        let said_at = self.table.said_at(node);
        if let Some(update) = self.table.update_of(node) {
            // Everybody has been told when it was heard.
            self.learn_one(None, update, false, now);
            self.table.set_said_at(node, said_at);
        }
    }

    pub(crate) fn postpone_rumour(&mut self, node: &NodeId, until: Instant) {
        if let Some(at) = self.table.rumour_believed_at(node) {
            *at = until;
        }
    }
}
