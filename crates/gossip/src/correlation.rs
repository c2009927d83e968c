//! One name for one thing that happened, on every node that hears of it.

use std::fmt;

use mesh_types::{Member, MemberState};
use twox_hash::XxHash64;

/// Names one state of one member: nodes that report the same change of membership report it under the same name, without a word
/// about it on the wire. Written as 16 hexadecimal digits.
///
/// It is a hash (`XxHash64`) of the member's id, life, incarnation, metadata version and state, so it tells changes
/// apart, and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CorrelationId(u64);

impl CorrelationId {
    /// Returns the name of `member`'s state.
    #[must_use]
    pub fn of(member: &Member) -> Self {
        let state: u8 = match member.state {
            MemberState::Alive => 1,
            MemberState::Suspect => 2,
            MemberState::Unreachable => 3,
            MemberState::Dead => 4,
            MemberState::Left => 5,
        };
        let versions = [member.boot_epoch.0, member.incarnation.0, member.metadata_version.0];
        let numbers = versions.into_iter().flat_map(u64::to_le_bytes);
        let bytes: Vec<u8> = numbers.chain([state]).chain(member.id.as_str().bytes()).collect();
        Self(XxHash64::oneshot(0, &bytes))
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::time::Instant;

    use mesh_types::{BootEpoch, Incarnation, MetadataVersion, NodeMetadata};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a member carries when it was last seen; no name depends on it")]
    fn member(id: &str) -> Member {
        Member {
            id: id.parse().expect("valid"),
            boot_epoch: BootEpoch(7),
            incarnation: Incarnation(1),
            state: MemberState::Alive,
            metadata_version: MetadataVersion(3),
            metadata: Arc::new(NodeMetadata {
                role: "worker".parse().expect("valid"),
                cluster: "alpha".parse().expect("valid"),
                region: "eu-1".parse().expect("valid"),
                mesh_version: "1".into(),
                http3_support: true,
                endpoint: "127.0.0.1:1".parse().expect("valid"),
                labels: BTreeMap::new(),
                features: mesh_types::Features::default(),
                lifecycle: mesh_types::NodeLifecycle::default(),
                services: BTreeSet::new(),
                rpc_endpoint: None,
            }),
            last_seen: Instant::now(),
            rtt: None,
        }
    }

    #[test]
    fn nodes_name_a_change_alike_whenever_they_saw_it_and_every_change_otherwise() {
        let seen = member("node-a");
        let seen_elsewhere = Member { rtt: Some(std::time::Duration::from_millis(9)), ..member("node-a") };
        assert_eq!(CorrelationId::of(&seen), CorrelationId::of(&seen_elsewhere));
        let others = [
            member("node-b"),
            Member { boot_epoch: BootEpoch(8), ..seen.clone() },
            Member { incarnation: Incarnation(2), ..seen.clone() },
            Member { metadata_version: MetadataVersion(4), ..seen.clone() },
            Member { state: MemberState::Unreachable, ..seen.clone() },
            Member { state: MemberState::Dead, ..seen.clone() },
        ];
        let names: BTreeSet<String> =
            others.iter().chain([&seen]).map(|member| CorrelationId::of(member).to_string()).collect();
        assert_eq!(names.len(), others.len() + 1);
        assert!(names.iter().all(|name| name.len() == 16));
    }
}
