//! Metric catalogue, Prometheus exporter and tracing set-up for OmniRelay binaries.
