//! HTTP/3 on one connection: requests, and an end that loses none.

pub(crate) mod body;
mod request;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use h3::error::{Code, ConnectionError};
use h3::frame::FrameStream;
use h3::stream::BufRecvStream;
use h3_transport::{Connection, Stream, WhenStopped};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use crate::call::Calls;
use crate::cut;
use crate::peer::PeerIdentity;
use crate::serve::Serve;
use crate::server::{Ended, Shared};

/// Requests after the last one that the first GOAWAY still promises to serve: more than can come in two round trips.
const FAR: usize = 1 << 20;

/// Least time that is taken for a round trip while leaving: on a near path, scheduling takes longer than packets.
const ROUND_TRIP_MIN: Duration = Duration::from_millis(10);

/// How many answered requests may wait to be looked at for having been acknowledged.
const UNACKNOWLEDGED_LOOK: usize = 64;

/// Serves HTTP/3 on `connection` until the client leaves, the server stops or the connection is too old.
pub(crate) async fn serve<S: Serve>(shared: &Shared<S>, connection: quinn::Connection, peer: &PeerIdentity) -> Ended {
    let limits = &shared.options.limits;
    let mut builder = h3::server::builder();
    builder.max_field_section_size(u64::from(limits.head_bytes)).send_grease(false);
    let h3 = match builder.build(Connection::server(connection.clone())).await {
        Ok(h3) => h3,
        Err(error) => {
            tracing::debug!(?peer, %error, "connection broke off");
            return Ended::Finished;
        }
    };
    let mut serving = Serving {
        h3,
        calls: Arc::new(shared.calls(peer)),
        requests: JoinSet::new(),
        unacknowledged: VecDeque::new(),
        head_timeout: limits.head_timeout,
        has_accepted: false,
    };
    if let Err(error) = serving.run(Admit::Serve, shared.is_to_leave(peer)).await {
        tracing::debug!(?peer, %error, "connection has ended");
        return Ended::Finished;
    }
    match timeout(shared.options.drain_timeout, serving.leave(&connection)).await {
        Ok(Ok(())) => Ended::Finished,
        Ok(Err(error)) => {
            tracing::debug!(?peer, %error, "connection has ended while it was drained");
            Ended::Finished
        }
        Err(_elapsed) => Ended::CutOff,
    }
}

/// What is done with requests that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admit {
    Serve,
    /// The client may send them elsewhere: they were not touched.
    Reject,
}

/// A connection and its requests.
struct Serving<S> {
    h3: h3::server::Connection<Connection, Bytes>,
    calls: Arc<Calls<S>>,
    /// Each ends with what tells whether its answer has arrived.
    requests: JoinSet<Option<WhenStopped>>,
    /// Answered requests whose answers may not have arrived yet, oldest first.
    unacknowledged: VecDeque<WhenStopped>,
    head_timeout: Duration,
    has_accepted: bool,
}

impl<S: Serve> Serving<S> {
    /// Takes requests in until `end`, or until the client has said that it will send no more and has its answers.
    async fn run(&mut self, admit: Admit, end: impl Future<Output = ()>) -> Result<(), ConnectionError> {
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => return Ok(()),
                accepted = poll_fn(|cx| self.h3.poll_accept_request_stream(cx)) => accepted?,
            };
            match (accepted, admit) {
                (Some(stream), Admit::Serve) => self.begin(stream),
                (Some(stream), Admit::Reject) => stream.reject(Code::H3_REQUEST_REJECTED),
                (None, Admit::Serve) => return Ok(()),
                // h3 has rejected one by itself, or the client is about to close: there is nothing more to accept.
                (None, Admit::Reject) => {
                    end.await;
                    return Ok(());
                }
            }
        }
    }

    fn begin(&mut self, stream: Stream) {
        self.has_accepted = true;
        let stopped = stream.when_stopped();
        let resolver = self.h3.create_resolver(FrameStream::new(BufRecvStream::new(stream)));
        self.requests.spawn(request::serve(resolver, stopped, Arc::clone(&self.calls), self.head_timeout));
        while let Some(ended) = self.requests.try_join_next() {
            self.unacknowledged.extend(unless_panicked(ended));
        }
        if self.unacknowledged.len() >= UNACKNOWLEDGED_LOOK {
            self.unacknowledged.retain_mut(|answer| answer.now_or_never().is_none());
        }
    }

    /// Finishes what is under way, and has the client send the rest elsewhere.
    ///
    /// The first GOAWAY promises to serve whatever is on its way. Once that is here, the second names the first request
    /// that is not served: the one after the last, since a client may send again what was not below it.
    async fn leave(&mut self, connection: &quinn::Connection) -> Result<(), ConnectionError> {
        let round_trip = connection.rtt().max(ROUND_TRIP_MIN);
        if self.has_accepted {
            self.h3.shutdown(FAR).await?;
            self.run(Admit::Serve, sleep(2 * round_trip)).await?;
        }
        self.h3.shutdown(1).await?;
        let answers = all_arrived(mem::take(&mut self.requests), mem::take(&mut self.unacknowledged));
        self.run(Admit::Reject, answers).await?;
        // The client closes, now that it has nothing more to do here; if it does not, we do.
        self.run(Admit::Reject, sleep(3 * round_trip)).await?;
        cut::close(connection, Code::H3_NO_ERROR, "the server has finished");
        Ok(())
    }
}

/// Resolves when all requests have ended and the client has their answers: QUIC throws away what was not acknowledged when
/// a connection is closed.
async fn all_arrived(mut requests: JoinSet<Option<WhenStopped>>, mut unacknowledged: VecDeque<WhenStopped>) {
    while let Some(ended) = requests.join_next().await {
        unacknowledged.extend(unless_panicked(ended));
    }
    for stopped in unacknowledged {
        stopped.await;
    }
}

fn unless_panicked(ended: Result<Option<WhenStopped>, JoinError>) -> Option<WhenStopped> {
    ended.unwrap_or_else(|error| {
        tracing::error!(%error, "the task of a request failed");
        None
    })
}
