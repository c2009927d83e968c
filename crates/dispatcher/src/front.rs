//! The way in.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode};
use mesh_types::ServiceName;
use peer_health::Readiness;
use tonic::Code;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tower::{Service, ServiceExt as _};

use crate::counted::counted;
use crate::dispatcher::{Dispatcher, Registered};
use crate::forward::Forward;
use crate::forwarded::Forwarded;
use crate::header;
use crate::inbound::http::Callee;
use crate::inbound::{self, target};
use crate::introspect::{Component, Introspection, Procedures};
use crate::late;
use crate::pages::{self, Page};
use crate::status::Status;
use crate::wire::Wire;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The way in: one tower service that answers every request of a listener, such as `mesh_server::Server`. Cloning is a reference
/// count.
///
/// `GET /omnirelay/introspect`, `/healthz` and `/readyz` are answered by itself. Other requests go to the services of tonic that are
/// registered, else to the procedures of the [`Dispatcher`], else to the [`Forward`]; what nobody knows is told so.
#[derive(Clone)]
pub struct Front {
    shared: Arc<Shared>,
}

struct Shared {
    dispatcher: Dispatcher,
    routes: Routes,
    /// The services in the routes.
    routed: BTreeSet<&'static str>,
    name: Option<ServiceName>,
    components: Vec<Component>,
    forward: Option<Arc<dyn Forward>>,
    readiness: Readiness,
    options: FrontOptions,
}

/// Bounds of what comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontOptions {
    /// Most bytes of a message to a procedure of the dispatcher, decompressed. Default 4 MiB. A call holds one message of its
    /// caller at a time, two while it is decompressed; what is forwarded is not held at all.
    pub message_bytes_max: usize,
    /// Longest that the one message of a caller may take to arrive. Default 30 s. Lower frees calls from callers that stall, higher
    /// serves large messages on slow links; streams of messages may be silent as long as they like.
    pub body_timeout: Duration,
    /// How often a silent stream of events says that it is still there. Default 15 s. It must be lower than what proxies on the way
    /// take for dead.
    pub events_keep_alive: Duration,
}

impl Default for FrontOptions {
    fn default() -> Self {
        Self {
            message_bytes_max: 4 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            events_keep_alive: Duration::from_secs(15),
        }
    }
}

/// Puts a [`Front`] together.
pub struct FrontBuilder {
    dispatcher: Dispatcher,
    routes: RoutesBuilder,
    routed: BTreeSet<&'static str>,
    name: Option<ServiceName>,
    components: Vec<Component>,
    forward: Option<Arc<dyn Forward>>,
    readiness: Readiness,
    options: FrontOptions,
}

impl FrontBuilder {
    /// Adds a service that tonic has generated the server of. It is called by its full name, as gRPC does.
    #[must_use]
    pub fn grpc_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.routes.add_service(service);
        self.routed.insert(S::NAME);
        self
    }

    /// Says by what name this process is known in the mesh. The services of tonic are called by it too.
    #[must_use]
    pub fn named(mut self, name: ServiceName) -> Self {
        self.name = Some(name);
        self
    }

    /// Has `/omnirelay/introspect` show a part of the process of which the front does not know, such as gossip.
    #[must_use]
    pub fn component(mut self, name: impl Into<String>, kind: &'static str) -> Self {
        self.components.push(Component { name: name.into(), kind });
        self
    }

    /// Says where calls go that this process does not handle itself. Without it they fail.
    #[must_use]
    pub fn forward(mut self, forward: Arc<dyn Forward>) -> Self {
        self.forward = Some(forward);
        self
    }

    /// Says by what the node tells whether it may get work. Default: one that nobody else sees.
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Sets the bounds.
    #[must_use]
    pub const fn options(mut self, options: FrontOptions) -> Self {
        self.options = options;
        self
    }

    /// Returns the way in.
    #[must_use]
    pub fn build(self) -> Front {
        let Self { dispatcher, routes, routed, name, components, forward, readiness, options } = self;
        let routes = routes.routes().prepare();
        let shared = Shared { dispatcher, routes, routed, name, components, forward, readiness, options };
        Front { shared: Arc::new(shared) }
    }
}

impl Front {
    /// Begins a way in to the procedures of `dispatcher`.
    #[must_use]
    pub fn builder(dispatcher: Dispatcher) -> FrontBuilder {
        FrontBuilder {
            dispatcher,
            routes: RoutesBuilder::default(),
            routed: BTreeSet::new(),
            name: None,
            components: Vec::new(),
            forward: None,
            readiness: Readiness::new("embedded"),
            options: FrontOptions::default(),
        }
    }
}

