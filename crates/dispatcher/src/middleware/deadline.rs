//! How long calls may take.

use std::time::Duration;

use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::handler::Handler;
use crate::late;
use crate::middleware::Around;
use crate::status::Status;

/// Gives calls a deadline and keeps it: the handler is dropped then, and the call ends as `deadline-exceeded`, in the midst of its
/// answer too.
///
/// What callers say over gRPC and HTTP is kept without it; this is for those who do not say, who say too much, and for calls that
/// begin here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// For calls whose caller does not say. Default: none.
    pub unsaid: Option<Duration>,
    /// The most that any call gets, whatever its caller says. Default: no limit. Streams are cut off by it.
    pub most: Option<Duration>,
}

impl Around for Deadlines {
    async fn around(self, mut call: Call, next: Handler) -> Result<Reply, Status> {
        let now = Instant::now();
        let after = |length: Option<Duration>| length.and_then(|length| now.checked_add(length));
        let wanted = call.deadline.or_else(|| after(self.unsaid));
        let deadline = match (wanted, after(self.most)) {
            (Some(wanted), Some(most)) => Some(wanted.min(most)),
            (one, other) => one.or(other),
        };
        call.deadline = deadline;
        let mut reply = late::within(deadline, next.oneshot(call)).await?;
        reply.messages = late::until(deadline, reply.messages);
        Ok(reply)
    }
}
