//! A callable member.

use std::sync::Arc;

use mesh_types::{BootEpoch, Endpoint, Member, MemberState, MetadataVersion, NodeId, NodeMetadata};

/// A member that can be called: alive, or suspected by this node alone.
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
}

impl Peer {
    /// Returns the peer that `member` is, or `None` if it must not be called: unreachable, dead or gone.
    #[must_use]
    pub fn from_member(member: &Member) -> Option<Self> {
        match member.state {
            MemberState::Alive | MemberState::Suspect => Some(Self {
                id: member.id.clone(),
                generation: member.boot_epoch,
                metadata_version: member.metadata_version,
                metadata: Arc::clone(&member.metadata),
            }),
            MemberState::Unreachable | MemberState::Dead | MemberState::Left => None,
        }
    }

    /// Returns where the peer's gossip listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.metadata.endpoint
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
