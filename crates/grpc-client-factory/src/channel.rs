//! What generated clients call through.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::USER_AGENT;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::call::{Answer, Call, Head};
use crate::deadline::{Deadline, Timer};
use crate::error::FactoryError;
use crate::factory::ClientFactory;
use crate::link::Link;
use crate::message_meter::MessageMeter;
use crate::meter::Recorder;
use crate::profile::Profile;
use crate::request_body::RequestBody;
use crate::response_body::ResponseBody;
use crate::span::CallSpan;
use crate::target::{Protocol, Target};
use crate::ways::Ways;

/// A channel to one target, which generated clients take as theirs: `EchoClient::new(channel)`.
///
/// A request that is none of gRPC, by its `content-type`, is sent as it is and answered as the server answers, whatever its status: plain HTTP
/// over the same connections. It is sent once, and its body as a whole must not be larger than the profile's messages.
///
/// It is cheap to clone, always ready, and connects when it is called. All channels of a factory to one target with one profile
/// share a connection; calls that are made on a lane ([`lanes`]) share one of that lane. Its errors are statuses; [`FactoryError::of`] finds what is behind one that is not the server's.
#[derive(Clone)]
pub struct Channel {
    ways: Arc<Ways>,
    authority: Authority,
    /// Keeps the factory's tasks alive, on which connections run.
    factory: ClientFactory,
}

/// What a call through a [`Channel`] returns.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Status>> + Send>>;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("grpc-omnirelay/", env!("CARGO_PKG_VERSION")));

impl Channel {
    pub(crate) const fn new(ways: Arc<Ways>, authority: Authority, factory: ClientFactory) -> Self {
        Self { ways, authority, factory }
    }

    /// Returns what it leads to.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.ways.target()
    }

    /// Returns how its calls are made.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.ways.kind().profile
    }

    /// Returns what its connections speak and how many calls are under way on them; `None` while there is no connection.
    #[must_use]
    pub fn connection(&self) -> Option<(Protocol, usize)> {
        self.ways.current()
    }

    /// Returns the factory that made it.
    #[must_use]
    pub const fn factory(&self) -> &ClientFactory {
        &self.factory
    }

    fn uri(&self, path: Option<&PathAndQuery>) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }

    /// Returns the way that calls of this thread take.
    pub(crate) fn link(&self) -> &Arc<Link> {
        self.factory.link(&self.ways)
    }

    pub(crate) fn head(&self, method: Method, uri: &Uri, mut headers: HeaderMap) -> Head {
        headers.entry(USER_AGENT).or_insert(AGENT);
        Head { method, uri: self.uri(uri.path_and_query()), headers }
    }
}

impl tower_service::Service<Request<tonic::body::Body>> for Channel {
    type Response = Response<ResponseBody>;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> ResponseFuture {
        let (parts, body) = request.into_parts();
        let mut head = self.head(parts.method, &parts.uri, parts.headers);
        let link = Arc::clone(self.link());
        let span = CallSpan::begin((&head.method, parts.uri.path()), || link.prefers(), &mut head.headers);
        span.goes_to(&link.target().endpoint);
        let recorder = link.meter().begin(parts.uri.path(), &head.headers, span);
        // The factory stays for as long as the call does.
        let factory = self.factory.clone();
        Box::pin(async move {
            let result = call(link, head, body, recorder).await;
            drop(factory);
            result.map_err(CallError::status)
        })
    }
}

/// Why a call has no answer: the way, or the caller's own body.
pub(crate) enum CallError {
    Factory(Arc<FactoryError>),
    Body(Status),
}

impl CallError {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Factory(error) => error.code(),
            Self::Body(status) => status.code(),
        }
    }

    pub(crate) fn status(self) -> Status {
        match self {
            Self::Factory(error) => error.status(),
            Self::Body(status) => status,
        }
    }
}

impl From<Arc<FactoryError>> for CallError {
    fn from(error: Arc<FactoryError>) -> Self {
        Self::Factory(error)
    }
}

impl From<FactoryError> for CallError {
    fn from(error: FactoryError) -> Self {
        Self::Factory(Arc::new(error))
    }
}

async fn call(
    link: Arc<Link>,
    head: Head,
    body: tonic::body::Body,
    mut recorder: Recorder,
) -> Result<Response<ResponseBody>, CallError> {
    match answer(link, head, body, recorder.span()).await {
        Ok((answer, timer)) => Ok(answer.into_response(timer, recorder)),
        Err(error) => {
            recorder.end(error.code());
            Err(error)
        }
    }
}

async fn answer(
    link: Arc<Link>,
    head: Head,
    body: tonic::body::Body,
    span: &CallSpan,
) -> Result<(Answer, Option<Timer>), CallError> {
    let now = Instant::now();
    let own = Deadline::of_headers(&head.headers, now)?;
    let meter = MessageMeter::of(&head.headers, link.profile().max_send_bytes);
    let body = RequestBody::begin(body, meter).await?;
    let deadline = own.or_else(|| link.profile().head_timeout.map(|timeout| Deadline::after(timeout, now)));
    let call = Call { link: Arc::clone(&link), head, deadline: own };
    let running = pin!(call.run(body, span));
    let Some(deadline) = deadline else { return Ok((running.await?, None)) };
    let mut timer = Timer::new(deadline);
    let answer = timer.bound(&link.target().endpoint, running).await;
    // The caller's own deadline is for the body too.
    Ok((answer?, own.map(|_deadline| timer)))
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("target", self.target())
            .field("connection", &self.connection())
            .finish_non_exhaustive()
    }
}
