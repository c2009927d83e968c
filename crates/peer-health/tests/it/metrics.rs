//! What dashboards see.

use std::error::Error;
use std::sync::Arc;

use peer_health::{Outcome as Call, PeerFacts, Release, Verdicts};

use crate::setting::{Fixed, Outcome, at, board, id, lease, tracker};

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

#[test]
fn heartbeats_of_a_forgotten_peer_are_counted_once_and_for_good() -> Outcome {
    let (recorder, handle) = telemetry::build_metrics()?;
    let recording = metrics::set_default_local_recorder(&recorder);
    let tracker = Arc::new(tracker());
    let board = board(vec![Arc::clone(&tracker) as _]);
    for millis in [0, 1] {
        tracker.record_heartbeat(&id("a")?, at(millis))?;
    }
    board.refresh(at(1));
    assert_eq!(tracker.collect(at(700_000)), 1);
    board.refresh(at(700_000));
    // It takes the room of the one that is gone.
    tracker.record_heartbeat(&id("b")?, at(700_001))?;
    board.refresh(at(700_001));
    drop(recording);
    let text = handle.render();
    let heartbeats = text.lines().find(|line| line.starts_with("omnirelay_peer_lease_heartbeats_total"));
    assert_eq!(heartbeats, Some("omnirelay_peer_lease_heartbeats_total 3"));
    Ok(())
}

#[test]
fn records_that_find_no_room_in_a_snapshot_are_left_out_and_counted() -> Outcome {
    const ROOM: usize = 65_536;
    let (recorder, handle) = telemetry::build_metrics()?;
    let recording = metrics::set_default_local_recorder(&recorder);
    let record = |n: usize| Ok((Arc::new(PeerFacts::new(id(&format!("p{n:05}"))?)), Verdicts::default(), None));
    let [main, more] =
        [0..ROOM - 1, ROOM - 1..ROOM + 2].map(|all| all.map(record).collect::<Result<_, Box<dyn Error>>>());
    let board = board(vec![Arc::new(Fixed::new(main?)) as _, Arc::new(Fixed::new(more?)) as _]);
    let snapshot = board.refresh(at(0));
    drop(recording);
    let last = snapshot.peers().last().map(|peer| peer.facts.id.to_string());
    assert_eq!((snapshot.peers().len(), last.as_deref()), (ROOM, Some("p65535")));
    let left_out =
        handle.render().lines().find(|line| line.starts_with("omnirelay_peer_health_left_out")).map(str::to_owned);
    assert_eq!(left_out.as_deref(), Some("omnirelay_peer_health_left_out_total 2"));
    Ok(())
}
