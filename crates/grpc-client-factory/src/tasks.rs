//! The tasks of one factory.

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

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

/// Starts hyper's tasks for one connection among those of the factory.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    tasks: Weak<Tasks>,
    /// The first task, which owns the socket.
    first: Arc<OnceLock<AbortHandle>>,
}

impl Spawner {
    pub(crate) fn new(tasks: Weak<Tasks>) -> Self {
        Self { tasks, first: Arc::default() }
    }

    /// Closes the socket, and with it all streams of the connection.
    pub(crate) fn cut(&self) {
        if let Some(first) = self.first.get() {
            first.abort();
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, task: F) {
        // Without a factory there is nobody who waits for it.
        if let Some(tasks) = self.tasks.upgrade() {
            let handle = tasks.spawn(task);
            self.first.get_or_init(|| handle);
        }
    }
}
