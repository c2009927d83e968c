//! Metrics and spans, as a node of the mesh has them.

use std::future::ready;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::BoxError;

/// Share of the traces that are kept. All others are begun and thrown away.
const KEPT: f64 = 0.01;

/// Whether a process keeps metrics and makes spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observed {
    Yes,
    No,
}

/// Keeps metrics and makes spans from now on, in all of this process.
pub(crate) fn begin() -> Result<(), BoxError> {
    // The handle is for who reads the metrics.
    drop(telemetry::install_metrics()?);
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(KEPT)));
    let provider = SdkTracerProvider::builder().with_batch_exporter(Nowhere).with_sampler(sampler).build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    let subscriber = tracing_subscriber::registry().with(spans).with(LevelFilter::INFO);
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

/// A collector that takes everything at once.
#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        drop(batch);
        ready(Ok(()))
    }
}
