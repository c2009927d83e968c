//! What a node does when others speak of it, and how it goes.

use std::sync::Arc;
use std::time::Instant;

use mesh_types::{BootEpoch, Incarnation, MetadataVersion, NodeId, NodeMetadata};

use crate::claim::{Claim, Standing};
use crate::class::Class;
use crate::core::{Core, Phase};
use crate::event::Event;
use crate::exchange::Channel;
use crate::record::Record;
use crate::wire::{self, Rejected, Update};

impl Core {
    /// Puts what the local node says of itself into the table, and passes it on.
    pub(crate) fn publish_self(&mut self, class: Class, now: Instant) {
        let own = self.own_update();
        // It is valid, being made here; and it is never refused for want of room, being the first.
        if self.table.merge(own, now).is_ok() {
            self.table.set_said_at(&self.local, Some(now));
            self.changed_at = now;
            self.touch();
        }
        let local = self.local.clone();
        self.enqueue(&local, None, class, now);
    }

    /// Answers what somebody else says of this node.
    pub(crate) fn consider_self(&mut self, said: &Update, now: Instant) {
        let Claim { boot_epoch, incarnation, standing } = said.claim;
        if boot_epoch < self.own.boot_epoch || self.phase == Phase::Stopped {
            return;
        }
        if boot_epoch > self.own.boot_epoch {
            self.meet_other_life(said, now);
        } else if standing.is_final() && incarnation >= self.own.incarnation {
            // Dead stays dead: only a new life is believed.
            self.rejoin(boot_epoch.next(), now);
        } else if said.claim > self.own {
            self.own.incarnation = Incarnation(incarnation.0.max(self.own.incarnation.0)).next();
            self.publish_self(Class::Verdict, now);
            self.health.worsen(1);
            self.emit(Event::Refuted { incarnation: self.own.incarnation.0 });
        } else if said.metadata_version > self.own_version {
            self.own_version = said.metadata_version.next();
            self.publish_self(Class::Metadata, now);
        }
    }

    /// A later life of this node is known. While joining, and at the same address, it is a memory of an earlier run
    /// whose number was higher. Otherwise another process has taken over, and this one is the past.
    fn meet_other_life(&mut self, said: &Update, now: Instant) {
        let elsewhere = Record::decode(&said.record, &self.own_record.metadata)
            .ok()
            .map(|record| record.metadata.endpoint.clone())
            .filter(|endpoint| *endpoint != self.own_record.metadata.endpoint);
        match elsewhere {
            Some(endpoint) if self.phase == Phase::Running && !said.claim.standing.is_final() => {
                self.phase = Phase::Stopped;
                self.emit(Event::Superseded { endpoint });
            }
            _ => self.rejoin(said.claim.boot_epoch.next(), now),
        }
    }

    /// Comes back in a new life.
    pub(crate) fn rejoin(&mut self, boot_epoch: BootEpoch, now: Instant) {
        self.own = Claim { boot_epoch, incarnation: Incarnation(0), standing: Standing::Alive };
        self.own_version = MetadataVersion(1);
        self.publish_self(Class::Membership, now);
        self.emit(Event::Rejoined { boot_epoch });
    }

    pub(crate) fn set_metadata(&mut self, metadata: NodeMetadata, now: Instant) -> Result<(), Rejected> {
        if metadata == *self.own_record.metadata {
            return Ok(());
        }
        let own = &self.own_record.metadata.cluster;
        if metadata.cluster != *own {
            return Err(Rejected::OwnCluster { given: metadata.cluster, own: own.clone() });
        }
        let record = Record::encode(Arc::new(metadata)).map_err(|source| Rejected::OwnMetadata { source })?;
        self.own_record = record;
        self.own_version = self.own_version.next();
        self.publish_self(Class::Metadata, now);
        Ok(())
    }

    /// Says goodbye to every link over reliable streams, and falls silent.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.own.standing = Standing::Left;
        let farewell = self.own_update();
        if self.table.merge(farewell.clone(), now).is_ok() {
            self.touch();
        }
        let links: Vec<NodeId> = self.links.iter().cloned().collect();
        for link in links {
            self.send_updates(&link, vec![wire::encode_update(&farewell)], Channel::Stream);
        }
        if let Some(member) = self.member(&self.local) {
            self.emit(Event::Left(member));
        }
        self.phase = Phase::Stopped;
    }
}
