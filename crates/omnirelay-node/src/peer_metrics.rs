//! What is counted of the peers that this node calls, as Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use grpc_client_factory::ClientFactory;
use peers_core::{DurationHistogram, Labels, Sink};
use telemetry::catalogue;

/// Most peers of services that have series of their own, over all services: some 25 lines each.
const SERIES_MAX: usize = 2_048;

/// Returns the metrics of the peers that `factory` has channels to (Prometheus' text format, version 0.0.4). They are read where calls
/// count them, and kept nowhere else: a peer that is gone leaves no series behind.
pub(crate) fn peer_metrics(factory: &ClientFactory) -> String {
    let mut metrics = PeerMetrics::default();
    factory.fleet().visit(factory.now(), SERIES_MAX, &mut metrics);
    metrics.render()
}

/// Gathers series, each once: of two channels to one service, one of which chooses by keys, the calls are added up.
#[derive(Debug, Default)]
struct PeerMetrics(BTreeMap<&'static str, BTreeMap<String, Value>>);

#[derive(Debug)]
enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(DurationHistogram),
}

impl PeerMetrics {
    fn render(&self) -> String {
        let mut text = String::new();
        for (name, series) in &self.0 {
            let Some(first) = series.values().next() else { continue };
            let help = catalogue().iter().find(|metric| metric.name == *name).map_or("", |metric| metric.help);
            text = text + "# HELP " + name + " " + help + "\n# TYPE " + name + " " + first.kind() + "\n";
            series.iter().for_each(|(labels, value)| value.write(name, labels, &mut text));
        }
        text
    }

    fn at(&mut self, name: &'static str, labels: &Labels<'_>, none: Value) -> &mut Value {
        self.0.entry(name).or_default().entry(written(labels)).or_insert(none)
    }
}

impl Sink for PeerMetrics {
    fn counter(&mut self, name: &'static str, labels: &Labels<'_>, value: u64) {
        if let Value::Counter(sum) = self.at(name, labels, Value::Counter(0)) {
            *sum += value;
        }
    }

    fn gauge(&mut self, name: &'static str, labels: &Labels<'_>, value: f64) {
        if let Value::Gauge(shown) = self.at(name, labels, Value::Gauge(0.0)) {
            // Of states and estimates the worst counts.
            *shown = if name == "omnirelay_peer_inflight" { *shown + value } else { shown.max(value) };
        }
    }

    fn histogram(&mut self, name: &'static str, labels: &Labels<'_>, value: &DurationHistogram) {
        if let Value::Histogram(sum) = self.at(name, labels, Value::Histogram(DurationHistogram::default())) {
            sum.add(value);
        }
    }
}

impl Value {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }

    fn write(&self, name: &str, labels: &str, text: &mut String) {
        let mut line = |suffix: &str, all: &str, number: &dyn std::fmt::Display| {
            writeln!(text, "{name}{suffix}{{{all}}} {number}").expect("a string has room");
        };
        match self {
            Self::Counter(count) => line("", labels, count),
            Self::Gauge(value) => line("", labels, value),
            Self::Histogram(durations) => {
                for (limit, count) in durations.cumulative() {
                    let limit = if limit.is_finite() { limit.to_string() } else { "+Inf".to_owned() };
                    line("_bucket", &format!("{labels},le=\"{limit}\""), &count);
                }
                line("_sum", labels, &(durations.sum().as_secs_f64() * 1e3));
                line("_count", labels, &durations.count());
            }
        }
    }
}

fn written(labels: &Labels<'_>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{name}=\"{value}\"").expect("a string has room");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_name_stand_together_and_those_of_the_same_labels_are_one() {
        let mut metrics = PeerMetrics::default();
        let orders = [("rpc_service", "or\"ders"), ("rpc_peer", "node-a")];
        for (calls, breaker) in [(3, 2.0), (4, 1.0)] {
            metrics.counter("omnirelay_peer_successes_total", &orders, calls);
            metrics.gauge("omnirelay_peer_inflight", &orders, 1.0);
            metrics.gauge("omnirelay_peer_breaker_state", &orders, breaker);
        }
        metrics.counter("omnirelay_peer_successes_total", &[("rpc_service", "carts")], 1);
        assert_eq!(
            metrics.render(),
            "\
# HELP omnirelay_peer_breaker_state 0 closed, 1 open, 2 half open, 3 isolated.
# TYPE omnirelay_peer_breaker_state gauge
omnirelay_peer_breaker_state{rpc_service=\"or\\\"ders\",rpc_peer=\"node-a\"} 2
# HELP omnirelay_peer_inflight Calls that a peer has under way.
# TYPE omnirelay_peer_inflight gauge
omnirelay_peer_inflight{rpc_service=\"or\\\"ders\",rpc_peer=\"node-a\"} 2
# HELP omnirelay_peer_successes_total Calls to a peer that did well.
# TYPE omnirelay_peer_successes_total counter
omnirelay_peer_successes_total{rpc_service=\"carts\"} 1
omnirelay_peer_successes_total{rpc_service=\"or\\\"ders\",rpc_peer=\"node-a\"} 7
"
        );
    }

    #[test]
    fn a_histogram_has_its_buckets_up_to_infinity_its_sum_and_its_count() {
        let mut metrics = PeerMetrics::default();
        metrics.histogram("omnirelay_peer_lease_duration_ms", &[("a", "b")], &DurationHistogram::default());
        let text = metrics.render();
        let name = "omnirelay_peer_lease_duration_ms";
        assert!(
            text.contains(&format!("{name}_bucket{{a=\"b\",le=\"1\"}} 0\n{name}_bucket{{a=\"b\",le=\"2\"}} 0\n")),
            "{text}"
        );
        let end =
            format!("{name}_bucket{{a=\"b\",le=\"+Inf\"}} 0\n{name}_sum{{a=\"b\"}} 0\n{name}_count{{a=\"b\"}} 0\n");
        assert!(text.ends_with(&end), "{text}");
    }
}
