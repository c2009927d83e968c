//! What a node says of itself and changes while it runs.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::{NodeLifecycle, NodeMetadata, ServiceName};
use tokio::sync::oneshot;

/// What to do with labels: a value sets the label, none takes it away. Labels that are not named stay.
pub type LabelChanges = BTreeMap<String, Option<String>>;

/// Changes under way to the driver; callers beyond it wait.
pub(crate) const WAITING: usize = 16;

/// Why the node says of itself what it said before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There would be too many labels or services, a label is too long, or it would be too much in all.
    #[error("what the node says of itself would not be valid")]
    Invalid(#[source] membership::Rejected),
    /// The service has ended, or ends.
    #[error("gossip has ended")]
    Ended,
}

/// What is to change.
#[derive(Debug)]
pub(crate) enum Change {
    Labels(LabelChanges),
    Lifecycle(NodeLifecycle),
    Announce(BTreeSet<ServiceName>),
    Withdraw(BTreeSet<ServiceName>),
}

/// A change on its way to the driver.
#[derive(Debug)]
pub(crate) struct ChangeRequest {
    pub(crate) change: Change,
    /// Told once readers of the membership see it.
    pub(crate) answer: oneshot::Sender<Result<(), ChangeError>>,
}

/// Returns `metadata` with `change` made.
pub(crate) fn changed(metadata: &NodeMetadata, change: Change) -> NodeMetadata {
    let mut metadata = metadata.clone();
    match change {
        Change::Lifecycle(lifecycle) => metadata.lifecycle = lifecycle,
        Change::Announce(services) => metadata.services.extend(services),
        Change::Withdraw(services) => metadata.services.retain(|service| !services.contains(service)),
        Change::Labels(changes) => {
            for (key, value) in changes {
                match value {
                    Some(value) => drop(metadata.labels.insert(key, value)),
                    None => drop(metadata.labels.remove(&key)),
                }
            }
        }
    }
    metadata
}
