//! The connection to a service of this node.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use h2::client::{Builder, SendRequest};
use h2_transport::{Received, gather, read_ahead, send_all};
use http::{Request, Response};
use http_body::Frame;
use tokio::task::AbortHandle;
use tonic::body::Body;

use super::dial::{Cause, SendError, dial};
use super::endpoint::LocalEndpoint;
use super::tasks::Tasks;

/// How many calls may begin before the service has said how many it takes.
const STREAMS_AT_FIRST: usize = 100;

/// Bytes of one answer that the service may send ahead of its reader.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes of all answers: so many that calls which nobody reads do not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 256 * STREAM_WINDOW_BYTES;

type Connecting = Shared<BoxFuture<'static, Result<Connection, Cause>>>;

/// A connection that was made. Clones are one.
#[derive(Debug, Clone)]
struct Connection {
    sender: SendRequest<Bytes>,
    is_closed: Arc<AtomicBool>,
}

/// The connection to a service of this node: HTTP/2 without TLS, made when it is needed.
#[derive(Debug)]
pub(crate) struct Link {
    endpoint: LocalEndpoint,
    connecting: Mutex<Option<Connecting>>,
    tasks: Arc<Tasks>,
}

impl Link {
    pub(crate) fn new(endpoint: LocalEndpoint) -> Self {
        Self { endpoint, connecting: Mutex::default(), tasks: Arc::default() }
    }

    /// Makes a call, on a new connection if the one there was has ended.
    ///
    /// # Cancel safety
    /// Dropping the future takes the call back: the service is told.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Answer>, SendError> {
        let mut sender = self.sender().await.map_err(SendError::Unseen)?;
        let (head, body) = request.into_parts();
        let is_all = http_body::Body::is_end_stream(&body);
        let begun = sender.send_request(Request::from_parts(head, ()), is_all);
        let (answering, sending) = begun.map_err(|error| SendError::Unseen(cause(error)))?;
        let pump = if is_all { None } else { Pump::begin(&self.tasks, send_all(sending, body)).await };
        let response = answering.await.map_err(|error| match is_refusal(&error) {
            true => SendError::Unseen(cause(error)),
            false => SendError::BrokenOff(cause(error)),
        })?;
        Ok(response.map(|stream| Answer { received: Received::new(stream), pump }))
    }

    /// Returns the sender of a connection that takes calls. One that has just ended is replaced.
    async fn sender(&self) -> Result<SendRequest<Bytes>, Cause> {
        let connection = self.connection().await?;
        if let Ok(sender) = connection.sender.ready().await {
            return Ok(sender);
        }
        connection.is_closed.store(true, Ordering::Release);
        self.connection().await?.sender.ready().await.map_err(cause)
    }

    /// Returns the connection, made if there is none. All calls that come meanwhile share the attempt.
    async fn connection(&self) -> Result<Connection, Cause> {
        let connecting = {
            let mut held = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
            match held.as_ref().and_then(Shared::peek) {
                Some(Ok(connection)) if !connection.is_closed.load(Ordering::Acquire) => return Ok(connection.clone()),
                None if let Some(under_way) = &*held => under_way.clone(),
                _ => held.insert(connect(self.endpoint.clone(), Arc::clone(&self.tasks)).boxed().shared()).clone(),
            }
        };
        connecting.await
    }
}

/// Sends the rest of a request. It ends when this is dropped.
#[derive(Debug)]
struct Pump(AbortHandle);

impl Pump {
    /// Sends as far as it goes at once; if something is left, makes a task of it: a caller that sends a stream may wait for the answer to its
    /// beginning.
    async fn begin(tasks: &Tasks, sending: impl Future<Output = ()> + Send + 'static) -> Option<Self> {
        let mut sending = Box::pin(sending);
        let is_sent = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_ready())).await;
        (!is_sent).then(|| Self(tasks.spawn(sending)))
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of an answer. Dropped before its end, it takes the call back: the service is told.
#[derive(Debug)]
pub(crate) struct Answer {
    received: Received,
    pump: Option<Pump>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let frame = ready!(self.received.poll_frame(cx));
        // Nothing follows trailers, and nobody reads the rest of the request any more.
        if frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers)) {
            self.pump = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.received.is_end_stream()
    }
}

async fn connect(endpoint: LocalEndpoint, tasks: Arc<Tasks>) -> Result<Connection, Cause> {
    let (io, outlet) = gather(read_ahead(dial(&endpoint).await.map_err(cause)?.into_inner()));
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(STREAMS_AT_FIRST)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(64 * 1024);
    let (sender, connection) = builder.handshake::<_, Bytes>(io).await.map_err(cause)?;
    let is_closed = Arc::new(AtomicBool::new(false));
    let closing = Closing(Arc::clone(&is_closed));
    tasks.spawn(async move {
        let mut connection = pin!(connection);
        let ended = poll_fn(|cx| {
            let turn = connection.as_mut().poll(cx);
            outlet.after(turn, cx)
        });
        if let Err(error) = ended.await {
            tracing::debug!(error = &error as &dyn Error, "a connection to a local service has ended");
        }
        drop(closing);
    });
    Ok(Connection { sender, is_closed })
}

/// Says that a connection is closed, however it ends.
struct Closing(Arc<AtomicBool>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn cause(error: impl Error + Send + Sync + 'static) -> Cause {
    Arc::new(error)
}

/// Whether the service says that it took no notice of the call: it refused the stream, or is about to end (RFC 9113 §6.8, §8.7).
fn is_refusal(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let draining = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    error.is_remote() && (refused || draining)
}
