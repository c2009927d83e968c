//! An entry of the gossip table, and the table as an immutable value.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{BootEpoch, Incarnation, MetadataVersion, NodeId, NodeMetadata};

/// What the mesh holds of a member's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// This node misses its answers and is asking others; nobody else is told.
    Suspect,
    /// A quorum of members gets no answer: it is no longer routed to, and may still come back.
    Unreachable,
    /// It stayed unreachable: only its own denial, or a new life of it, brings it back.
    Dead,
    /// It said goodbye: final for this life of the node.
    Left,
}

/// One member, as the local node knows it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who it is.
    pub id: NodeId,
    /// Which life of it.
    pub boot_epoch: BootEpoch,
    /// Its refutation counter.
    pub incarnation: Incarnation,
    /// Whether it lives.
    pub state: MemberState,
    /// Version of [`Member::metadata`].
    pub metadata_version: MetadataVersion,
    /// What it says of itself.
    pub metadata: Arc<NodeMetadata>,
    /// When this node last had a sign of life: a message from the member itself, or news of a
    /// newer incarnation or record of it. On this node's monotonic clock.
    pub last_seen: Instant,
    /// Smoothed round trip of probes to it; `None` until this node has probed it.
    pub rtt: Option<Duration>,
}

/// All members at one moment: immutable, shared, replaced as a whole.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Counts the changes on this node; equal versions are the same value.
    pub version: u64,
    /// The node whose view this is.
    pub local: NodeId,
    /// All members, the local one included, by ascending id.
    pub members: Vec<Member>,
}

impl Membership {
    /// Returns the member of that name.
    #[must_use]
    pub fn get(&self, id: &NodeId) -> Option<&Member> {
        let index = self.members.binary_search_by(|member| member.id.cmp(id)).ok()?;
        self.members.get(index)
    }

    /// Returns how many members are in `state`.
    #[must_use]
    pub fn count(&self, state: MemberState) -> usize {
        self.members.iter().filter(|member| member.state == state).count()
    }
}
