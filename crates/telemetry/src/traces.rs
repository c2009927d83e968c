//! Spans on their way to an OpenTelemetry collector.

use std::fmt;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use crate::sampling::SampleRatio;

/// How long one batch may take to be taken.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the spans of the end may take to be taken.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Where spans go: an OTLP collector over gRPC.
#[derive(Debug, Clone)]
pub struct TraceOptions {
    /// The collector: `https://host:4317`. `http://` is accepted on loopback only: spans name nodes and addresses.
    pub endpoint: String,
    /// PEM certificates of those who may sign the collector's; without, and with `https`, nobody is trusted.
    pub trust_bundle: Option<Vec<u8>>,
    /// Share of the traces begun here that are kept: 0 to 1. Those begun elsewhere are kept as decided there.
    pub sample_ratio: f64,
    /// Name of the program, as `service.name`.
    pub service: String,
    /// Name of the node, as `service.instance.id`.
    pub instance: String,
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The collector is neither `https://…` nor on loopback.
    #[error("collector `{endpoint}` is not `https://host:port`; `http://` is for 127.0.0.1, [::1] and localhost only")]
    Plaintext {
        /// The endpoint as given.
        endpoint: String,
    },
    /// The collector's address cannot be used.
    #[error("spans cannot be sent to `{endpoint}`")]
    Exporter {
        /// The endpoint as given.
        endpoint: String,
        /// What is wrong with it.
        source: ExporterBuildError,
    },
}

/// The spans under way; kept until the process ends, so that [`Traces::flush`] can send the last ones.
pub struct Traces {
    provider: SdkTracerProvider,
    sample_ratio: SampleRatio,
}

impl Traces {
    /// Sets up sending. Call it on a tokio runtime: the connection lives there. A batch goes every 5 s or 512 spans; of more than
    /// 2,048 waiting, new ones are dropped.
    pub(crate) fn start(options: &TraceOptions) -> Result<Self, TraceError> {
        check_collector(&options.endpoint)?;
        let endpoint = || options.endpoint.clone();
        let is_secure = options.endpoint.starts_with(SECURE);
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint()).with_timeout(EXPORT_TIMEOUT);
        let exporter = if is_secure { exporter.with_tls_config(tls(options)) } else { exporter };
        let exporter = exporter.build().map_err(|source| TraceError::Exporter { endpoint: endpoint(), source })?;
        let sample_ratio = SampleRatio::new(options.sample_ratio);
        let sampler = Sampler::ParentBased(Box::new(sample_ratio.clone()));
        let instance = KeyValue::new("service.instance.id", options.instance.clone());
        let resource = Resource::builder_empty().with_service_name(options.service.clone()).with_attribute(instance);
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_sampler(sampler);
        Ok(Self { provider: provider.with_resource(resource.build()).build(), sample_ratio })
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("omnirelay")
    }

    /// Returns what changes the share of the traces begun here that are kept.
    #[must_use]
    pub fn sample_ratio(&self) -> SampleRatio {
        self.sample_ratio.clone()
    }

    /// Sends what is left, for 2 s at most, and ends the sending. Blocks: not for a runtime's own threads, unless there are others.
    ///
    /// # Errors
    /// The collector did not take it.
    pub fn flush(self) -> Result<(), FlushError> {
        self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT).map_err(|source| FlushError { source })
    }
}

/// Spans of the end were not taken.
#[derive(Debug, thiserror::Error)]
#[error("the last spans were not sent")]
pub struct FlushError {
    source: OTelSdkError,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

fn tls(options: &TraceOptions) -> ClientTlsConfig {
    options.trust_bundle.iter().fold(ClientTlsConfig::new(), |tls, pem| tls.ca_certificate(Certificate::from_pem(pem)))
}

/// What the address of a collector begins with, unless it is on loopback.
const SECURE: &str = "https://";

/// Checks that spans may go to `endpoint`: see [`TraceOptions::endpoint`].
///
/// # Errors
/// It is neither `https://…` nor on loopback.
pub fn check_collector(endpoint: &str) -> Result<(), TraceError> {
    let may_go = endpoint.starts_with(SECURE) || is_loopback(endpoint);
    if may_go { Ok(()) } else { Err(TraceError::Plaintext { endpoint: endpoint.to_owned() }) }
}

fn is_loopback(endpoint: &str) -> bool {
    let Some(authority) = endpoint.strip_prefix("http://") else { return false };
    let authority = authority.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    ["127.0.0.1", "[::1]", "localhost"].contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_spoken_to_in_the_clear() {
        for endpoint in ["http://127.0.0.1:4317", "http://localhost:4317/", "http://[::1]:4317"] {
            assert!(is_loopback(endpoint), "{endpoint}");
        }
        for endpoint in
            ["http://collector:4317", "http://127.0.0.1.example:4317", "127.0.0.1:4317", "http://", "ftp://localhost"]
        {
            assert!(!is_loopback(endpoint), "{endpoint}");
        }
    }
}
