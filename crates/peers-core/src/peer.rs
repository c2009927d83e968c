//! A callable member, as choosers see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_types::{
    BootEpoch, Endpoint, Member, MemberState, Membership, MetadataVersion, NodeId, NodeLifecycle, NodeMetadata,
};

use crate::labels::{LabelError, Labelled};

/// A member that can be called, with everything a chooser may ask about it.
///
/// One node is one peer, however many endpoints it has. See [`Peer::from_member`] for where the fields come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub id: NodeId,
    /// Which life of it: a peer of another generation is another process.
    pub generation: BootEpoch,
    /// Version of [`Peer::metadata`] within the generation.
    pub metadata_version: MetadataVersion,
    /// What it says of itself.
    pub metadata: Arc<NodeMetadata>,
    /// Where it can be called, the best first; never empty.
    pub endpoints: Vec<PeerEndpoint>,
    /// Failure domain within the region, if it names one.
    pub zone: Option<Arc<str>>,
    /// What is said about HTTP/3, before any call.
    pub http3: Http3Hint,
    /// What the evidence says, the calls' own outcomes aside.
    pub health: Health,
    /// Share of the traffic in relation to others; the usual one is [`Peer::DEFAULT_WEIGHT`], 0 gets none from
    /// choosers that weigh.
    pub weight: u16,
    /// Order of failover: a tier is used when no lower one has a usable peer.
    pub tier: u8,
    /// Small stable number given by the leader; without one, subsets are drawn by hash.
    pub slot: Option<u32>,
    /// Where it stands between start and stop.
    pub lifecycle: Lifecycle,
    /// Whether an operator wants no new work on it.
    pub cordoned: bool,
    /// Shards it owns.
    pub shards: ShardsOwned,
    /// Labels with their keys in lower case. Of keys that differ in case only, the last in byte order counts.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Labels of the convention that could not be read; their fields have the default.
    pub flaws: Vec<LabelError>,
}

/// One address of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerEndpoint {
    /// Where it listens.
    pub address: Endpoint,
    /// What it speaks there.
    pub protocols: Protocols,
}

/// HTTP versions that an endpoint says it speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Protocols(u8);

/// One HTTP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

/// What is said about a peer's HTTP/3, before any call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Http3Hint {
    /// The peer does not advertise it.
    Absent,
    /// The peer advertises it.
    Advertised,
    /// An operator says that it works; neither advertisement nor calls change that.
    ForcedOn,
    /// An operator says not to use it; neither advertisement nor calls change that.
    ForcedOff,
}

/// What the evidence says about a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nothing is known, which is no reason to avoid it.
    #[default]
    Unknown,
    /// It is well.
    Healthy,
    /// There are doubts: it is used when too few others are left.
    Degraded,
    /// It is not to be called unless panic says that the evidence must be wrong.
    Unhealthy,
}

/// Where a peer stands between start and stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// It has just started: it gets its share little by little.
    Joining,
    /// It works.
    #[default]
    Active,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It is gone.
    Left,
}

/// The shards of one peer at one version of the shard map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardsOwned {
    /// Version of the map this was read from; 0 before any.
    pub map_version: u64,
    /// Names of the shards, `namespace/shard`, sorted.
    pub owned: Arc<[Arc<str>]>,
}

impl Peer {
    /// Weight of a peer that says nothing about it.
    pub const DEFAULT_WEIGHT: u16 = 100;

    /// Label that follows each scope of a leader; its value is `leader` or `follower`.
    pub const LEADER_LABEL_PREFIX: &str = "mesh.leader.scope.";

    /// Returns the peer that `member` is, or `None` if it must not be called: unreachable, dead or gone.
    ///
    /// Labels named `peer.*` fill the fields (see docs/peers.md); one that cannot be read leaves the default and is
    /// listed in [`Peer::flaws`]. A suspected member is [`Health::Degraded`]: the suspicion is this node's alone.
    ///
    /// Of what a member's lifecycle and its labels say about new work, that counts which asks for less.
    #[must_use]
    pub fn from_member(member: &Member) -> Option<Self> {
        let health = match member.state {
            MemberState::Alive => Health::Healthy,
            MemberState::Suspect => Health::Degraded,
            MemberState::Unreachable | MemberState::Dead | MemberState::Left => return None,
        };
        let metadata = Arc::clone(&member.metadata);
        let Labelled { labels, endpoints, zone, weight, tier, slot, lifecycle, cordoned, flaws } =
            Labelled::read(&metadata);
        let (lifecycle, cordoned) = match metadata.lifecycle {
            NodeLifecycle::Active => (lifecycle, cordoned),
            NodeLifecycle::Cordoned => (lifecycle, true),
            NodeLifecycle::Draining if lifecycle == Lifecycle::Left => (lifecycle, cordoned),
            NodeLifecycle::Draining => (Lifecycle::Draining, cordoned),
        };
        Some(Self {
            id: member.id.clone(),
            generation: member.boot_epoch,
            metadata_version: member.metadata_version,
            http3: if metadata.http3_support { Http3Hint::Advertised } else { Http3Hint::Absent },
            metadata,
            endpoints,
            zone,
            health,
            weight,
            tier,
            slot,
            lifecycle,
            cordoned,
            shards: ShardsOwned::default(),
            labels: Arc::new(labels),
            flaws,
        })
    }

    /// Returns the callable members of `membership` but the local one, by ascending id.
    #[must_use]
    pub fn from_membership(membership: &Membership) -> Vec<Self> {
        let others = membership.members.iter().filter(|member| member.id != membership.local);
        others.filter_map(Self::from_member).collect()
    }

    /// Labels each of `peers` with whether it leads `scope`.
    pub fn label_leader(peers: &mut [Self], scope: &str, leader: Option<&NodeId>) {
        let key = format!("{}{}", Self::LEADER_LABEL_PREFIX, scope.to_lowercase());
        for peer in peers {
            let word = if leader == Some(&peer.id) { "leader" } else { "follower" };
            Arc::make_mut(&mut peer.labels).insert(key.clone(), word.to_owned());
        }
    }

    /// Returns where the peer's gossip listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.metadata.endpoint
    }

    /// Returns the label `key`, whatever its case.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(&key.to_lowercase()).map(String::as_str)
    }

    /// Returns whether the peer takes new work at all, whatever its health.
    #[must_use]
    pub const fn takes_work(&self) -> bool {
        !self.cordoned && matches!(self.lifecycle, Lifecycle::Joining | Lifecycle::Active)
    }
}

impl Protocols {
    /// Returns the set with `protocol` in it.
    #[must_use]
    pub const fn with(self, protocol: Protocol) -> Self {
        Self(self.0 | 1 << protocol as u8)
    }

    /// Returns whether `protocol` is spoken.
    #[must_use]
    pub const fn contains(self, protocol: Protocol) -> bool {
        self.0 & (1 << protocol as u8) != 0
    }
}

/// One step of a peer list that is kept up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerUpdate {
    /// This is the whole list: forget the rest.
    Reset(Vec<Peer>),
    /// A peer came, or something about it changed.
    Upsert(Peer),
    /// A peer must no longer be called.
    Remove(NodeId),
}
