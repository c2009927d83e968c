//! The tasks that HTTP/2 makes for its streams: they end with their connection, or at their deadline.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio_util::task::TaskTracker;

use crate::timing::Timing;

/// The tasks of one connection; clones share them.
///
/// A task is only counted: it ends by itself once its stream is over or the connection is gone, because hyper watches the stream
/// for as long as the handler or its body has nothing to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams {
    running: TaskTracker,
    /// Of the stream whose task hyper makes next.
    timing: Arc<Mutex<Option<Arc<Timing>>>>,
}

impl Streams {
    /// Says how long the next stream may take. hyper makes a stream's task right after it has called the service.
    pub(crate) fn expect(&self, timing: &Arc<Timing>) {
        if timing.deadline().is_some() {
            *self.lock() = Some(Arc::clone(timing));
        }
    }

    /// Waits until no task is left. Call it once the connection is gone.
    pub(crate) async fn ended(&self) {
        self.running.close();
        self.running.wait().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Timing>>> {
        self.timing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let timing = self.lock().take();
        match timing {
            None => drop(self.running.spawn(stream)),
            Some(timing) => drop(self.running.spawn(async move {
                // A stream whose task is gone is reset with CANCEL. Its body cannot see to that: while the client does not
                // read, nobody asks it.
                tokio::select! {
                    () = stream => {}
                    () = timing.cuts_off() => {}
                }
            })),
        }
    }
}
