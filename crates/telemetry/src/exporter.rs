//! From the `metrics` facade to Prometheus text.

use metrics::{Recorder, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::catalogue::{Kind, catalogue};

/// Renders the metrics of this process; cloning shares them.
#[derive(Debug, Clone)]
pub struct MetricsHandle {
    inner: PrometheusHandle,
}

impl MetricsHandle {
    /// Returns everything as Prometheus text, format version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        self.inner.render()
    }

    /// Folds the observations of histograms into their buckets.
    ///
    /// [`MetricsHandle::render`] does it too; call this every few seconds so that memory stays bounded
    /// when nobody scrapes.
    pub fn upkeep(&self) {
        self.inner.run_upkeep();
    }
}

/// Why the catalogue could not be turned into an exporter.
#[derive(Debug, thiserror::Error)]
#[error("cannot set the buckets of `{metric}`")]
pub struct BuildMetricsError {
    metric: &'static str,
    source: BuildError,
}

/// Why metrics could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallMetricsError {
    /// The catalogue has a metric that cannot be exported.
    #[error(transparent)]
    Build(#[from] BuildMetricsError),
    /// The process has a recorder already.
    #[error("another metrics recorder is installed in this process")]
    AlreadyInstalled,
}

/// Installs the exporter as the recorder of the whole process and describes all of the catalogue.
///
/// # Errors
/// The process has a recorder already, or the catalogue is wrong.
pub fn install_metrics() -> Result<MetricsHandle, InstallMetricsError> {
    let (recorder, handle) = build_metrics()?;
    match metrics::set_global_recorder(recorder) {
        Ok(()) => Ok(handle),
        // The error is the recorder itself, given back.
        Err(_recorder) => Err(InstallMetricsError::AlreadyInstalled),
    }
}

/// Builds the same exporter without installing it: for `metrics::with_local_recorder` in tests.
///
/// # Errors
/// The catalogue is wrong.
pub fn build_metrics() -> Result<(impl Recorder + Send + Sync + 'static, MetricsHandle), BuildMetricsError> {
    let mut builder = PrometheusBuilder::new();
    for metric in catalogue() {
        if let Kind::Histogram { buckets } = metric.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
                .map_err(|source| BuildMetricsError { metric: metric.name, source })?;
        }
    }
    let recorder = builder.build_recorder();
    let handle = MetricsHandle { inner: recorder.handle() };
    describe(&recorder);
    metrics::with_local_recorder(&recorder, || {
        metrics::gauge!("omnirelay_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    });
    Ok((recorder, handle))
}

fn describe(recorder: &impl Recorder) {
    for metric in catalogue() {
        let unit: Option<Unit> = Some(metric.unit);
        match metric.kind {
            Kind::Counter => recorder.describe_counter(metric.name.into(), unit, metric.help.into()),
            Kind::Gauge => recorder.describe_gauge(metric.name.into(), unit, metric.help.into()),
            Kind::Histogram { .. } => recorder.describe_histogram(metric.name.into(), unit, metric.help.into()),
        }
    }
}
