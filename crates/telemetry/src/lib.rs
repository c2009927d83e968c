//! Metric catalogue, Prometheus exporter and tracing set-up for the binaries.
//!
//! Only binaries import it: libraries emit through the `metrics` and `tracing` facades and know no
//! exporter. It spawns nothing and listens nowhere; whoever serves `/metrics` calls
//! [`MetricsHandle::render`].
//!
//! ```
//! let (recorder, handle) = telemetry::build_metrics()?;
//! metrics::with_local_recorder(&recorder, || metrics::gauge!("mesh_gossip_links").set(2.0));
//! assert!(handle.render().contains("\nmesh_gossip_links 2\n"));
//! # Ok::<(), telemetry::BuildMetricsError>(())
//! ```

mod catalogue;
mod exporter;
mod filter;
mod logs;
mod sampling;
mod traces;

pub use catalogue::{Kind, Metric, catalogue};
pub use exporter::{BuildMetricsError, InstallMetricsError, MetricsHandle, build_metrics, install_metrics};
pub use filter::{FilterError, LogFilter, check_filter};
pub use logs::{InitTracingError, LogFormat, Tracing, init_tracing};
pub use sampling::{SampleRatio, SampleRatioError};
pub use traces::{FlushError, TraceError, TraceOptions, Traces, check_collector};
