//! Real nodes on real sockets: how they meet, part and turn strangers away.

mod binding;
mod deaths;
mod departures;
mod hellos;
mod links;
mod meeting;
mod messages;
mod raw;
mod refusal;
mod strangers;

use std::time::Duration;

/// What ends a test early.
type Failure = Box<dyn std::error::Error>;

/// Longer than anything here may take, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(20);
