//! Calls that go to somebody else, too.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::handler::Handler;
use crate::late;
use crate::messages::Messages;
use crate::middleware::Around;
use crate::status::Status;

/// Sends a copy of calls to a shadow, whose answers nobody sees: to try a new version on real calls.
///
/// The caller's answer never waits for it. Only calls of one message are copied. With the last clone, the copies
/// under way are given up. Counted by `omnirelay_rpc_shadow_total`.
#[derive(Clone)]
pub struct Tee {
    shared: Arc<Shared>,
}

/// Bounds of a [`Tee`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeeOptions {
    /// Of how many calls one is copied. Default 1: all.
    pub one_in: u32,
    /// Copies that are under way at a time. Default 64; calls beyond are not copied.
    pub running_max: usize,
    /// Longest that a copy takes. Default 5 s.
    pub timeout: Duration,
}

struct Shared {
    shadow: Handler,
    options: TeeOptions,
    copies: Mutex<Copies>,
}

#[derive(Default)]
struct Copies {
    running: JoinSet<()>,
    /// Calls since the last copy.
    passed: u32,
}

impl Default for TeeOptions {
    fn default() -> Self {
        Self { one_in: 1, running_max: 64, timeout: Duration::from_secs(5) }
    }
}

impl Tee {
    /// Makes a layer that copies calls to `shadow`.
    #[must_use]
    pub fn new(shadow: Handler, options: TeeOptions) -> Self {
        Self { shared: Arc::new(Shared { shadow, options, copies: Mutex::default() }) }
    }

    /// Begins a copy of `call`, if it is its turn and there is room.
    fn copy(&self, call: &Call, message: &Bytes) {
        let Shared { shadow, options, copies } = &*self.shared;
        let mut copies = copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.passed += 1;
        if copies.passed < options.one_in {
            return;
        }
        copies.passed = 0;
        while let Some(ended) = copies.running.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "the copy of a call failed");
            }
        }
        if copies.running.len() >= options.running_max {
            counted("dropped");
            return;
        }
        let mut copy = Call::new(call.procedure.clone(), call.shape, Messages::one(message.clone()));
        (copy.meta, copy.deadline) = (call.meta.clone(), call.deadline);
        let (shadow, longest) = (shadow.clone(), options.timeout);
        copies.running.spawn(async move {
            counted(match timeout(longest, shadow.oneshot(copy)).await {
                Ok(Ok(_reply)) => "answered",
                Ok(Err(_)) | Err(_) => "failed",
            });
        });
    }
}

fn counted(outcome: &'static str) {
    metrics::counter!("omnirelay_rpc_shadow_total", "rpc_outcome" => outcome).increment(1);
}

impl Around for Tee {
    async fn around(self, mut call: Call, next: Handler) -> Result<Reply, Status> {
        if !call.shape.streams_requests() {
            let message = late::within(call.deadline, mem::take(&mut call.messages).only()).await?;
            self.copy(&call, &message);
            call.messages = Messages::one(message);
        }
        next.oneshot(call).await
    }
}

impl fmt::Debug for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tee").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
