//! What the crates do together: real nodes of a mesh, asked at their control endpoints.

mod control;
mod metrics;
mod peers;

use std::time::Duration;

/// What ends a test early.
type Failure = Box<dyn std::error::Error>;

/// Longer than anything here may take, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(20);
