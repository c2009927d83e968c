//! Between the control endpoint and gossip: what this node says of itself and changes while it runs.

use std::sync::Arc;

use control_api::{ChangeLabels, ChangeLifecycle, LabelsRefused, LifecycleRefused, Readiness};
use gossip::ChangeError;
use mesh_types::NodeLifecycle;

use crate::chain::Chain;

/// Returns what the control endpoint changes labels with.
pub(crate) fn change_labels(handle: gossip::Handle) -> Arc<ChangeLabels> {
    Arc::new(move |changes| {
        let handle = handle.clone();
        Box::pin(async move { handle.change_labels(changes).await.map_err(|error| refused(&error)) })
    })
}

/// Returns what the control endpoint changes the lifecycle with. A node that drains is not ready either: whoever balances load
/// by that gives it nothing new.
pub(crate) fn change_lifecycle(handle: gossip::Handle, readiness: Readiness) -> Arc<ChangeLifecycle> {
    Arc::new(move |lifecycle| {
        let (handle, readiness) = (handle.clone(), readiness.clone());
        Box::pin(async move {
            let changed = handle.set_lifecycle(lifecycle).await;
            changed.map_err(|error| match &error {
                ChangeError::Ended => LifecycleRefused::Ending,
                _ => LifecycleRefused::Invalid { reason: Chain(&error).to_string() },
            })?;
            readiness.set_draining(lifecycle == NodeLifecycle::Draining);
            Ok(())
        })
    })
}

fn refused(error: &ChangeError) -> LabelsRefused {
    match error {
        ChangeError::Ended => LabelsRefused::Ending,
        _ => LabelsRefused::Invalid { reason: Chain(error).to_string() },
    }
}
