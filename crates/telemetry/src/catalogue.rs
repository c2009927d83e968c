//! The one table of every metric that the mesh emits.

use metrics::Unit;

/// What a metric measures, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only goes up, and starts at 0 with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram {
        /// Upper bounds of the buckets, ascending, in the metric's unit; `+Inf` comes by itself.
        buckets: &'static [f64],
    },
}

/// One metric: all that its readers may count on.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// What is counted or measured.
    pub unit: Unit,
    /// One line for people.
    pub help: &'static str,
    /// Names of its labels; their values are from small fixed sets.
    pub labels: &'static [&'static str],
}

/// Labels of what is counted of one peer of a service.
const PEER: &[&str] = &["rpc_service", "rpc_transport", "rpc_peer"];

/// Labels of what is counted of all peers of a service.
const PEERS: &[&str] = &["rpc_service", "rpc_transport"];

/// Upper bounds for leases, in milliseconds, by powers of two.
const LEASE_MS_BUCKETS: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Upper bounds for round trips, in milliseconds: from one machine to the other side of the earth.
const RTT_MS_BUCKETS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0];

/// The same bounds in seconds.
const RTT_SECONDS_BUCKETS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Upper bounds for calls, in seconds: from one machine to a caller's patience.
const CALL_SECONDS_BUCKETS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const PROPAGATION_SECONDS_BUCKETS: &[f64] =
    &[0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.12, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];

const DETECTION_SECONDS_BUCKETS: &[f64] = &[0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0];

