//! The connection cache: at most one link a member, a bounded number in all.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use identity::{Credentials, PeerRefused, Side};
use mesh_types::NodeId;
use quinn::{Connection, SendDatagramError};
use tokio::sync::mpsc;

use crate::close::{Close, close};
use crate::link::{Began, NewLink, chain_of};
use crate::observe;
use crate::terms::Terms;

/// A link in use.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) streams: mpsc::Sender<Bytes>,
    /// Who dialled it.
    pub(crate) dialler: NodeId,
    /// What the member said of it.
    pub(crate) terms: Terms,
    /// How many certificates this node had shown before, when it began.
    pub(crate) own_generation: u64,
    /// Which side the member is on.
    pub(crate) side: Side,
    /// When the member's certificate runs out; unset if that cannot be read.
    pub(crate) expires: Option<SystemTime>,
    pub(crate) last_used: Instant,
    /// When the member was last asked for revocation lists.
    pub(crate) asked_at: Option<Instant>,
}

/// A member whose link must not go on.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) address: SocketAddr,
    pub(crate) error: PeerRefused,
}

/// What of a member is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recheck {
    /// All that a handshake would look at.
    Everything,
    /// Whether it has been revoked.
    Revocation,
}

impl Link {
    /// Makes a link of a connection that `dialler` has made.
    pub(crate) fn new(new: NewLink, dialler: NodeId, side: Side, terms: Terms, now: Instant) -> Self {
        let NewLink { connection, streams, began: Began { tls, .. }, .. } = new;
        let expires = tls.credentials.peer_not_after(&chain_of(&connection));
        let own_generation = tls.generation;
        Self { connection, streams, dialler, terms, own_generation, side, expires, last_used: now, asked_at: None }
    }

    /// How many certificates both sides had shown before, together: the same number on both sides.
    const fn generations(&self) -> u64 {
        self.own_generation.saturating_add(self.terms.generation)
    }

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

    /// Adds a link. Where there are two, the one with the newer certificates is kept: both sides know how many each has shown.
    /// When both dialled at once, both keep the one that the smaller name dialled. The other is returned, to be closed once what
    /// is under way on it has arrived; dropping it closes it at once. A link of another life always wins.
    pub(crate) fn insert(&mut self, peer: NodeId, link: Link) -> Option<Link> {
        let Some(kept) = self.by_peer.get_mut(&peer) else {
            self.by_peer.insert(peer, link);
            return None;
        };
        let preferred = (&self.local).min(&peer);
        let is_preferred = kept.dialler == *preferred && link.dialler != *preferred;
        let keeps_old = kept.connection.close_reason().is_none()
            && kept.terms.boot_epoch == link.terms.boot_epoch
            && match kept.generations().cmp(&link.generations()) {
                Ordering::Less => false,
                Ordering::Equal => is_preferred,
                Ordering::Greater => true,
            };
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

    /// Returns the members in turn.
    pub(crate) fn nth(&self, turn: u64) -> Option<NodeId> {
        let count = u64::try_from(self.by_peer.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(turn.checked_rem(count)?).unwrap_or_default();
        self.by_peer.keys().nth(index).cloned()
    }

    /// Returns the members to which this node has shown an older certificate.
    pub(crate) fn with_generation_below(&self, generation: u64) -> Vec<NodeId> {
        let older = self.by_peer.iter().filter(|(_, link)| link.own_generation < generation);
        older.map(|(peer, _)| peer.clone()).collect()
    }

    /// Returns the members that would not be let in now, among those for whose certificate's end `may_have` holds.
    pub(crate) fn refused(
        &self,
        credentials: &Credentials,
        now: SystemTime,
        recheck: Recheck,
        may_have: impl Fn(Option<SystemTime>) -> bool,
    ) -> Vec<(NodeId, Refused)> {
        let suspects = self.by_peer.iter().filter(|(_, link)| may_have(link.expires));
        let check = |(peer, link): (&NodeId, &Link)| {
            let chain = chain_of(&link.connection);
            let checked = match recheck {
                Recheck::Everything => credentials.recheck(link.side, &chain, now).map(|_id| ()),
                Recheck::Revocation => credentials.recheck_revocation(&chain, now),
            };
            let error = checked.err()?;
            Some((peer.clone(), Refused { address: link.connection.remote_address(), error }))
        };
        suspects.filter_map(check).collect()
    }

    /// Shows how many links this node began with its current certificate, and how many with an older one.
    pub(crate) fn report(&self, generation: u64) {
        let older = self.with_generation_below(generation).len();
        observe::links_by_generation(self.by_peer.len() - older, older);
    }

    /// Gives up all links: each closes once what is queued on it has arrived.
    pub(crate) fn release_all(&mut self) {
        self.by_peer.clear();
    }
}
