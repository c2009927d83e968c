//! Spans on a real connection to a collector.

use std::error::Error;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use telemetry::{InitTracingError, LogFormat, TraceError, TraceOptions, init_tracing};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Hands on what it is sent.
struct Collector(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).await.map_err(|_gone| Status::cancelled("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn options(endpoint: String) -> TraceOptions {
    let (service, instance) = ("omnirelay-node".to_owned(), "node-a".to_owned());
    TraceOptions { endpoint, trust_bundle: None, sample_ratio: 1.0, service, instance }
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match &attribute.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_the_filter_and_the_sampler_let_through_reach_the_collector_and_no_others()
-> Result<(), Box<dyn Error>> {
    let refused = init_tracing(LogFormat::Text, "info", Some(&options("http://collector.example:4317".to_owned())));
    assert!(matches!(refused, Err(InitTracingError::Traces(TraceError::Plaintext { .. }))), "{refused:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let (sender, mut received) = mpsc::channel(4);
    let serving = Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    let mut collecting = JoinSet::new();
    collecting.spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));

    let traces = init_tracing(LogFormat::Text, "info", Some(&options(endpoint)))?.traces.ok_or("no traces")?;
    tracing::info_span!("mesh.join", mesh.seeds = "two").in_scope(|| tracing::debug_span!("hidden").in_scope(|| ()));
    traces.sample_ratio().set(0.0)?;
    tracing::info_span!("not.kept").in_scope(|| ());
    traces.sample_ratio().set(1.0)?;
    tracing::info_span!("kept.again").in_scope(|| ());
    tokio::task::spawn_blocking(move || traces.flush()).await??;

    let batch = tokio::time::timeout(Duration::from_secs(30), received.recv()).await?.ok_or("nothing came")?;
    let [resource] = batch.resource_spans.as_slice() else { return Err("not one resource".into()) };
    let attributes = &resource.resource.as_ref().ok_or("no resource")?.attributes;
    assert_eq!(text(attributes, "service.name"), Some("omnirelay-node"));
    assert_eq!(text(attributes, "service.instance.id"), Some("node-a"));
    let spans: Vec<_> = resource.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["mesh.join", "kept.again"]);
    assert_eq!(spans.first().and_then(|span| text(&span.attributes, "mesh.seeds")), Some("two"));
    Ok(())
}
