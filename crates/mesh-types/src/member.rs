//! An entry of the gossip table, and the table as an immutable value.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{BootEpoch, Features, Incarnation, MetadataVersion, NodeId, NodeMetadata};

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

    /// Returns the features that all members have but the dead and those who said goodbye: who is merely unreachable may
    /// come back.
    #[must_use]
    pub fn common_features(&self) -> Features {
        let counted = |member: &&Member| !matches!(member.state, MemberState::Dead | MemberState::Left);
        self.members.iter().filter(counted).fold(Features::ALL, |common, member| common.and(member.metadata.features))
    }

    /// Returns how many members are in `state`.
    #[must_use]
    pub fn count(&self, state: MemberState) -> usize {
        self.members.iter().filter(|member| member.state == state).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Feature, NodeLifecycle};

    #[expect(clippy::disallowed_methods, reason = "a member carries when it was last seen; nothing here depends on it")]
    fn member(state: MemberState, features: Features) -> Result<Member, Box<dyn std::error::Error>> {
        Ok(Member {
            id: "node-a".parse()?,
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
                labels: std::collections::BTreeMap::new(),
                features,
                lifecycle: NodeLifecycle::Active,
                services: std::collections::BTreeSet::new(),
                rpc_endpoint: None,
            }),
            last_seen: Instant::now(),
            rtt: None,
        })
    }

    #[test]
    fn a_feature_is_common_once_everybody_who_may_be_called_or_come_back_has_it()
    -> Result<(), Box<dyn std::error::Error>> {
        let common = |others: &[MemberState]| -> Result<bool, Box<dyn std::error::Error>> {
            let mut members = vec![member(MemberState::Alive, Features::OF_THIS_BUILD)?];
            for state in others {
                members.push(member(*state, Features::default())?);
            }
            let membership = Membership { version: 1, local: "node-a".parse()?, members };
            Ok(membership.common_features().contains(Feature::Lifecycle))
        };
        assert!(common(&[])?);
        for state in [MemberState::Alive, MemberState::Suspect, MemberState::Unreachable] {
            assert!(!common(&[state])?, "{state:?}");
        }
        assert!(common(&[MemberState::Dead, MemberState::Left])?);
        Ok(())
    }
}
