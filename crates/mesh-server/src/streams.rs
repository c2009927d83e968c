//! The tasks that HTTP/2 makes for its streams: they end with their connection, or at their deadline.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::task::JoinSet;

use crate::timing::Timing;

/// The tasks of one connection; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<Tasks>>);

#[derive(Debug, Default)]
struct Tasks {
    running: JoinSet<()>,
    /// Of the stream whose task hyper makes next.
    timing: Option<Arc<Timing>>,
}

impl Streams {
    /// Says how long the next stream may take. hyper makes a stream's task right after it has called the service.
    pub(crate) fn expect(&self, timing: &Arc<Timing>) {
        self.lock().timing = timing.deadline().is_some().then(|| Arc::clone(timing));
    }

    /// Cuts off all streams, and waits until no task is left.
    pub(crate) async fn shutdown(&self) {
        let mut running = mem::take(&mut self.lock().running);
        running.shutdown().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tasks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut tasks = self.lock();
        while let Some(ended) = tasks.running.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "the task of a stream failed");
            }
        }
        match tasks.timing.take() {
            None => tasks.running.spawn(stream),
            Some(timing) => tasks.running.spawn(async move {
                // A stream whose task is gone is reset with CANCEL. Its body cannot see to that: while the client does not
                // read, nobody asks it.
                tokio::select! {
                    () = stream => {}
                    () = timing.cuts_off() => {}
                }
            }),
        };
    }
}
