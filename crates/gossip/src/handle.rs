//! What others hold of a running service.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream;
use membership::Event;
use mesh_types::{Membership, NodeId, NodeLifecycle, ServiceName};
use peers_core::{MembershipView, Peer, PeerSource, PeerUpdate, PeerUpdates, Published, VersionFuture};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::change::{self, Change, ChangeError, ChangeRequest, LabelChanges};
use crate::events::{Events, Happened, KEPT};
use crate::user_events::{self, SendRequest, SendUserEventError};

/// What the driver publishes and everybody reads.
#[derive(Debug)]
pub(crate) struct Shared {
    membership: Published<Membership>,
    version: watch::Sender<u64>,
    /// Made for the first follower: most nodes have none.
    events: OnceLock<broadcast::Sender<Happened>>,
    /// User events have room of their own: an application that sends many takes none from the members'.
    user_events: OnceLock<broadcast::Sender<Happened>>,
    changes: mpsc::Sender<ChangeRequest>,
    sends: mpsc::Sender<SendRequest>,
    ended: CancellationToken,
}

/// What the driver alone has of what it shares.
#[derive(Debug)]
pub(crate) struct DriversShare {
    pub(crate) shared: Arc<Shared>,
    pub(crate) changes: mpsc::Receiver<ChangeRequest>,
    pub(crate) sends: mpsc::Receiver<SendRequest>,
    /// Tells the readers, once it is gone, that there will be nothing new.
    _alive: DropGuard,
}

impl Shared {
    /// Makes what is shared, for the driver.
    pub(crate) fn start(membership: Membership) -> DriversShare {
        let version = watch::Sender::new(membership.version);
        let (changes, changes_taken) = mpsc::channel(change::WAITING);
        let (sends, sends_taken) = mpsc::channel(user_events::WAITING);
        let ended = CancellationToken::new();
        let _alive = ended.clone().drop_guard();
        let membership = Published::new(membership);
        let (events, user_events) = (OnceLock::new(), OnceLock::new());
        let shared = Arc::new(Self { membership, version, events, user_events, changes, sends, ended });
        DriversShare { shared, changes: changes_taken, sends: sends_taken, _alive }
    }

    pub(crate) fn publish(&self, membership: Membership) {
        let version = membership.version;
        self.membership.publish(membership);
        self.version.send_replace(version);
    }

    pub(crate) fn current(&self) -> Arc<Membership> {
        self.membership.load()
    }

    /// Tells the followers; it costs nothing while there are none.
    pub(crate) fn tell(&self, event: &Event, at: Instant) {
        let followed = match event {
            Event::UserEvent(_) | Event::UserEventsLost { .. } => &self.user_events,
            _ => &self.events,
        };
        if let Some(events) = followed.get()
            && events.receiver_count() > 0
            && events.send(Happened { at, event: event.clone() }).is_err()
        {
            // The last follower has just gone: nobody is left to be told.
        }
    }
}

