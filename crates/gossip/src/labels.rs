//! Labels that change while the node runs.

use std::collections::BTreeMap;

use mesh_types::NodeMetadata;
use tokio::sync::oneshot;

/// What to do with labels: a value sets the label, none takes it away. Labels that are not named stay.
pub type LabelChanges = BTreeMap<String, Option<String>>;

/// Changes under way to the driver; callers beyond it wait.
pub(crate) const WAITING: usize = 16;

/// Why labels stayed as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeLabelsError {
    /// There would be too many, or one is too long.
    #[error("labels would not be valid")]
    Invalid(#[source] membership::Rejected),
    /// The service has ended, or ends.
    #[error("gossip has ended")]
    Ended,
}

/// A change on its way to the driver.
#[derive(Debug)]
pub(crate) struct ChangeLabels {
    pub(crate) changes: LabelChanges,
    /// Told once readers of the membership see the labels.
    pub(crate) answer: oneshot::Sender<Result<(), ChangeLabelsError>>,
}

/// Returns `metadata` with `changes` made.
pub(crate) fn changed(metadata: &NodeMetadata, changes: LabelChanges) -> NodeMetadata {
    let mut metadata = metadata.clone();
    for (key, value) in changes {
        match value {
            Some(value) => drop(metadata.labels.insert(key, value)),
            None => drop(metadata.labels.remove(&key)),
        }
    }
    metadata
}
