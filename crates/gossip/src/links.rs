//! The connection cache: at most one link a member, a bounded number in all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use mesh_types::{BootEpoch, NodeId};
use quinn::{Connection, SendDatagramError};
use tokio::sync::mpsc;

use crate::close::{Close, close};
use crate::observe;

/// A link in use.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) streams: mpsc::Sender<Bytes>,
    /// Who dialled it.
    pub(crate) dialler: NodeId,
    /// The member's life when it said hello.
    pub(crate) boot_epoch: BootEpoch,
    pub(crate) last_used: Instant,
}

impl Link {
    /// Sends a datagram; one that does not fit goes over a stream.
    pub(crate) fn send_datagram(&self, bytes: Bytes) {
        match self.connection.send_datagram(bytes.clone()) {
            Ok(()) => observe::sent(true),
            Err(SendDatagramError::TooLarge) => self.send_stream(bytes),
            Err(
                SendDatagramError::UnsupportedByPeer
                | SendDatagramError::Disabled
                | SendDatagramError::ConnectionLost(_),
            ) => observe::sent(false),
        }
    }

    /// Queues a message for a stream of its own; the link's task counts how that goes.
    pub(crate) fn send_stream(&self, bytes: Bytes) {
        if self.streams.try_send(bytes).is_err() {
            observe::dropped("streams");
            observe::sent(false);
        }
    }
}

/// All links in use, by member.
#[derive(Debug)]
pub(crate) struct Links {
    local: NodeId,
    limit: usize,
    by_peer: BTreeMap<NodeId, Link>,
}

impl Links {
    pub(crate) const fn new(local: NodeId, limit: usize) -> Self {
        Self { local, limit, by_peer: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_peer.len()
    }

    pub(crate) fn get_mut(&mut self, peer: &NodeId) -> Option<&mut Link> {
        self.by_peer.get_mut(peer)
    }

    pub(crate) fn contains(&self, peer: &NodeId) -> bool {
        self.by_peer.contains_key(peer)
    }

    /// Adds a link. When both sides dialled at once, both keep the one that the smaller name dialled; the other is
    /// returned, to be closed once what is under way on it has arrived; dropping it closes it at once. A link of a newer
    /// life always wins.
    pub(crate) fn insert(&mut self, peer: NodeId, link: Link) -> Option<Link> {
        let Some(kept) = self.by_peer.get_mut(&peer) else {
            self.by_peer.insert(peer, link);
            return None;
        };
        let preferred = (&self.local).min(&peer);
        let keeps_old = kept.connection.close_reason().is_none()
            && kept.boot_epoch >= link.boot_epoch
            && kept.dialler == *preferred
            && link.dialler != *preferred;
        Some(if keeps_old { link } else { std::mem::replace(kept, link) })
    }

    /// Closes the least used links over the limit, but none of `needed`.
    pub(crate) fn trim(&mut self, needed: &BTreeSet<NodeId>) {
        while self.by_peer.len() > self.limit {
            let spare = self.by_peer.iter().filter(|(peer, _)| !needed.contains(*peer));
            let Some(peer) = spare.min_by_key(|(_, link)| link.last_used).map(|(peer, _)| peer.clone()) else {
                return;
            };
            self.close(&peer, Close::Unused);
        }
    }

    pub(crate) fn close(&mut self, peer: &NodeId, why: Close) {
        if let Some(link) = self.by_peer.remove(peer) {
            close(&link.connection, why, "");
        }
    }

    /// Forgets a link whose connection is gone, unless another has taken its place.
    pub(crate) fn forget(&mut self, peer: &NodeId, connection: usize) {
        if self.by_peer.get(peer).is_some_and(|link| link.connection.stable_id() == connection) {
            self.by_peer.remove(peer);
        }
    }

    /// Gives up all links: each closes once what is queued on it has arrived.
    pub(crate) fn release_all(&mut self) {
        self.by_peer.clear();
    }
}
