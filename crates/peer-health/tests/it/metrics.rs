//! What dashboards see.

use std::sync::Arc;

use peer_health::{Outcome as Call, Release};

use crate::setting::{Outcome, at, board, id, lease, tracker};

#[test]
fn what_is_recorded_is_counted_under_the_names_of_the_catalogue() -> Outcome {
    let (recorder, handle) = telemetry::build_metrics()?;
    let recording = metrics::set_default_local_recorder(&recorder);
    let tracker = Arc::new(tracker());
    let board = board(vec![Arc::clone(&tracker) as _]);
    let (a, b, c) = (id("a")?, id("b")?, id("c")?);
    for peer in [&a, &b] {
        tracker.record_heartbeat(peer, at(0))?;
        tracker.record_heartbeat(peer, at(1))?;
    }
    tracker.handle(&c, at(0))?;
    tracker.record_assignment(&a, lease(1, 1), at(1))?;
    tracker.record_assignment(&a, lease(1, 1), at(1))?;
    tracker.record_assignment(&a, lease(2, 1), at(1))?;
    tracker.record_release(&a, lease(2, 1), Release::Requeued)?;
    board.refresh(at(1));
    tracker.record_disconnect(&a, None, at(2))?;
    for _call in 0..4 {
        tracker.record_outcome(&c, Call::Failed, at(2))?;
    }
    board.refresh(at(2));
    board.refresh(at(30_003));
    assert_eq!(tracker.collect(at(700_000)), 2);
    board.refresh(at(700_000));
    drop(recording);
    let text = handle.render();
    let mut shown: Vec<_> = text.lines().filter(|line| line.starts_with("omnirelay_peer_")).collect();
    shown.sort_unstable();
    let expected = [
        "omnirelay_peer_health_anomalies_total{kind=\"stale\"} 1",
        "omnirelay_peer_health_collected_total 2",
        "omnirelay_peer_health_state{state=\"degraded\"} 0",
        "omnirelay_peer_health_state{state=\"healthy\"} 0",
        "omnirelay_peer_health_state{state=\"unhealthy\"} 1",
        "omnirelay_peer_health_state{state=\"unknown\"} 0",
        "omnirelay_peer_health_transitions_total{from=\"healthy\",to=\"unhealthy\",source=\"lease\"} 2",
        "omnirelay_peer_health_transitions_total{from=\"unhealthy\",to=\"unknown\",source=\"none\"} 1",
        "omnirelay_peer_health_transitions_total{from=\"unknown\",to=\"unhealthy\",source=\"transport\"} 1",
        "omnirelay_peer_lease_assignments_total 2",
        "omnirelay_peer_lease_disconnects_total 1",
        "omnirelay_peer_lease_healthy 0",
        "omnirelay_peer_lease_heartbeats_total 4",
        "omnirelay_peer_lease_pending_reassignments 1",
        "omnirelay_peer_lease_unhealthy 1",
    ];
    assert_eq!(shown, expected);
    let known: Vec<_> = telemetry::catalogue().iter().map(|metric| metric.name).collect();
    let unknown: Vec<_> = shown.iter().filter(|line| !known.iter().any(|name| line.starts_with(name))).collect();
    assert!(unknown.is_empty(), "not in the catalogue: {unknown:?}");
    Ok(())
}
