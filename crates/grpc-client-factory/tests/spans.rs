//! One trace from the caller to the handler. A process of its own: who collects spans collects those of all threads.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use grpc_client_factory::{Channel, ChannelFactory as _, ClientFactory, FactoryOptions, Http3Mode, Profile, Target};
use identity::ExpectedPeer;
use mesh_server::{CancellationToken, DrainReport, Options, Server};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, TraceId, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use test_authority::Authority;
use test_rpc::EchoService;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use test_rpc::rpc::{EchoRequest, Failure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::{Code, Request};
use tracing::{Instrument as _, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Keeps the spans that have ended.
#[derive(Debug, Clone)]
struct Ended {
    spans: Arc<Mutex<Vec<SpanData>>>,
    count: watch::Sender<usize>,
}

impl SpanExporter for Ended {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let mut spans = self.spans.lock().expect("nobody panics with it");
        spans.extend(batch);
        self.count.send_replace(spans.len());
        std::future::ready(Ok(()))
    }
}

impl Ended {
    /// Has spans collected from now on.
    fn collect() -> &'static Self {
        static ENDED: OnceLock<Ended> = OnceLock::new();
        ENDED.get_or_init(|| {
            let ended = Self { spans: Arc::default(), count: watch::Sender::new(0) };
            let provider = SdkTracerProvider::builder().with_simple_exporter(ended.clone()).build();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
            let layer =
                layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false);
            let subscriber = tracing_subscriber::registry().with(layer).with(LevelFilter::INFO);
            tracing::subscriber::set_global_default(subscriber).expect("it is the first");
            ended
        })
    }

    /// Returns the spans of a trace by their kind, once there are as many as this: the server's may end after the client's.
    async fn of(&self, trace: TraceId, count: usize) -> HashMap<&'static str, SpanData> {
        let spans = || {
            let spans = self.spans.lock().expect("nobody panics with it");
            let of_trace = spans.iter().filter(|span| span.span_context.trace_id() == trace);
            of_trace.map(|span| (word(&span.span_kind), span.clone())).collect::<HashMap<_, _>>()
        };
        let mut changes = self.count.subscribe();
        let reached = timeout(Duration::from_secs(20), changes.wait_for(|_| spans().len() >= count)).await;
        reached.expect("all spans have ended").expect("the sender is static");
        spans()
    }
}

fn word(kind: &SpanKind) -> &'static str {
    match kind {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        _ => "caller",
    }
}

/// A server and a client that trust each other.
struct Mesh {
    echo: EchoService,
    factory: ClientFactory,
    target: Target,
    _running: JoinSet<DrainReport>,
}

impl Mesh {
    fn start(http3: Http3Mode) -> Result<Self, Box<dyn std::error::Error>> {
        let authority = Authority::new()?;
        let options = Options { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..Options::default() };
        let server = Server::bind(options, authority.credentials("server")?)?;
        let target = Target::new(server.local_addr().into(), ExpectedPeer::Node("server".parse()?));
        let (echo, mut running) = (EchoService::default(), JoinSet::new());
        running.spawn(server.run(Routes::new(EchoServer::new(echo.clone())), CancellationToken::new()));
        let mut profile = Profile::control_plane();
        profile.http3.mode = http3;
        profile.retry.max_attempts = 2;
        let profiles = [("test".to_owned(), profile)].into();
        let factory_options = FactoryOptions { profiles, ..FactoryOptions::default() };
        let factory = ClientFactory::new(authority.credentials("client")?, factory_options)?;
        Ok(Self { echo, factory, target, _running: running })
    }

    fn client(&self) -> EchoClient<Channel> {
        EchoClient::new(self.factory.channel(&self.target, "test").expect("a channel"))
    }
}

fn trace_of(span: &Span) -> TraceId {
    span.context().span().span_context().trace_id()
}

fn attributes(span: &SpanData) -> BTreeMap<&str, String> {
    span.attributes.iter().map(|attribute| (attribute.key.as_str(), attribute.value.to_string())).collect()
}

async fn is_one_trace(http3: Http3Mode, [version, transport, word]: [&str; 3]) -> Outcome {
    let ended = Ended::collect();
    let mesh = Mesh::start(http3)?;
    let calling = info_span!("calling");
    let trace = trace_of(&calling);
    mesh.client().unary(EchoRequest::default()).instrument(calling).await?;
    let spans = ended.of(trace, 3).await;
    let (caller, client, server) = (&spans["caller"], &spans["client"], &spans["server"]);
    assert_eq!(client.parent_span_id, caller.span_context.span_id());
    assert_eq!((server.parent_span_id, server.parent_span_is_remote), (client.span_context.span_id(), true));
    assert_eq!([&client.name, &server.name], ["omnirelay.test.v1.Echo/Unary"; 2]);

    let port = mesh.target.endpoint.port().to_string();
    let both = [
        ("rpc.system", "grpc"),
        ("rpc.service", "omnirelay.test.v1.Echo"),
        ("rpc.method", "Unary"),
        ("rpc.grpc.status_code", "0"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", version),
        ("network.transport", transport),
    ];
    let with = |more: &[(&'static str, &str)]| -> BTreeMap<&str, String> {
        both.iter().chain(more).map(|(key, value)| (*key, (*value).to_owned())).collect()
    };
    let asked = [("rpc.preferred_protocol", word), ("server.address", "127.0.0.1"), ("server.port", &port)];
    assert_eq!(attributes(client), with(&asked));
    let mut of_server = attributes(server);
    of_server.remove("client.port").expect("the port that it called from");
    assert_eq!(of_server, with(&[("peer.id", "client"), ("client.address", "127.0.0.1")]));
    Ok(())
}

#[tokio::test]
async fn a_call_over_http3_is_one_trace_from_its_caller_to_the_handler() -> Outcome {
    is_one_trace(Http3Mode::Only, ["3", "quic", "http3"]).await
}

#[tokio::test]
async fn a_call_over_http2_is_one_trace_from_its_caller_to_the_handler() -> Outcome {
    is_one_trace(Http3Mode::Off, ["2", "tcp", "http2"]).await
}

#[tokio::test]
async fn a_call_that_fails_and_is_made_again_says_so_in_its_span() -> Outcome {
    let ended = Ended::collect();
    let mesh = Mesh::start(Http3Mode::Off)?;
    let failure = Failure { code: Code::Unavailable as i32, ..Failure::default() };
    let calling = info_span!("calling");
    let trace = trace_of(&calling);
    let request = EchoRequest { failure: Some(failure), ..EchoRequest::default() };
    mesh.client().unary(request).instrument(calling).await.unwrap_err();
    assert_eq!(mesh.echo.calls().begun, 2);
    let span = &ended.of(trace, 3).await["client"];
    let shown = attributes(span);
    let shown = ["rpc.grpc.status_code", "error.type", "rpc.resend_count"].map(|key| shown[key].as_str());
    assert_eq!(shown, ["14", "UNAVAILABLE", "1"]);
    assert_eq!(span.status, Status::error(""));
    Ok(())
}

#[tokio::test]
async fn a_caller_without_spans_of_its_own_is_taken_at_its_word() -> Outcome {
    let ended = Ended::collect();
    let mesh = Mesh::start(Http3Mode::Off)?;
    let mut request = Request::new(EchoRequest::default());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse()?);
    mesh.client().unary(request).await?;
    let spans = ended.of(TraceId::from_hex("0af7651916cd43dd8448eb211c80319c")?, 2).await;
    assert_eq!(spans["client"].parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(spans["server"].parent_span_id, spans["client"].span_context.span_id());
    Ok(())
}
