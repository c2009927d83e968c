//! The tasks of a connection.

use std::future::Future;
use std::sync::{Mutex, PoisonError, Weak};

use tokio::task::{AbortHandle, JoinSet};

/// The tasks of a connection, which end with it.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<JoinSet<()>>);

/// Starts hyper's tasks among those of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Spawner(pub(crate) Weak<Tasks>);

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = set.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task of a connection to a local service has panicked");
            }
        }
        set.spawn(task)
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, task: F) {
        // Without its connection there is nobody who waits for it.
        if let Some(tasks) = self.0.upgrade() {
            tasks.spawn(task);
        }
    }
}
