//! Between the control endpoint and what it changes while the node runs: what the node says of itself, logs and traces.

use std::sync::Arc;

use control_api::{ChangeLabels, ChangeLifecycle, LabelsRefused, LifecycleRefused, Toggle};
use gossip::ChangeError;
use telemetry::{LogFilter, SampleRatio};

use crate::chain::Chain;

/// Returns what the control endpoint changes labels with.
pub(crate) fn change_labels(handle: gossip::Handle) -> Arc<ChangeLabels> {
    Arc::new(move |changes| {
        let handle = handle.clone();
        Box::pin(async move { handle.change_labels(changes).await.map_err(|error| refused(&error)) })
    })
}

/// Returns what tells the mesh of the lifecycle.
pub(crate) fn change_lifecycle(handle: gossip::Handle) -> Arc<ChangeLifecycle> {
    Arc::new(move |lifecycle| {
        let handle = handle.clone();
        Box::pin(async move {
            let changed = handle.set_lifecycle(lifecycle).await;
            changed.map_err(|error| match &error {
                ChangeError::Ended => LifecycleRefused::Ending,
                _ => LifecycleRefused::Invalid { reason: Chain(&error).to_string() },
            })
        })
    })
}

/// Returns what the control endpoint changes the log filter with.
pub(crate) fn log_filter(filter: &LogFilter) -> Toggle<String> {
    let (read, changed) = (filter.clone(), filter.clone());
    Toggle::new(move || read.get(), move |wanted| changed.set(&wanted).map_err(|error| Chain(&error).to_string()))
}

/// Returns what the control endpoint changes the sampling of traces with.
pub(crate) fn sample_ratio(ratio: &SampleRatio) -> Toggle<f64> {
    let (read, changed) = (ratio.clone(), ratio.clone());
    Toggle::new(move || read.get(), move |wanted| changed.set(wanted).map_err(|error| error.to_string()))
}

fn refused(error: &ChangeError) -> LabelsRefused {
    match error {
        ChangeError::Ended => LabelsRefused::Ending,
        _ => LabelsRefused::Invalid { reason: Chain(error).to_string() },
    }
}
