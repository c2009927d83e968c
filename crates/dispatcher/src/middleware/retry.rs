//! Calls that are made again.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use grpc_client_factory::{Idempotent, Pushback, RetryBudget, RetryOptions};
use peers_core::Entropy;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::handler::Handler;
use crate::header;
use crate::late;
use crate::messages::Messages;
use crate::middleware::Around;
use crate::status::Status;

/// Makes calls on their way out again that have failed before their answer began, as [`RetryOptions`] say, within a budget that all
/// of them share.
///
/// Only calls of one message are made again, and none whose deadline would pass in the wait. What nobody has begun to
/// answer is made again whatever its status. Put it before other middleware that is to see each attempt.
#[derive(Clone)]
pub struct Retry {
    shared: Arc<Shared>,
}

struct Shared {
    options: RetryOptions,
    budget: RetryBudget,
    entropy: Mutex<Entropy>,
}

impl Retry {
    /// Makes a layer whose calls share a budget.
    #[must_use]
    pub fn new(options: RetryOptions) -> Self {
        let budget = RetryBudget::new(&options);
        // Chance spreads retries here; it protects nothing.
        let entropy = Mutex::new(Entropy::seeded(RandomState::new().hash_one(0)));
        Self { shared: Arc::new(Shared { options, budget, entropy }) }
    }

    /// Returns when a call is made again that has failed for the `attempts`th time.
    fn again(&self, attempts: u32, status: &Status, call: &Call) -> Option<Instant> {
        let Shared { options, budget, entropy } = &*self.shared;
        let random = entropy.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        let is_idempotent = call.meta.is_idempotent || call.extensions.get::<Idempotent>().is_some();
        let most =
            if is_idempotent { options.max_attempts.max(options.idempotent_attempts) } else { options.max_attempts };
        let told = status.metadata().get("grpc-retry-pushback-ms").map(http::HeaderValue::as_bytes);
        let is_unprocessed = status.metadata().contains_key(header::NOT_PROCESSED);
        let code = options.codes.first().copied().filter(|_| is_unprocessed).unwrap_or_else(|| status.code());
        let wait = options.next(budget, (attempts, most), code, Pushback::read(told), random);
        if wait.is_none() && attempts >= most && options.codes.contains(&code) {
            metrics::counter!("omnirelay_retry_exhausted_total").increment(1);
        }
        let at = Instant::now() + wait?.min(Duration::from_secs(60));
        call.deadline.is_none_or(|deadline| at < deadline).then_some(at)
    }
}

/// A call that can be made several times.
struct Again {
    call: Call,
    message: Bytes,
}

impl Again {
    /// Waits until the message of `call` is there.
    async fn of(mut call: Call) -> Result<Self, Status> {
        let messages = mem::take(&mut call.messages);
        let message = late::within(call.deadline, messages.only()).await?;
        Ok(Self { call, message })
    }

    fn attempt(&self) -> Call {
        let Call { procedure, shape, meta, deadline, extensions, .. } = &self.call;
        Call {
            procedure: procedure.clone(),
            shape: *shape,
            meta: meta.clone(),
            deadline: *deadline,
            messages: Messages::one(self.message.clone()),
            extensions: extensions.clone(),
        }
    }
}

impl Around for Retry {
    async fn around(self, call: Call, next: Handler) -> Result<Reply, Status> {
        if call.shape.streams_requests() {
            return next.oneshot(call).await;
        }
        let again = Again::of(call).await?;
        let mut attempts = 1;
        loop {
            let failure = match next.clone().oneshot(again.attempt()).await {
                Ok(reply) => {
                    self.shared.budget.refill(&self.shared.options);
                    if attempts > 1 {
                        metrics::counter!("omnirelay_retry_succeeded_total").increment(1);
                    }
                    return Ok(reply);
                }
                Err(status) => status,
            };
            let Some(at) = self.again(attempts, &failure, &again.call) else { return Err(failure) };
            metrics::counter!("omnirelay_retry_scheduled_total").increment(1);
            sleep_until(at).await;
            attempts += 1;
        }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
