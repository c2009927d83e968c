//! What is said of a member's life, and which of two sayings counts.

use mesh_types::{BootEpoch, Incarnation};

/// State of a member as the mesh agrees on it; suspicion is local and not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Standing {
    Alive,
    Unreachable,
    Dead,
    Left,
}

impl Standing {
    /// Whether the member is gone for the rest of its boot epoch.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Self::Dead | Self::Left)
    }
}

/// A saying about a member. The greater of two counts, by the order of the fields: so merging is commutative,
/// associative and idempotent, and the dead stay dead, because only the member itself raises its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    pub(crate) boot_epoch: BootEpoch,
    pub(crate) incarnation: Incarnation,
    pub(crate) standing: Standing,
}
