//! An application that speaks plain HTTP.

mod answer;
mod events;
mod pool;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use lanes::PerLane;
use mesh_types::ServiceName;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::Code;
use tonic::body::Body;

use super::dial::{SendError, dial};
use super::endpoint::LocalEndpoint;
use crate::encoding::Encoding;
use crate::grpc::answer::Manner;
use crate::grpc::compression::Algorithm;
use crate::grpc::unframe::{Side, Unframe};
use crate::header;
use crate::inbound::target;
use crate::late;
use crate::messages::Messages;
use crate::meta::RequestMeta;
use crate::status::Status;

use pool::Pool;

/// Most calls to one application at a time, each on a connection of its own.
const CALLS_MAX: usize = 512;

/// Longest that the one message of a caller may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What is taken for an answer: one message, of whatever kind, or events.
const ACCEPTED: HeaderValue = HeaderValue::from_static("*/*, text/event-stream");

/// Applications may look for names that they know.
const LOCALHOST: HeaderValue = HeaderValue::from_static("localhost");

/// An application that speaks plain HTTP: each call of one message is a POST.
#[derive(Debug)]
pub(crate) struct HttpApp {
    service: ServiceName,
    endpoint: LocalEndpoint,
    health: Option<PathAndQuery>,
    /// Calls stay on the lane that they come in on.
    pools: PerLane<Box<Pool>>,
    free: Arc<Semaphore>,
}

impl HttpApp {
    pub(crate) fn new(service: ServiceName, endpoint: LocalEndpoint, health: Option<PathAndQuery>) -> Self {
        let free = Arc::new(Semaphore::new(CALLS_MAX));
        Self { service, endpoint, health, pools: PerLane::new(), free }
    }

    /// Has the application answer a call that comes over gRPC. `unsent` says what it is that it cannot be reached.
    ///
    /// # Errors
    /// The call cannot be read, or has more than one message; the application fails it, or cannot be understood.
    ///
    /// # Cancel safety
    /// Dropping the future or the answer closes the connection.
    pub(crate) async fn call(
        &self,
        request: Request<Body>,
        unsent: impl FnOnce(&SendError) -> Status,
    ) -> Result<Response<Body>, Status> {
        let headers = request.headers();
        let (compressed, deadline) = (Algorithm::of(headers)?, late::of_headers(headers)?);
        let content_type = headers.get(CONTENT_TYPE).cloned();
        let manner = Manner {
            content_type: content_type.unwrap_or(HeaderValue::from_static("application/grpc")),
            algorithm: compressed.of_answer(headers),
        };
        let reply = late::within(deadline, async {
            let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_none_free| self.too_many())?;
            let posted = self.post(request, compressed, deadline).await?;
            let response = self.pool().send(posted, Some(permit)).await.map_err(|error| unsent(&error))?;
            answer::reply(response).await
        });
        let mut reply = reply.await?;
        reply.messages = late::until(deadline, reply.messages);
        Ok(manner.answer(Ok(reply)))
    }

    /// Asks whether it is well.
    pub(crate) async fn is_well(&self) -> bool {
        let Some(path) = &self.health else { return dial(&self.endpoint).await.is_ok() };
        let mut request = Request::new(Full::default());
        *request.uri_mut() = Uri::from(path.clone());
        request.headers_mut().insert(HOST, LOCALHOST);
        self.pool().send(request, None).await.is_ok_and(|response| response.status().is_success())
    }

    fn pool(&self) -> &Pool {
        self.pools.get_or_make(|| Box::new(Pool::new(self.endpoint.clone())))
    }

    /// Returns what the application is sent.
    async fn post(
        &self,
        request: Request<Body>,
        compressed: Algorithm,
        deadline: Option<Instant>,
    ) -> Result<Request<Full<Bytes>>, Status> {
        let (head, body) = request.into_parts();
        let mut meta = RequestMeta::read(&head.headers)?;
        let procedure = HeaderValue::from_str(target::procedure(&head.headers, &head.uri)?);
        let messages = Unframe::new(body, compressed, answer::MESSAGE_BYTES_MAX, Side::Request);
        let message = Messages::stream(late::arriving(BODY_TIMEOUT, messages)).only().await?;
        let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut post = Request::post(path).body(Full::new(message)).map_err(|error| {
            Status::new(Code::InvalidArgument, format!("path `{path}` is none that plain HTTP has: {error}"))
        })?;
        let content_type = meta.encoding.as_ref().map(Encoding::content_type);
        // What the caller has said of time counts from when it called, and now it is later.
        meta.deadline = None;
        meta.ttl = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let headers = post.headers_mut();
        meta.write(headers);
        headers.insert(HOST, LOCALHOST);
        headers.insert(ACCEPT, ACCEPTED);
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let service = HeaderValue::from_str(self.service.as_str());
        for (name, value) in [(header::SERVICE, service), (header::PROCEDURE, procedure)] {
            if let Ok(value) = value {
                headers.insert(name, value);
            }
        }
        Ok(post)
    }

    fn too_many(&self) -> Status {
        let text = format!("service `{}` has {CALLS_MAX} calls under way at this node, the most", self.service);
        let mut status = Status::new(Code::ResourceExhausted, text);
        status.metadata_mut().insert(header::NOT_PROCESSED, HeaderValue::from_static("1"));
        status
    }
}
