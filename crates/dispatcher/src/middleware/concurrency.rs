//! How many calls at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tonic::Code;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::handler::Handler;
use crate::late;
use crate::middleware::Around;
use crate::middleware::ended::{Ends, watch};
use crate::status::Status;

/// Lets only so many calls be answered at a time. Some more wait for their turn, in order, and hold back their callers meanwhile;
/// what comes beyond is refused as `resource-exhausted`.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    shared: Arc<Shared>,
}

/// Bounds of a [`ConcurrencyLimit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcurrencyOptions {
    /// Calls that are answered at a time, streams until they end. Default 256, at least 1.
    pub running_max: usize,
    /// Calls that wait for their turn. Default 256. Fewer refuse sooner when there is too much to do, more ride out longer bursts; each
    /// holds what it has sent so far.
    pub waiting_max: usize,
    /// Longest that one waits. Default 1 s; keep it below what callers wait for.
    pub wait_max: Duration,
}

#[derive(Debug)]
struct Shared {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    options: ConcurrencyOptions,
}

impl Default for ConcurrencyOptions {
    fn default() -> Self {
        Self { running_max: 256, waiting_max: 256, wait_max: Duration::from_secs(1) }
    }
}

impl ConcurrencyLimit {
    /// Makes a limit for all calls that go through it.
    #[must_use]
    pub fn new(options: ConcurrencyOptions) -> Self {
        let permits = |count: usize| Semaphore::new(count.min(Semaphore::MAX_PERMITS));
        let (running, waiting) = (Arc::new(permits(options.running_max.max(1))), permits(options.waiting_max));
        Self { shared: Arc::new(Shared { running, waiting, options }) }
    }

    async fn turn(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit, Status> {
        let Shared { running, waiting, options } = &*self.shared;
        if let Ok(turn) = Arc::clone(running).try_acquire_owned() {
            return Ok(turn);
        }
        let refused = || {
            metrics::counter!("omnirelay_rpc_shed_total", "rpc_reason" => "concurrency").increment(1);
            let text =
                format!("{} calls are running, the most that do at a time, and no more may wait", options.running_max);
            Status::new(Code::ResourceExhausted, text)
        };
        let Ok(_place) = waiting.try_acquire() else { return Err(refused()) };
        let turn = late::within(deadline, async {
            let waited = timeout(options.wait_max, Arc::clone(running).acquire_owned()).await;
            waited.map_or_else(|_elapsed| Err(refused()), |turn| turn.map_err(|_closed| refused()))
        });
        turn.await
    }
}

impl Around for ConcurrencyLimit {
    async fn around(self, call: Call, next: Handler) -> Result<Reply, Status> {
        let turn = self.turn(call.deadline).await?;
        watch(next.oneshot(call).await, Turn(Some(turn)))
    }
}

struct Turn(Option<OwnedSemaphorePermit>);

impl Ends for Turn {
    fn ended(&mut self, _code: Code) {
        self.0 = None;
    }
}
