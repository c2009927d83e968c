//! The tasks of one factory.

use std::future::{Future, poll_fn};
use std::sync::{Mutex, PoisonError, Weak};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

/// The tasks of one factory, which end with it.
#[derive(Debug)]
pub(crate) struct Tasks {
    set: Mutex<JoinSet<()>>,
    runtime: Handle,
}

impl Tasks {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { set: Mutex::default(), runtime }
    }

    /// Starts a task. It must not hold what owns the tasks, or nothing would ever end.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = set.try_join_next() {
            log_panic(ended);
        }
        set.spawn_on(task, &self.runtime)
    }

    /// Returns how many tasks there are that have not ended.
    pub(crate) fn len(&self) -> usize {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = set.try_join_next() {
            log_panic(ended);
        }
        set.len()
    }

    /// Ends all tasks and waits until they have.
    pub(crate) async fn end(&self) {
        let mut set = std::mem::take(&mut *self.set.lock().unwrap_or_else(PoisonError::into_inner));
        set.shutdown().await;
    }
}

/// A panic in a task ends what the task did, and nothing else; the hook has printed where.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(error = &error as &dyn std::error::Error, "a task of the client factory has panicked");
    }
}

/// Sends the rest of a request. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Pump(AbortHandle);

impl Pump {
    /// Sends as far as it goes at once; if something is left, makes a task of it.
    pub(crate) async fn begin(tasks: &Weak<Tasks>, sending: impl Future<Output = ()> + Send + 'static) -> Option<Self> {
        let mut sending = Box::pin(sending);
        let is_sent = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_ready())).await;
        // Without a factory there is nobody who waits for it.
        let tasks = if is_sent { None } else { tasks.upgrade() };
        tasks.map(|tasks| Self(tasks.spawn(sending)))
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}
