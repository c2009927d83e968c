//! The connection to a service of this node.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioTimer;
use tonic::body::Body;

use super::dial::{Cause, SendError, dial};
use super::endpoint::LocalEndpoint;
use super::tasks::{Spawner, Tasks};

/// Bytes of one answer that the service may send ahead of its reader.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes of all answers: so many that calls which nobody reads do not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 256 * STREAM_WINDOW_BYTES;

type Connecting = Shared<BoxFuture<'static, Result<SendRequest<Body>, Cause>>>;

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
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        let mut is_second = false;
        loop {
            let mut sender = self.connecting().await.map_err(SendError::Unseen)?;
            let mut failure = match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let unsent = failure.take_message();
            let error = failure.into_error();
            match unsent {
                Some(unsent) if !is_second => (request, is_second) = (unsent, true),
                Some(_unsent) => return Err(SendError::Unseen(Arc::new(error))),
                None if is_refusal(&error) => return Err(SendError::Unseen(Arc::new(error))),
                None => return Err(SendError::BrokenOff(Arc::new(error))),
            }
        }
    }

    /// Returns the connection, or the attempt at one, that all calls share which come meanwhile.
    fn connecting(&self) -> Connecting {
        let mut held = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = held.as_ref().filter(|connecting| match connecting.peek() {
            None => true,
            Some(Ok(sender)) => !sender.is_closed(),
            Some(Err(_cause)) => false,
        });
        match usable {
            Some(usable) => usable.clone(),
            None => held.insert(connect(self.endpoint.clone(), Arc::clone(&self.tasks)).boxed().shared()).clone(),
        }
    }
}

async fn connect(endpoint: LocalEndpoint, tasks: Arc<Tasks>) -> Result<SendRequest<Body>, Cause> {
    let io = dial(&endpoint).await.map_err(cause)?;
    let mut builder = http2::Builder::new(Spawner(Arc::downgrade(&tasks)));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(64 * 1024);
    let (sender, connection) = builder.handshake(io).await.map_err(cause)?;
    tasks.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn Error, "a connection to a local service has ended");
        }
    });
    Ok(sender)
}

fn cause(error: impl Error + Send + Sync + 'static) -> Cause {
    Arc::new(error)
}

/// Whether the service says that it took no notice of the call: it refused the stream, or is about to end (RFC 9113 §6.8, §8.7).
fn is_refusal(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            let draining = h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR);
            return h2.is_remote() && (refused || draining);
        }
        source = cause.source();
    }
    false
}
