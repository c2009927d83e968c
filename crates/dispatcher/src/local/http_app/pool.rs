//! Connections over HTTP/1.1.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::local::dial::{SendError, dial};
use crate::local::endpoint::LocalEndpoint;
use crate::local::tasks::Tasks;

/// Most connections that are kept for later.
const IDLE_MAX: usize = 64;

/// How long one is kept: less than applications wait for the next request, so that none ends while one is on its way.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

type Sender = SendRequest<Full<Bytes>>;

/// Connections to one application, one for each call under way, and a few for the next.
#[derive(Debug)]
pub(crate) struct Pool {
    endpoint: LocalEndpoint,
    idle: Arc<Mutex<Vec<Idle>>>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(endpoint: LocalEndpoint) -> Self {
        Self { endpoint, idle: Arc::default(), tasks: Tasks::default() }
    }

    /// Makes a call, on a new connection if none of those there is any good. The answer keeps `permit` until its end.
    ///
    /// # Cancel safety
    /// Dropping the future, or the answer before its end, closes the connection: the application can see that.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Response<Answered>, SendError> {
        while let Some(mut sender) = self.take_idle() {
            // It may have ended meanwhile, or the last answer may not be over yet for those who drive it.
            if sender.ready().await.is_err() {
                continue;
            }
            let mut failure = match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.answered(response, sender, permit)),
                Err(failure) => failure,
            };
            match failure.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(SendError::BrokenOff(Arc::new(failure.into_error()))),
            }
        }
        let mut sender = self.connect().await?;
        match sender.try_send_request(request).await {
            Ok(response) => Ok(self.answered(response, sender, permit)),
            Err(mut failure) => match failure.take_message() {
                Some(_unsent) => Err(SendError::Unseen(Arc::new(failure.into_error()))),
                None => Err(SendError::BrokenOff(Arc::new(failure.into_error()))),
            },
        }
    }

    async fn connect(&self) -> Result<Sender, SendError> {
        let unseen = |error: hyper::Error| SendError::Unseen(Arc::new(error));
        let io = dial(&self.endpoint).await.map_err(|error| SendError::Unseen(Arc::new(error)))?;
        let (sender, connection) =
            http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(io).await.map_err(unseen)?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn Error, "a connection to a local service has ended");
            }
        });
        Ok(sender)
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = locked(&self.idle);
        idle.retain(Idle::is_good);
        idle.pop().map(|newest| newest.sender)
    }

    fn answered(
        &self,
        response: Response<Incoming>,
        sender: Sender,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Response<Answered> {
        let idle = Arc::clone(&self.idle);
        response.map(|body| Answered { body, sender: Some(sender), idle, _permit: permit })
    }
}

impl Idle {
    fn is_good(&self) -> bool {
        self.since.elapsed() < IDLE_TIMEOUT && !self.sender.is_closed()
    }
}

/// The body of an answer. Once it is over, its connection is there for others.
#[derive(Debug)]
pub(crate) struct Answered {
    body: Incoming,
    /// None once it is given back.
    sender: Option<Sender>,
    idle: Arc<Mutex<Vec<Idle>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Answered {
    fn give_back(&mut self) {
        let Some(sender) = self.sender.take() else { return };
        let mut idle = locked(&self.idle);
        if idle.len() < IDLE_MAX {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() {
            self.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

fn locked(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