/// A view of a running service; cloning is a reference count.
///
/// It outlives the service: the last membership stays readable.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// Follows what happens to the members from now on. Read the membership after it: nothing falls between the two, and what
    /// the membership shows already may still come as an event.
    #[must_use]
    pub fn events(&self) -> Events {
        let receiver = self.shared.events.get_or_init(|| broadcast::Sender::new(KEPT)).subscribe();
        Events::new(receiver, self.shared.ended.clone())
    }

    /// Follows user events from now on, this node's own included: [`Event::UserEvent`], in the order of each origin, and
    /// [`Event::UserEventsLost`] where some did not come. They are no part of [`Handle::events`].
    #[must_use]
    pub fn user_events(&self) -> Events {
        let receiver = self.shared.user_events.get_or_init(|| broadcast::Sender::new(KEPT)).subscribe();
        Events::new(receiver, self.shared.ended.clone())
    }

    /// Sends a small message to every member, this node included, and returns its number in this life of the node, from 1. It is flooded
    /// at once and kept nowhere: who joins later does not hear of it, and nobody says that they have it. Members of builds
    /// that do not know of events are left out
    /// ([`common_features`](Membership::common_features) says whether there are any).
    ///
    /// `name` has 1 to 63 letters, digits, `.`, `_` and `-`; `payload` at most 512 bytes. A node may send 32 at once, and then 10 a
    /// second.
    ///
    /// # Errors
    /// A bound is broken, there were too many of late, or the service has ended.
    ///
    /// # Cancel safety
    /// When the future is dropped, the event is sent or not.
    pub async fn send_user_event(&self, name: &str, payload: Bytes) -> Result<u64, SendUserEventError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.shared.sends.send(SendRequest { name: name.to_owned(), payload, answer }).await;
        sent.map_err(|_request| SendUserEventError::Ended)?;
        answered.await.unwrap_or(Err(SendUserEventError::Ended))
    }

    /// Waits until the service has ended: from then on nothing changes. [`Events`] and the lists of
    /// [`PeerSource::subscribe`] end by themselves.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn ended(&self) {
        self.shared.ended.cancelled().await;
    }

    /// Changes labels of the local node and tells the mesh. When it returns, the local view shows them.
    ///
    /// # Errors
    /// The labels would break a bound of [`NodeMetadata`](mesh_types::NodeMetadata), or the service has ended; they are
    /// as they were then.
    ///
    /// # Cancel safety
    /// When the future is dropped, the change is made or not.
    pub async fn change_labels(&self, changes: LabelChanges) -> Result<(), ChangeError> {
        self.change(Change::Labels(changes)).await
    }

    /// Says what work the local node takes, and tells the mesh: others give a cordoned or draining node nothing new. When it
    /// returns, the local view shows it. A restart forgets it.
    ///
    /// # Errors
    /// The service has ended.
    ///
    /// # Cancel safety
    /// When the future is dropped, the change is made or not.
    pub async fn set_lifecycle(&self, lifecycle: NodeLifecycle) -> Result<(), ChangeError> {
        self.change(Change::Lifecycle(lifecycle)).await
    }

    /// Says that the local node takes calls for `services` at its [`rpc_endpoint`](mesh_types::NodeMetadata::rpc_endpoint) from now
    /// on, those included that it takes calls for already. When it returns, the local view shows them.
    ///
    /// # Errors
    /// There would be more than [`NodeMetadata::MAX_SERVICES`](mesh_types::NodeMetadata::MAX_SERVICES), or the service has ended; then
    /// none of them is announced.
    ///
    /// # Cancel safety
    /// When the future is dropped, the change is made or not.
    pub async fn announce(&self, services: BTreeSet<ServiceName>) -> Result<(), ChangeError> {
        self.change(Change::Announce(services)).await
    }

    /// Takes back what [`Handle::announce`] or the options have said of `services`. Calls go on coming until the others have heard.
    ///
    /// # Errors
    /// The service has ended.
    ///
    /// # Cancel safety
    /// When the future is dropped, the change is made or not.
    pub async fn withdraw(&self, services: BTreeSet<ServiceName>) -> Result<(), ChangeError> {
        self.change(Change::Withdraw(services)).await
    }

    async fn change(&self, change: Change) -> Result<(), ChangeError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.shared.changes.send(ChangeRequest { change, answer }).await;
        sent.map_err(|_request| ChangeError::Ended)?;
        answered.await.unwrap_or(Err(ChangeError::Ended))
    }
}

impl MembershipView for Handle {
    fn current(&self) -> Arc<Membership> {
        self.shared.current()
    }

    fn changed(&self, seen: u64) -> VersionFuture<'_> {
        let mut version = self.shared.version.subscribe();
        Box::pin(async move {
            // The sender lives in `self.shared`, so waiting cannot fail.
            version.wait_for(|version| *version != seen).await.map_or(seen, |version| *version)
        })
    }
}

impl PeerSource for Handle {
    fn subscribe(&self) -> PeerUpdates {
        let differences = Differences {
            shared: Arc::clone(&self.shared),
            version: self.shared.version.subscribe(),
            known: None,
            ready: VecDeque::new(),
        };
        Box::pin(stream::unfold(differences, |mut differences| async move {
            let update = differences.next().await?;
            Some((update, differences))
        }))
    }
}

/// One subscriber's view of the peers, as far as it has been told.
struct Differences {
    shared: Arc<Shared>,
    version: watch::Receiver<u64>,
    known: Option<BTreeMap<NodeId, Peer>>,
    ready: VecDeque<PeerUpdate>,
}

