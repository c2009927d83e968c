//! The answers of one connection, until the client has them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use futures_util::FutureExt as _;
use h3_transport::WhenStopped;
use tokio::task::{JoinError, JoinSet};

/// How many answers may wait before it is looked which of them have arrived.
const LOOK_AT: usize = 64;

/// The answers of one connection.
///
/// QUIC throws away what was not acknowledged when a connection is closed: so an answer that was sent to its end counts as
/// under way until the client has said that it is there. Nobody waits for that while there is more to serve; it is looked
/// at now and then. There are never more than the client may have streams: what is not acknowledged is an open one.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Each ends with what tells whether its answer has arrived.
    under_way: JoinSet<Option<WhenStopped>>,
    /// Of those that were sent to their end.
    unacknowledged: VecDeque<WhenStopped>,
    look_at: usize,
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self { under_way: JoinSet::new(), unacknowledged: VecDeque::new(), look_at: LOOK_AT }
    }

    /// Begins an answer in a task of its own.
    pub(crate) fn begin(&mut self, answering: impl Future<Output = Option<WhenStopped>> + Send + 'static) {
        // Boxed here, it is moved once; a task is handed on several times until it lies where it stays.
        self.under_way.spawn(Box::pin(answering));
        self.look();
    }

    /// Begins an answer in this task, and leaves it to one of its own only if it has to wait for something. One that does not has
    /// then been sent without waking anybody.
    pub(crate) async fn begin_here(&mut self, answering: impl Future<Output = Option<WhenStopped>> + Send + 'static) {
        let mut answering = Box::pin(answering);
        match poll_fn(|cx| Poll::Ready(answering.as_mut().poll(cx))).await {
            Poll::Ready(ended) => self.unacknowledged.extend(ended),
            Poll::Pending => drop(self.under_way.spawn(answering)),
        }
        self.look();
    }

    /// Returns whether the client has the answers to all that it has asked.
    pub(crate) fn have_all_arrived(&mut self) -> bool {
        self.collect();
        // The latest is the last to arrive as a rule: where it has not, there is nothing more to look at.
        while let Some(latest) = self.unacknowledged.back_mut() {
            if latest.now_or_never().is_none() {
                return false;
            }
            self.unacknowledged.pop_back();
        }
        self.under_way.is_empty()
    }

    fn collect(&mut self) {
        while let Some(ended) = self.under_way.try_join_next() {
            self.unacknowledged.extend(unless_panicked(ended));
        }
    }

    /// Looks which of them have ended, and now and then which have arrived.
    fn look(&mut self) {
        self.collect();
        if self.unacknowledged.len() >= self.look_at {
            self.unacknowledged.retain_mut(|answer| answer.now_or_never().is_none());
            // At most one look for each answer, however slow the path is.
            self.look_at = LOOK_AT.max(2 * self.unacknowledged.len());
        }
    }

    /// Resolves when all requests have ended and the client has their answers.
    pub(crate) async fn all_arrived(&mut self) {
        while let Some(ended) = self.under_way.join_next().await {
            self.unacknowledged.extend(unless_panicked(ended));
        }
        for answer in &mut self.unacknowledged {
            answer.await;
        }
        self.unacknowledged.clear();
    }

    /// Ends those that are under way, and waits until no task is left.
    pub(crate) async fn shutdown(&mut self) {
        self.under_way.shutdown().await;
    }
}

fn unless_panicked(ended: Result<Option<WhenStopped>, JoinError>) -> Option<WhenStopped> {
    ended.unwrap_or_else(|error| {
        tracing::error!(%error, "the task of a request failed");
        None
    })
}