/// Who answers a request.
enum Place<'a> {
    Routes,
    Procedure(&'a Registered),
    Elsewhere(&'a Arc<dyn Forward>, ServiceName),
}

impl Shared {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if let Some(page) = Page::of(&request) {
            return self.page(page);
        }
        let wire = Wire::of(&request);
        let place = match self.place(&request).and_then(|place| self.admit(&request, place)) {
            Ok(place) => place,
            Err(status) => return wire.failure(&status),
        };
        let active = self.readiness.begin_request();
        let response = match place {
            Place::Routes => self.route(&wire, request).await,
            Place::Procedure(procedure) => self.call(procedure, wire, request).await,
            Place::Elsewhere(forward, service) => self.elsewhere(forward, service, wire, request).await,
        };
        counted(response, active)
    }

    /// Finds who answers.
    fn place(&self, request: &Request<Body>) -> Result<Place<'_>, Status> {
        let (headers, uri) = (request.headers(), request.uri());
        let service = target::service(headers, uri, |service| self.knows(service))?;
        let routed = target::service_of_path(uri).filter(|path| self.routed.contains(path));
        if routed.is_some_and(|path| path == service.as_str() || self.is_named(&service)) {
            return Ok(Place::Routes);
        }
        if self.dispatcher.serves(service.as_str()) {
            let procedure = target::procedure(headers, uri)?;
            return self.dispatcher.find(service.as_str(), procedure).map(Place::Procedure);
        }
        match &self.forward {
            Some(forward) if forward.knows(&service) => Ok(Place::Elsewhere(forward, service)),
            Some(_) | None => Err(unknown(&service)),
        }
    }

    fn is_named(&self, service: &ServiceName) -> bool {
        self.name.as_ref() == Some(service)
    }

    fn page(&self, page: Page) -> Response<Body> {
        let health = self.readiness.health();
        match page {
            // That it answers at all is what is asked: no cure is to kill it.
            Page::Healthz => pages::json(StatusCode::OK, &health),
            Page::Readyz if health.is_ready() => pages::json(StatusCode::OK, &health),
            Page::Readyz => pages::json(StatusCode::SERVICE_UNAVAILABLE, &health),
            Page::Introspect => pages::json(StatusCode::OK, &self.introspection(health.status())),
        }
    }

    fn introspection(&self, status: &'static str) -> Introspection<'_> {
        let known = self.name.as_ref().or_else(|| self.dispatcher.services().next());
        let component = |name: &str, kind| Component { name: name.to_owned(), kind };
        let inbounds = ["grpc", "http"].map(|name| component(name, "inbound"));
        let services = self.routed.iter().map(|name| component(name, "grpc-service"));
        Introspection {
            service: known.map_or("unnamed", ServiceName::as_str),
            status,
            procedures: Procedures::of(&self.dispatcher),
            components: inbounds.into_iter().chain(services).chain(self.components.iter().cloned()).collect(),
            middleware: self.dispatcher.middleware(),
            outbounds: self.forward.as_ref().map(|forward| forward.outbounds()).unwrap_or_default(),
        }
    }

    fn knows(&self, service: &ServiceName) -> bool {
        self.dispatcher.serves(service.as_str())
            || self.is_named(service)
            || self.forward.as_ref().is_some_and(|forward| forward.knows(service))
    }

    /// Refuses what comes while the node drains: work for this process, and whatever other nodes send. What the applications
    /// of this node call elsewhere goes on.
    fn admit<'a>(&self, request: &Request<Body>, place: Place<'a>) -> Result<Place<'a>, Status> {
        let is_from_the_mesh = || request.extensions().get::<mesh_server::PeerIdentity>().is_some();
        let is_ours = !matches!(place, Place::Elsewhere(..));
        if self.readiness.is_draining() && (is_ours || is_from_the_mesh()) { Err(draining()) } else { Ok(place) }
    }

    /// Has tonic answer. It knows nothing of our headers, so what they say of time is kept here.
    async fn route(&self, wire: &Wire, request: Request<Body>) -> Response<Body> {
        let routed = match late::of_headers(request.headers()) {
            Ok(deadline) => {
                late::within(deadline, async {
                    let Ok(response) = self.routes.clone().oneshot(request).await;
                    Ok(response.map(Body::new))
                })
                .await
            }
            Err(status) => Err(status),
        };
        routed.unwrap_or_else(|status| wire.failure(&status))
    }

    async fn call(&self, procedure: &Registered, wire: Wire, request: Request<Body>) -> Response<Body> {
        match wire {
            Wire::Grpc(content_type) => inbound::grpc::serve(procedure, content_type, request, &self.options).await,
            Wire::Http => self.call_over_http(Callee::of(procedure), request).await,
        }
    }

    async fn elsewhere(
        &self,
        forward: &Arc<dyn Forward>,
        service: ServiceName,
        wire: Wire,
        request: Request<Body>,
    ) -> Response<Body> {
        if wire != Wire::Http {
            return inbound::elsewhere(&**forward, &service, &wire, request).await;
        }
        let forwarded = Forwarded::new(Arc::clone(forward), self.options.message_bytes_max);
        let callee = target::procedure(request.headers(), request.uri())
            .and_then(|name| Callee::elsewhere(service, name, forwarded));
        match callee {
            Ok(callee) => self.call_over_http(callee, request).await,
            Err(status) => wire.failure(&status),
        }
    }

    async fn call_over_http(&self, callee: Callee, request: Request<Body>) -> Response<Body> {
        if inbound::websocket::is_asked(&request) {
            inbound::websocket::serve(callee, request, &self.options, &self.readiness)
        } else {
            inbound::http::serve(callee, request, &self.options).await
        }
    }
}

fn unknown(service: &ServiceName) -> Status {
    let mut status = Status::new(Code::NotFound, format!("service `{service}` is not known here or in the mesh"));
    // Another node has sent it, perhaps, which has not heard yet that the service has gone from here.
    status.metadata_mut().insert(header::NOT_PROCESSED, HeaderValue::from_static("1"));
    status
}

fn draining() -> Status {
    let mut status = Status::new(Code::Unavailable, "the node is draining and takes no new calls; call another");
    status.metadata_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    status.metadata_mut().insert(header::NOT_PROCESSED, HeaderValue::from_static("1"));
    status
}

impl<B> Service<Request<B>> for Front
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let request = request.map(Body::new);
        Box::pin(async move { Ok(shared.answer(request).await) })
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { dispatcher, routed, forward, options, .. } = &*self.shared;
        f.debug_struct("Front")
            .field("dispatcher", dispatcher)
            .field("routed", routed)
            .field("forward", forward)
            .field("options", options)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FrontBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontBuilder").field("dispatcher", &self.dispatcher).finish_non_exhaustive()
    }
}
