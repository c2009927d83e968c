//! HTTP/3 on one connection: requests, and an end that loses none.

mod answers;
pub(crate) mod body;
mod request;

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use h3::error::{Code, ConnectionError};
use h3::frame::FrameStream;
use h3::stream::BufRecvStream;
use h3_transport::{Connection, Stream, WhenStopped};
use quinn::VarInt;
use tokio::time::{sleep, timeout};

use crate::call::Calls;
use crate::http3::answers::Answers;
use crate::peer::PeerIdentity;
use crate::registry::Registered;
use crate::serve::Serve;
use crate::server::{Ended, Shared};

/// Code with which a connection is closed whose peer is not, or no longer, acceptable: 0x100 plus the number of TLS's
/// alert `access_denied`. HTTP/3 has none of its own; the reason is beside it in words.
pub(crate) const ACCESS_DENIED: VarInt = VarInt::from_u32(0x100 + 49);

/// Requests after the last one that the first GOAWAY still promises to serve: more than can come in two round trips.
const FAR: usize = 1 << 20;

/// Least time that is taken for a round trip while leaving: on a near path, scheduling takes longer than packets.
const ROUND_TRIP_MIN: Duration = Duration::from_millis(10);

type Http3 = h3::server::Connection<Connection, Bytes>;

/// Serves HTTP/3 on `connection` until the client leaves or is cut off, the server stops or the connection is too old.
pub(crate) async fn serve<S: Serve>(
    shared: &Shared<S>,
    connection: &quinn::Connection,
    registered: &Registered,
) -> Ended {
    let peer = registered.peer();
    let limits = &shared.options.limits;
    let mut builder = h3::server::builder();
    builder.max_field_section_size(u64::from(limits.head_bytes)).send_grease(false);
    // A client that grants no streams for it would be waited for.
    let http3 = match timeout(limits.head_timeout, builder.build(Connection::server(connection.clone()))).await {
        Ok(Ok(http3)) => http3,
        Ok(Err(error)) => {
            tracing::debug!(?peer, %error, "connection broke off");
            return Ended::Finished;
        }
        Err(elapsed) => {
            tracing::debug!(?peer, %elapsed, "connection did not begin");
            return Ended::Finished;
        }
    };
    let calls = Arc::new(shared.calls(peer));
    let (answers, head_timeout) = (Answers::new(), limits.head_timeout);
    let mut serving = Serving { http3, calls, answers, head_timeout, has_accepted: false };
    let ended = tokio::select! {
        ended = serving.run(shared, connection, peer) => ended,
        () = registered.is_cut() => {
            connection.close(ACCESS_DENIED, b"the certificate is no longer acceptable");
            Ended::CutOff
        }
    };
    serving.answers.shutdown().await;
    ended
}

/// A connection and its requests.
struct Serving<S> {
    http3: Http3,
    calls: Arc<Calls<S>>,
    answers: Answers,
    head_timeout: Duration,
    has_accepted: bool,
}

impl<S: Serve> Serving<S> {
    async fn run(&mut self, shared: &Shared<S>, connection: &quinn::Connection, peer: &PeerIdentity) -> Ended {
        let drain_timeout = shared.options.drain_timeout;
        let left = match self.serve_until(shared.is_to_leave(peer)).await {
            Ok(()) => timeout(drain_timeout, self.leave(connection)).await,
            Err(error) => Ok(Err(error)),
        };
        match left {
            Ok(Ok(())) => Ended::Finished,
            Ok(Err(error)) => {
                tracing::debug!(?peer, %error, "connection has ended");
                Ended::Finished
            }
            Err(_elapsed) => Ended::CutOff,
        }
    }

    /// Serves until `end`, or until the client has said that it will send no more and has its answers.
    async fn serve_until(&mut self, end: impl Future<Output = ()>) -> Result<(), ConnectionError> {
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => return Ok(()),
                accepted = accept(&mut self.http3) => accepted?,
            };
            let Some(mut stream) = accepted else { return Ok(()) };
            // Handlers of requests that come while others are under way may run side by side. Where a client calls one after the
            // other, they begin right here: it takes a wake-up, often of another processor, to begin elsewhere.
            let mut is_lone = self.answers.have_all_arrived();
            while is_lone && let Some(another) = accept(&mut self.http3).now_or_never() {
                let answering = self.answering(stream);
                self.answers.begin(answering);
                let Some(another) = another? else { return Ok(()) };
                (stream, is_lone) = (another, false);
            }
            let answering = self.answering(stream);
            if is_lone {
                self.answers.begin_here(answering).await;
            } else {
                self.answers.begin(answering);
            }
        }
    }

    fn answering(&mut self, stream: Stream) -> impl Future<Output = Option<WhenStopped>> + use<S> {
        self.has_accepted = true;
        let stopped = stream.when_stopped();
        let resolver = self.http3.create_resolver(FrameStream::new(BufRecvStream::new(stream)));
        request::serve(resolver, stopped, Arc::clone(&self.calls), self.head_timeout)
    }

    /// Finishes what is under way, and has the client send the rest elsewhere.
    ///
    /// The first GOAWAY promises to serve whatever is on its way. Once that is here, the second names the first request
    /// that is not served: the one after the last, since a client may send again what was not below it.
    async fn leave(&mut self, connection: &quinn::Connection) -> Result<(), ConnectionError> {
        let round_trip = connection.rtt().max(ROUND_TRIP_MIN);
        if self.has_accepted {
            self.http3.shutdown(FAR).await?;
            self.serve_until(sleep(2 * round_trip)).await?;
        }
        self.http3.shutdown(1).await?;
        reject_until(&mut self.http3, self.answers.all_arrived()).await?;
        // The client closes, now that it has nothing more to do here; if it does not, we do.
        reject_until(&mut self.http3, sleep(3 * round_trip)).await?;
        let code = VarInt::from_u64(Code::H3_NO_ERROR.value()).unwrap_or_default();
        connection.close(code, b"the server has finished");
        Ok(())
    }
}

async fn accept(http3: &mut Http3) -> Result<Option<Stream>, ConnectionError> {
    poll_fn(|cx| http3.poll_accept_request_stream(cx)).await
}

/// Rejects what comes until `end`: it was not touched, and may be sent elsewhere.
async fn reject_until(http3: &mut Http3, end: impl Future<Output = ()>) -> Result<(), ConnectionError> {
    tokio::pin!(end);
    loop {
        let accepted = tokio::select! {
            () = &mut end => return Ok(()),
            accepted = accept(http3) => accepted?,
        };
        match accepted {
            Some(stream) => stream.reject(Code::H3_REQUEST_REJECTED),
            // h3 has rejected one by itself, or the client is about to close: there is nothing more to accept.
            None => {
                end.await;
                return Ok(());
            }
        }
    }
}
