//! Between the control endpoint and gossip: labels of this node that change while it runs.

use std::sync::Arc;

use control_api::{ChangeLabels, LabelsRefused};
use gossip::ChangeLabelsError;

use crate::chain::Chain;

/// Returns what the control endpoint changes labels with.
pub(crate) fn change_labels(handle: gossip::Handle) -> Arc<ChangeLabels> {
    Arc::new(move |changes| {
        let handle = handle.clone();
        Box::pin(async move { handle.change_labels(changes).await.map_err(|error| refused(&error)) })
    })
}

fn refused(error: &ChangeLabelsError) -> LabelsRefused {
    match error {
        ChangeLabelsError::Ended => LabelsRefused::Ending,
        _ => LabelsRefused::Invalid { reason: Chain(error).to_string() },
    }
}