const CATALOGUE: &[Metric] = &[
    // the mesh: what this node sees
    gauge("mesh_gossip_members", "Members of the mesh as this node sees them.", &["mesh_status"]),
    gauge(
        "mesh_gossip_members_by_lifecycle",
        "Members that have not departed, by what work they take.",
        &["mesh_lifecycle"],
    ),
    gauge("mesh_gossip_links", "Connections to other members that are open.", &[]),
    counter("mesh_gossip_events_total", "Changes in the life of members, as this node saw them.", &["event"]),
    counter("mesh_gossip_user_events_total", "User events by what became of them on this node.", &["outcome"]),
    // the mesh: what it costs and how well it goes
    Metric {
        name: "mesh_gossip_rtt_ms",
        kind: Kind::Histogram { buckets: RTT_MS_BUCKETS },
        unit: Unit::Milliseconds,
        help: "Round trip of probes in milliseconds; new readers use mesh_gossip_rtt_seconds.",
        labels: &[],
    },
    Metric {
        name: "mesh_gossip_rtt_seconds",
        kind: Kind::Histogram { buckets: RTT_SECONDS_BUCKETS },
        unit: Unit::Seconds,
        help: "Round trip of probes in seconds.",
        labels: &[],
    },
    Metric {
        name: "mesh_gossip_propagation_seconds",
        kind: Kind::Histogram { buckets: PROPAGATION_SECONDS_BUCKETS },
        unit: Unit::Seconds,
        help: "How long ago news were first said when they reached this node.",
        labels: &[],
    },
    Metric {
        name: "mesh_gossip_detection_seconds",
        kind: Kind::Histogram { buckets: DETECTION_SECONDS_BUCKETS },
        unit: Unit::Seconds,
        help: "From this node's first doubt about a member to the verdict.",
        labels: &[],
    },
    counter("mesh_gossip_probes_total", "Probes that this node sent.", &[]),
    counter("mesh_gossip_probes_missed_total", "Probes of this node that got no answer in time.", &[]),
    counter(
        "mesh_gossip_messages_total",
        "Gossip messages received and sent, by how that went.",
        &["mesh_direction", "mesh_outcome"],
    ),
    counter("mesh_gossip_rejected_total", "Received gossip messages that were dropped, by reason.", &["reason"]),
    counter("mesh_gossip_refused_total", "Gossip connections and hellos that were refused, by reason.", &["reason"]),
    counter("mesh_gossip_links_cut_total", "Links cut because the member's identity became unacceptable.", &["reason"]),
    counter(
        "mesh_gossip_refused_by_others_total",
        "Times that another node refused this node's certificate, by reason.",
        &["reason"],
    ),
    gauge(
        "mesh_gossip_links_by_generation",
        "Open links by whether they were begun with this node's current certificate.",
        &["generation"],
    ),
    counter("mesh_gossip_revocation_lists_total", "Revocation lists that other nodes sent, by outcome.", &["outcome"]),
    counter("mesh_gossip_dropped_total", "Gossip work dropped because a queue was full.", &["queue"]),
    gauge("mesh_gossip_queue_depth", "Updates and comparisons that wait to be sent, over all links.", &["class"]),
    counter("mesh_gossip_shed_total", "Updates and messages not sent because a link's rate was used up.", &["class"]),
    Metric {
        name: "mesh_gossip_flush_window_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        help: "How long news wait for company before they are sent.",
        labels: &[],
    },
    gauge("mesh_gossip_links_by_distance", "Overlay links by the round trip: lan, region, wan.", &["class"]),
    gauge("mesh_gossip_fanout", "Members that every update is sent to at once.", &[]),
    counter("mesh_gossip_dials_total", "Attempts to connect to another member, by outcome.", &["outcome"]),
    counter("mesh_gossip_digest_mismatches_total", "Probes whose digest showed that the two tables differ.", &[]),
    counter("mesh_gossip_syncs_total", "Delta syncs with another member.", &[]),
    // this node's credentials
    Metric {
        name: "mesh_credentials_expiry_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        help: "How long this node's certificate is still valid; negative once it has expired.",
        labels: &[],
    },
    gauge("mesh_credentials_revoked", "1 if this node knows that its own certificate has been revoked.", &[]),
    Metric {
        name: "mesh_credentials_crl_age_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        help: "How long ago the oldest revocation list in use was issued.",
        labels: &[],
    },
    counter(
        "mesh_credentials_reloads_total",
        "Changed credential files that were read, by outcome.",
        &["part", "outcome"],
    ),
    gauge("mesh_credentials_reload_failing", "1 while credential files cannot be used; the old ones are.", &["part"]),
    // the control endpoint
    counter("omnirelay_control_requests_total", "Requests answered at the control endpoint.", &["route", "code"]),
    counter(
        "omnirelay_control_refused_total",
        "Connections over plain HTTP turned away at the control endpoint, by reason.",
        &["reason"],
    ),
    counter("omnirelay_drain_cut_total", "Calls cut off because the deadline of a drain had come.", &["workload"]),
    // calls that come in, by the protocol they come by
    counter(
        "grpc_inbound_requests_total",
        "Calls that came in, by how they ended.",
        &["service", "method", "protocol", "status"],
    ),
    Metric {
        name: "grpc_inbound_request_duration_seconds",
        kind: Kind::Histogram { buckets: CALL_SECONDS_BUCKETS },
        unit: Unit::Seconds,
        help: "From the head of a call to the last byte of its answer.",
        labels: &["service", "method", "protocol"],
    },
    gauge("grpc_inbound_inflight", "Calls under way.", &["protocol"]),
    counter("grpc_inbound_cancelled_total", "Calls whose end nobody waited for.", &["protocol"]),
    counter("grpc_inbound_deadline_exceeded_total", "Calls that were not answered in time.", &["protocol"]),
    gauge("grpc_inbound_connections", "Connections of callers that are open.", &["protocol"]),
    counter(
        "grpc_inbound_handshake_failures_total",
        "Connections of callers that came to nothing, by reason.",
        &["transport", "reason"],
    ),
    counter("grpc_inbound_address_checks_total", "QUIC callers that had to prove their address first.", &[]),
    counter(
        "grpc_inbound_connections_cut_total",
        "Connections cut because the caller's certificate became unacceptable.",
        &["reason"],
    ),
    Metric {
        name: "grpc_inbound_drain_seconds",
        kind: Kind::Histogram { buckets: DETECTION_SECONDS_BUCKETS },
        unit: Unit::Seconds,
        help: "From being asked to stop to the end of the last connection.",
        labels: &[],
    },
    // calls that go out; the protocol is the one that answered, or `none`
    counter(
        "grpc_outbound_requests_total",
        "Calls that went out, by how they ended.",
        &["profile", "service", "method", "protocol", "status"],
    ),
    Metric {
        name: "grpc_outbound_request_duration_seconds",
        kind: Kind::Histogram { buckets: CALL_SECONDS_BUCKETS },
        unit: Unit::Seconds,
        help: "From a call to the last byte of its answer, other attempts included.",
        labels: &["profile", "service", "method"],
    },
    gauge("grpc_outbound_inflight", "Calls under way.", &["profile"]),
    gauge("grpc_outbound_connections", "Connections to servers that are open.", &["profile", "protocol"]),
    counter(
        "grpc_outbound_connects_total",
        "Attempts to connect to servers, by what came of them.",
        &["profile", "protocol", "result"],
    ),
    Metric {
        name: "grpc_outbound_handshake_seconds",
        kind: Kind::Histogram { buckets: CALL_SECONDS_BUCKETS },
        unit: Unit::Seconds,
        help: "From the look-up of a server's name to the end of the handshake.",
        labels: &["profile", "protocol"],
    },
    Metric {
        name: "grpc_outbound_rtt_seconds",
        kind: Kind::Histogram { buckets: CALL_SECONDS_BUCKETS },
        unit: Unit::Seconds,
        help: "Round trips: over HTTP/3 of connections in use, over HTTP/2 of pings to servers that are silent.",
        labels: &["profile", "protocol"],
    },
    counter(
        "grpc_outbound_fallbacks_total",
        "Times that calls went over to HTTP/2, by reason.",
        &["profile", "reason"],
    ),
    counter(
        "grpc_outbound_health_checks_total",
        "Connections over HTTP/3 that were asked whether they work, by what came of it.",
        &["profile", "result"],
    ),
    counter("grpc_outbound_retries_total", "Calls that were sent once more, by kind.", &["profile", "kind"]),
    counter(
        "grpc_outbound_tls_failures_total",
        "Connections on which one side refused the other's certificate.",
        &["refuser", "reason"],
    ),
    // calls that the dispatcher takes in and sends out
    counter(
        "omnirelay_rpc_requests_total",
        "Calls of procedures that have ended, by how.",
        &["rpc_direction", "rpc_service", "rpc_procedure", "rpc_status"],
    ),
    Metric {
        name: "omnirelay_rpc_duration_seconds",
        kind: Kind::Histogram { buckets: CALL_SECONDS_BUCKETS },
        unit: Unit::Seconds,
        help: "From the beginning of a call of a procedure to the end of its answer.",
        labels: &["rpc_direction", "rpc_service", "rpc_procedure"],
    },
    gauge(
        "omnirelay_rpc_inflight",
        "Calls of procedures that are under way.",
        &["rpc_direction", "rpc_service", "rpc_procedure"],
    ),
    counter("omnirelay_rpc_shed_total", "Calls refused because there were too many, by which limit.", &["rpc_reason"]),
    counter("omnirelay_rpc_shadow_total", "Copies of calls for a shadow, by what became of them.", &["rpc_outcome"]),
    counter("omnirelay_retry_scheduled_total", "Attempts at calls after the first.", &[]),
    counter("omnirelay_retry_exhausted_total", "Calls that failed at every attempt.", &[]),
    counter("omnirelay_retry_succeeded_total", "Calls that did well at an attempt after the first.", &[]),
    // the health of peers
    gauge("omnirelay_peer_lease_healthy", "Peers that may get work.", &[]),
    gauge("omnirelay_peer_lease_unhealthy", "Peers that must not get work.", &[]),
    gauge("omnirelay_peer_lease_pending_reassignments", "Work taken from peers that nobody has yet.", &[]),
    counter("omnirelay_peer_lease_assignments_total", "Leases given to peers.", &[]),
    counter("omnirelay_peer_lease_heartbeats_total", "Heartbeats of peers.", &[]),
    counter("omnirelay_peer_lease_disconnects_total", "Connections to peers that were lost.", &[]),
    gauge("omnirelay_peer_health_state", "Peers by what they are held for.", &["state"]),
    counter(
        "omnirelay_peer_health_transitions_total",
        "Changes of what peers are held for, by the source that decided.",
        &["from", "to", "source"],
    ),
    counter("omnirelay_peer_health_anomalies_total", "Anomalies seen in the health of peers, by kind.", &["kind"]),
    counter("omnirelay_peer_health_collected_total", "Peers that are gone and were forgotten.", &[]),
    counter("omnirelay_peer_health_left_out_total", "Records of health providers that found no room.", &[]),
    // the peers that are called, as the tables of balanced channels count
    counter(
        "omnirelay_peer_picks_total",
        "Calls that were given to a peer.",
        &["rpc_service", "rpc_transport", "rpc_peer", "chooser"],
    ),
    gauge("omnirelay_peer_inflight", "Calls that a peer has under way.", PEER),
    counter("omnirelay_peer_successes_total", "Calls to a peer that did well.", PEER),
    counter("omnirelay_peer_failures_total", "Calls to a peer that failed.", PEER),
    counter("omnirelay_peer_unreachable_total", "Calls to a peer that failed because they did not reach it.", PEER),
    counter("omnirelay_peer_overloads_total", "Calls that a peer had no room for.", PEER),
    counter("omnirelay_peer_cancelled_total", "Calls to a peer that nobody waited for.", PEER),
    Metric {
        name: "omnirelay_peer_lease_duration_ms",
        kind: Kind::Histogram { buckets: LEASE_MS_BUCKETS },
        unit: Unit::Milliseconds,
        help: "How long calls to a peer lasted, streams to their end.",
        labels: PEER,
    },
    Metric {
        name: "omnirelay_peer_latency_estimate_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        help: "How long the next call to a peer is expected to take.",
        labels: PEER,
    },
    gauge("omnirelay_peer_breaker_state", "0 closed, 1 open, 2 half open, 3 isolated.", PEER),
    counter("omnirelay_peer_breaker_changes_total", "Changes of a peer's breaker.", PEER),
    counter(
        "omnirelay_peer_breaker_transitions_total",
        "Changes of the breakers of a service's peers, by why.",
        &["rpc_service", "rpc_transport", "from", "to", "reason"],
    ),
    gauge("omnirelay_peer_registered", "Peers of a service that take work.", PEERS),
    gauge("omnirelay_peer_ejected", "Peers of a service that breakers keep out.", PEERS),
    gauge("omnirelay_peer_snapshot_version", "Version of the list of a service's peers.", PEERS),
    counter("omnirelay_peer_publish_total", "Changes of the list of a service's peers.", PEERS),
    counter(
        "omnirelay_peer_ejections_unenforced_total",
        "Failures after which a peer was kept in.",
        &["rpc_service", "rpc_transport", "reason"],
    ),
    counter(
        "omnirelay_peer_unusual_picks_total",
        "Picks outside of the preferred peers, or against the evidence.",
        &["rpc_service", "rpc_transport", "chooser", "selection"],
    ),
    counter(
        "omnirelay_peer_lease_rejected_total",
        "Calls that got no peer, by why.",
        &["rpc_service", "rpc_transport", "chooser", "peer_rejection_reason"],
    ),
    counter(
        "omnirelay_peer_pool_exhausted_total",
        "Calls for which no peer was left.",
        &["rpc_service", "rpc_transport", "chooser"],
    ),
    // the process
    gauge("omnirelay_build_info", "Always 1; the labels say what is running.", &["version"]),
];

const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, help, labels }
}

const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Unit::Count, help, labels }
}

/// Returns every metric that the mesh emits. A name that a process shows and this lacks is a bug.
#[must_use]
pub const fn catalogue() -> &'static [Metric] {
    CATALOGUE
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_there_once() {
        let names: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn names_and_labels_are_prometheus_words_and_only_counters_end_in_total() {
        let word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        for metric in CATALOGUE {
            assert!(word(metric.name), "{}", metric.name);
            assert!(metric.labels.iter().all(|label| word(label)), "labels of {}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        }
    }

    #[test]
    fn buckets_ascend_and_both_spellings_of_the_round_trip_share_them() {
        assert_eq!(RTT_MS_BUCKETS.len(), RTT_SECONDS_BUCKETS.len());
        for (millis, seconds) in RTT_MS_BUCKETS.iter().zip(RTT_SECONDS_BUCKETS) {
            assert!((millis / 1000.0 - seconds).abs() < 1e-12, "{millis} ms is not {seconds} s");
        }
        for metric in CATALOGUE {
            if let Kind::Histogram { buckets } = metric.kind {
                assert!(buckets.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }
}