impl Differences {
    async fn next(&mut self) -> Option<PeerUpdate> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Some(update);
            }
            if self.known.is_some() {
                let changed = tokio::select! {
                    biased;
                    // The sender lives in `self.shared`, so waiting cannot fail.
                    changed = self.version.changed() => changed.is_ok(),
                    // The last change may have come between the two.
                    () = self.shared.ended.cancelled() => self.version.has_changed().unwrap_or(false),
                };
                if !changed {
                    return None;
                }
            }
            self.version.borrow_and_update();
            self.compare();
        }
    }

    fn compare(&mut self) {
        let membership = self.shared.membership.load();
        let peers = membership.members.iter().filter(|member| member.id != membership.local);
        let peers: BTreeMap<NodeId, Peer> =
            peers.filter_map(Peer::from_member).map(|peer| (peer.id.clone(), peer)).collect();
        match &self.known {
            None => self.ready.push_back(PeerUpdate::Reset(peers.values().cloned().collect())),
            Some(known) => {
                let gone = known.keys().filter(|id| !peers.contains_key(*id));
                self.ready.extend(gone.cloned().map(PeerUpdate::Remove));
                let changed = peers.iter().filter(|(id, peer)| known.get(*id) != Some(peer));
                self.ready.extend(changed.map(|(_, peer)| PeerUpdate::Upsert(peer.clone())));
            }
        }
        self.known = Some(peers);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use mesh_types::{BootEpoch, Incarnation, Member, MemberState, MetadataVersion, NodeMetadata};

    use super::*;

    fn member(id: &str, state: MemberState) -> Result<Member, Box<dyn std::error::Error>> {
        Ok(Member {
            id: id.parse()?,
            boot_epoch: BootEpoch(1),
            incarnation: Incarnation(0),
            state,
            metadata_version: MetadataVersion(1),
            metadata: Arc::new(NodeMetadata {
                role: "worker".parse()?,
                cluster: "alpha".parse()?,
                region: "eu-1".parse()?,
                mesh_version: "1".into(),
                http3_support: true,
                endpoint: "127.0.0.1:1".parse()?,
                labels: BTreeMap::new(),
                features: mesh_types::Features::default(),
                lifecycle: NodeLifecycle::default(),
                services: BTreeSet::new(),
                rpc_endpoint: None,
            }),
            last_seen: tokio::time::Instant::now().into_std(),
            rtt: None,
        })
    }

    fn membership(version: u64, members: Vec<Member>) -> Result<Membership, Box<dyn std::error::Error>> {
        Ok(Membership { version, local: "node-a".parse()?, members })
    }

    #[tokio::test]
    async fn peers_come_as_a_reset_and_then_as_differences() -> Result<(), Box<dyn std::error::Error>> {
        let own = || member("node-a", MemberState::Alive);
        let driver = Shared::start(membership(1, vec![own()?, member("node-b", MemberState::Alive)?])?);
        let shared = Arc::clone(&driver.shared);
        let handle = Handle { shared: Arc::clone(&shared) };
        let mut updates = handle.subscribe();
        let peer = |m: Member| Peer::from_member(&m).ok_or("callable");
        let b = peer(member("node-b", MemberState::Alive)?)?;
        assert_eq!(updates.next().await, Some(PeerUpdate::Reset(vec![b])));

        // Suspicion is this node's own doubt: the peer stays. A verdict takes it away.
        let c = member("node-c", MemberState::Suspect)?;
        shared.publish(membership(2, vec![own()?, member("node-b", MemberState::Unreachable)?, c.clone()])?);
        assert_eq!(updates.next().await, Some(PeerUpdate::Remove("node-b".parse()?)));
        assert_eq!(updates.next().await, Some(PeerUpdate::Upsert(peer(c)?)));

        // What changed last is told before the end.
        shared.publish(membership(3, vec![own()?])?);
        drop(driver);
        assert_eq!(updates.next().await, Some(PeerUpdate::Remove("node-c".parse()?)));
        assert_eq!(updates.next().await, None);
        Ok(())
    }

    #[tokio::test]
    async fn user_events_have_room_of_their_own_and_who_is_behind_is_told_how_many_are_missed()
    -> Result<(), Box<dyn std::error::Error>> {
        let driver = Shared::start(membership(1, Vec::new())?);
        let handle = Handle { shared: Arc::clone(&driver.shared) };
        let (mut users, mut members) = (handle.user_events(), handle.events());
        let now = tokio::time::Instant::now().into_std();
        driver.shared.tell(&Event::Reconnected, now);
        for sequence in 1..=512 + 18 {
            let (origin, name) = ("node-b".parse()?, "tick".to_owned());
            let payload = Bytes::new();
            let event = membership::UserEvent { origin, boot_epoch: BootEpoch(1), sequence, name, payload };
            driver.shared.tell(&Event::UserEvent(event), now);
        }
        assert!(matches!(users.try_next(), Some(Err(crate::Missed { count: 18 }))));
        let next = users.try_next().ok_or("an event")??.event;
        assert!(matches!(next, Event::UserEvent(event) if event.sequence == 19));
        assert!(matches!(members.try_next().ok_or("an event")??.event, Event::Reconnected));
        assert!(members.try_next().is_none());
        Ok(())
    }

    #[tokio::test]
    async fn a_change_is_seen_from_the_version_it_left() -> Result<(), Box<dyn std::error::Error>> {
        let driver = Shared::start(membership(1, Vec::new())?);
        let handle = Handle { shared: Arc::clone(&driver.shared) };
        driver.shared.publish(membership(7, Vec::new())?);
        assert_eq!(handle.changed(1).await, 7);
        assert_eq!(handle.current().version, 7);
        Ok(())
    }
}
