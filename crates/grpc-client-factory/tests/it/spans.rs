//! One trace from the caller to the handler.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use grpc_client_factory::{Http3Mode, Protocol};
use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use test_authority::Holder;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::{EchoRequest, Failure};
use tonic::{Code, Request};
use tracing::{Instrument as _, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::mesh_server::{BOTH, Mesh};
use crate::support::{CLIENT, Outcome, Pair, profile, says, wait_until};

/// Keeps the spans that have ended.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Ended {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.0.lock().expect("nobody panics with it").extend(batch);
        std::future::ready(Ok(()))
    }
}

impl Ended {
    /// Has spans of this thread collected until the guard goes.
    fn collect() -> (Self, tracing::subscriber::DefaultGuard) {
        let ended = Self::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(ended.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let layer = layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false);
        let subscriber = tracing_subscriber::registry().with(layer).with(LevelFilter::INFO);
        (ended, tracing::subscriber::set_default(subscriber))
    }

    /// Takes the spans of a call out, once there are as many as this: the server's may end after the client's.
    async fn take(&self, count: usize) -> Vec<SpanData> {
        let spans = || self.0.lock().expect("nobody panics with it");
        wait_until(|| spans().len() >= count).await;
        std::mem::take(&mut *spans())
    }
}

fn of<'a>(spans: &'a [SpanData], kind: &SpanKind) -> &'a SpanData {
    spans.iter().find(|span| span.span_kind == *kind).expect("a span of this kind")
}

fn attributes(span: &SpanData) -> BTreeMap<&str, String> {
    span.attributes.iter().map(|attribute| (attribute.key.as_str(), attribute.value.to_string())).collect()
}

/// All on one thread, which is where the subscriber is.
#[tokio::test]
async fn a_call_is_one_trace_from_its_caller_to_the_handler() -> Outcome {
    let (ended, _here) = Ended::collect();
    let mesh = Mesh::start()?;
    for (mode, protocol) in BOTH {
        let channel = mesh.channel(&Holder::new(CLIENT), mode);
        EchoClient::new(channel).unary(says("a")).instrument(info_span!("caller")).await?;
        let spans = ended.take(3).await;
        let (caller, client, server) =
            (of(&spans, &SpanKind::Internal), of(&spans, &SpanKind::Client), of(&spans, &SpanKind::Server));
        assert_eq!(client.parent_span_id, caller.span_context.span_id());
        assert_eq!((server.parent_span_id, server.parent_span_is_remote), (client.span_context.span_id(), true));
        assert_eq!(server.span_context.trace_id(), caller.span_context.trace_id());
        assert_eq!([&client.name, &server.name], ["omnirelay.test.v1.Echo/Unary"; 2]);

        let port = mesh.target.endpoint.port().to_string();
        let (version, transport, word) = match protocol {
            Protocol::Http2 => ("2", "tcp", "http2"),
            Protocol::Http3 => ("3", "quic", "http3"),
        };
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
        assert_eq!(of_server, with(&[("peer.id", CLIENT), ("client.address", "127.0.0.1")]));
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_fails_and_is_made_again_says_so_in_its_span() -> Outcome {
    let (ended, _here) = Ended::collect();
    let pair = Pair::with(profile(|profile| profile.retry.max_attempts = 2)).await;
    let failure = Failure { code: Code::Unavailable as i32, ..Failure::default() };
    pair.client().unary(EchoRequest { failure: Some(failure), ..says("a") }).await.unwrap_err();
    let spans = ended.take(1).await;
    let span = of(&spans, &SpanKind::Client);
    let shown = attributes(span);
    let shown = ["rpc.grpc.status_code", "error.type", "rpc.resend_count"].map(|key| shown[key].as_str());
    assert_eq!(shown, ["14", "UNAVAILABLE", "1"]);
    assert_eq!(span.status, Status::error(""));
    Ok(())
}

#[tokio::test]
async fn a_caller_without_spans_of_its_own_is_taken_at_its_word() -> Outcome {
    let (ended, _here) = Ended::collect();
    let mesh = Mesh::start()?;
    let mut request = Request::new(says("a"));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse()?);
    EchoClient::new(mesh.channel(&Holder::new(CLIENT), Http3Mode::Off)).unary(request).await?;
    let spans = ended.take(2).await;
    let (client, server) = (of(&spans, &SpanKind::Client), of(&spans, &SpanKind::Server));
    assert_eq!(client.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(server.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    Ok(())
}
