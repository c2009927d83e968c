//! The owner of a shard.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use mesh_types::NodeId;

use crate::{Chooser, Entropy, Group, PickCx, PickError, Reach, Refusal, ShardOwners};

/// The owner of the call's shard, or a replica while the owner is not usable.
///
/// It refuses when there is a newer shard map than this node's: the owner may be another by now. A call without a
/// shard is refused as one that nobody owns.
#[derive(Clone)]
pub struct ShardAware {
    owners: Arc<dyn ShardOwners>,
}

impl ShardAware {
    /// Makes the chooser that asks `owners`.
    #[must_use]
    pub fn new(owners: Arc<dyn ShardOwners>) -> Self {
        Self { owners }
    }
}

impl fmt::Debug for ShardAware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardAware").finish_non_exhaustive()
    }
}

impl Chooser for ShardAware {
    fn name(&self) -> &'static str {
        "shard"
    }

    fn reach(&self) -> Reach {
        Reach::Chosen
    }

    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        let version = self.owners.version();
        if version.held < version.newest {
            let outdated = PickError::ShardMapOutdated { held: version.held, newest: version.newest };
            return Err(Refusal::Final(outdated));
        }
        let mut is_owned = false;
        let mut chosen = None;
        let mut consider = |id: &NodeId| {
            is_owned = true;
            chosen = group.position(id).filter(|index| group.pending(*index, cx, entropy).is_some());
            if chosen.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if let Some(shard) = cx.shard {
            self.owners.visit(shard, &mut consider);
        }
        match chosen {
            Some(index) => Ok(index),
            None if is_owned => Err(Refusal::Exhausted),
            None => Err(Refusal::Final(PickError::ShardUnowned)),
        }
    }
}
