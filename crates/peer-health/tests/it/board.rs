//! Snapshots, what is told between them, and providers side by side.

use std::error::Error;
use std::sync::Arc;
use std::thread;

use peer_health::{
    Event, EventKind, Events, HealthBoard, HealthState, Moment, Outcome as Call, PeerFacts, Release, Source, Summary,
    Tracker, Verdict, Verdicts,
};

use crate::setting::{Fixed, Outcome, at, board, id, lease, tracker};

fn tracked() -> (Arc<Tracker>, HealthBoard) {
    let tracker = Arc::new(tracker());
    (Arc::clone(&tracker), board(vec![tracker]))
}

#[test]
fn a_snapshot_shows_every_peer_once_by_id_and_counts_them() -> Outcome {
    let (tracker, board) = tracked();
    let healthy = tracker.handle(&id("b")?, at(0))?;
    healthy.heartbeat(at(0));
    tracker.handle(&id("c")?, at(0))?;
    tracker.record(&id("d")?, Source::Probe, Verdict::Degraded, at(0))?;
    tracker.record_assignment(&id("a")?, lease(1, 1), at(0))?;
    tracker.record_release(&id("a")?, lease(1, 1), Release::Requeued)?;
    tracker.record_disconnect(&id("a")?, None, at(5))?;
    let snapshot = board.snapshot(at(5));
    let shown: Vec<_> =
        snapshot.peers().iter().map(|peer| (peer.facts.id.as_str(), peer.state, peer.decided_by)).collect();
    let expected = [
        ("a", HealthState::Unhealthy, Some(Source::Lease)),
        ("b", HealthState::Healthy, Some(Source::Lease)),
        ("c", HealthState::Unknown, None),
        ("d", HealthState::Degraded, Some(Source::Probe)),
    ];
    assert_eq!(shown, expected);
    let summary = Summary { unknown: 1, healthy: 1, degraded: 1, unhealthy: 1, pending_reassignments: 1 };
    assert_eq!((snapshot.summary(), summary.eligible()), (summary, 3));
    let times = |name| snapshot.get(name).map(|peer| (peer.last_heartbeat, peer.last_disconnect));
    assert_eq!(times("a"), Some((None, Some(at(5).wall))));
    assert_eq!(times("b"), Some((Some(at(0).wall), None)));
    assert_eq!(times("A"), None);
    Ok(())
}

#[test]
fn a_version_stands_for_one_content_and_changes_with_any_of_it() -> Outcome {
    let (tracker, board) = tracked();
    assert_eq!((board.refresh(at(0)).version(), board.refresh(at(1)).version()), (1, 1));
    let handle = tracker.handle(&id("a")?, at(2))?;
    let appeared = board.refresh(at(2));
    assert_eq!((appeared.version(), appeared.since()), (2, Some(at(2))));
    let changes: [&dyn Fn() -> Outcome; 5] = [
        &|| {
            handle.heartbeat(at(3));
            Ok(())
        },
        &|| Ok(tracker.set_metadata(&id("a")?, &[("k", "v")], at(3))?),
        &|| Ok(tracker.record_assignment(&id("a")?, lease(1, 1), at(3))?),
        &|| {
            handle.outcome(Call::Failed, at(3));
            Ok(())
        },
        &|| Ok(tracker.record_disconnect(&id("a")?, None, at(3))?),
    ];
    for (version, change) in (3..).zip(changes) {
        change()?;
        assert_eq!((board.refresh(at(3)).version(), board.refresh(at(3)).version()), (version, version));
    }
    // What was taken before stays as it was.
    assert_eq!(appeared.peers().first().map(|peer| (peer.last_heartbeat, peer.facts.leases.len())), Some((None, 0)));
    Ok(())
}

#[test]
fn a_version_changes_with_a_heartbeat_or_a_disconnect_that_only_moves_a_time() -> Outcome {
    let (tracker, board) = tracked();
    let handle = tracker.handle(&id("a")?, at(0))?;
    handle.heartbeat(at(0));
    assert_eq!(board.refresh(at(0)).version(), 1);
    handle.heartbeat(at(1));
    let beaten = board.refresh(at(1));
    let last_heartbeat = beaten.get("a").and_then(|peer| peer.last_heartbeat);
    assert_eq!((beaten.version(), last_heartbeat), (2, Some(at(1).wall)));
    for (millis, version) in [(2, 3), (3, 4)] {
        tracker.record_disconnect(&id("a")?, None, at(millis))?;
        let lost = board.refresh(at(millis));
        let last_disconnect = lost.get("a").and_then(|peer| peer.last_disconnect);
        assert_eq!((lost.version(), last_disconnect), (version, Some(at(millis).wall)));
    }
    Ok(())
}

#[test]
fn time_alone_changes_a_snapshot_when_evidence_runs_out() -> Outcome {
    let (tracker, board) = tracked();
    tracker.record_heartbeat(&id("a")?, at(0))?;
    let eligible = |millis| board.snapshot(at(millis)).summary().eligible();
    assert_eq!((eligible(0), eligible(30_000), eligible(30_100)), (1, 1, 0));
    Ok(())
}

#[test]
fn a_snapshot_is_looked_at_again_after_100_ms_or_on_demand() -> Outcome {
    let (tracker, board) = tracked();
    assert_eq!(board.snapshot(at(0)).peers().len(), 0);
    tracker.handle(&id("a")?, at(0))?;
    assert_eq!(board.snapshot(at(99)).peers().len(), 0);
    assert_eq!(board.snapshot(at(100)).peers().len(), 1);
    tracker.handle(&id("b")?, at(100))?;
    assert_eq!(board.refresh(at(101)).peers().len(), 2);
    Ok(())
}

fn told(events: Events) -> Vec<(String, EventKind)> {
    events.events.into_iter().map(|event| (event.peer.to_string(), event.kind)).collect()
}

#[test]
fn what_happens_is_told_in_order_and_from_any_event_on() -> Outcome {
    let (tracker, board) = tracked();
    let (a, b) = (id("a")?, id("b")?);
    tracker.record_heartbeat(&b, at(0))?;
    board.refresh(at(0));
    tracker.record_heartbeat(&a, at(1))?;
    tracker.record_disconnect(&b, None, at(1))?;
    board.refresh(at(1));
    let (healthy, unhealthy) = (HealthState::Healthy, HealthState::Unhealthy);
    let changed = EventKind::Changed { from: healthy, to: unhealthy, source: Some(Source::Lease) };
    let appeared = EventKind::Appeared { state: healthy };
    let all = board.events_since(0, at(1));
    assert_eq!((all.lagged, all.newest), (false, 3));
    let (name_a, name_b) = ("a".to_owned(), "b".to_owned());
    assert_eq!(told(all), [(name_b.clone(), appeared), (name_a, appeared), (name_b, changed)]);
    let last = Event { seq: 3, at: at(1), peer: b, kind: changed };
    assert_eq!(board.events_since(2, at(1)), Events { events: vec![last], lagged: false, newest: 3 });
    assert_eq!(board.events_since(3, at(1)), Events { events: vec![], lagged: false, newest: 3 });
    // A number of another life of this process: everything is new.
    let foreign = board.events_since(99, at(1));
    assert_eq!((foreign.lagged, foreign.events.len()), (true, 3));
    Ok(())
}

#[test]
fn who_asks_too_late_is_told_that_events_are_missing() -> Outcome {
    let (tracker, board) = tracked();
    let handle = tracker.handle(&id("a")?, at(0))?;
    for turn in 0..5_000_u64 {
        let verdict = if turn % 2 == 0 { Verdict::Down } else { Verdict::Up };
        // Two minutes apart, so that it is no flapping.
        handle.record(Source::Lease, verdict, at(turn * 120_000));
        board.refresh(at(turn * 120_000));
    }
    let events = |seq| {
        let events = board.events_since(seq, at(0));
        (events.lagged, events.events.len(), events.events.first().map(|event| event.seq))
    };
    assert_eq!(board.events_since(0, at(0)).newest, 5_000);
    assert_eq!(events(0), (true, 4_096, Some(905)));
    assert_eq!(events(903), (true, 4_096, Some(905)));
    assert_eq!(events(904), (false, 4_096, Some(905)));
    Ok(())
}

fn anomalies(board: &HealthBoard, now: Moment) -> Vec<(Moment, EventKind)> {
    let events = board.events_since(0, now).events.into_iter();
    let ordinary =
        |kind: &EventKind| matches!(kind, EventKind::Appeared { .. } | EventKind::Changed { .. } | EventKind::Gone);
    events.filter(|event| !ordinary(&event.kind)).map(|event| (event.at, event.kind)).collect()
}

#[test]
fn four_changes_within_a_minute_are_told_once_until_it_is_calm() -> Outcome {
    let (tracker, board) = tracked();
    let handle = tracker.handle(&id("a")?, at(0))?;
    let turns = |times: &[u64]| {
        for (turn, millis) in times.iter().enumerate() {
            let verdict = if turn % 2 == 0 { Verdict::Down } else { Verdict::Up };
            handle.record(Source::CustomA, verdict, at(*millis));
            board.refresh(at(*millis));
        }
    };
    // The first is how it appears. Of the four changes after it the last comes too late by a millisecond.
    turns(&[0, 1_000, 21_000, 41_000, 61_001]);
    assert_eq!(anomalies(&board, at(61_001)), []);
    turns(&[80_000, 81_000, 82_000]);
    assert_eq!(anomalies(&board, at(82_000)), [(at(81_000), EventKind::Flapping)]);
    // It is down already when this begins: four changes again.
    turns(&[200_000, 201_000, 202_000, 203_000, 204_000]);
    assert_eq!(anomalies(&board, at(204_000)).get(1), Some(&(at(204_000), EventKind::Flapping)));
    Ok(())
}

#[test]
fn a_peer_that_lives_and_is_not_reached_for_10_s_is_told_once() -> Outcome {
    let (tracker, board) = tracked();
    let handle = tracker.handle(&id("a")?, at(0))?;
    let look = |millis, outcome| {
        handle.record(Source::Gossip, Verdict::Up, at(millis));
        for _call in 0..3 {
            handle.outcome(outcome, at(millis));
        }
        board.refresh(at(millis));
        anomalies(&board, at(millis)).len()
    };
    let counts = [
        look(0, Call::Failed),
        look(5_000, Call::Failed),
        look(10_000, Call::Failed),
        look(10_001, Call::Failed),
        look(15_000, Call::Failed),
        look(16_000, Call::Reached),
        look(17_000, Call::Failed),
        look(27_000, Call::Failed),
        look(27_001, Call::Failed),
    ];
    assert_eq!(counts, [0, 0, 0, 1, 1, 1, 1, 1, 2]);
    assert_eq!(anomalies(&board, at(27_001)).last(), Some(&(at(27_001), EventKind::Disagreement)));
    Ok(())
}

#[test]
fn a_peer_of_whom_nothing_counts_any_more_is_told_of() -> Outcome {
    let (tracker, board) = tracked();
    tracker.record(&id("a")?, Source::Gossip, Verdict::Up, at(0))?;
    for millis in [0, 10_000, 10_100, 10_200] {
        board.refresh(at(millis));
    }
    assert_eq!(anomalies(&board, at(10_200)), [(at(10_100), EventKind::Stale)]);
    Ok(())
}

#[test]
fn a_peer_that_is_forgotten_is_gone_from_the_board() -> Outcome {
    let (tracker, board) = tracked();
    tracker.handle(&id("a")?, at(0))?;
    tracker.record_heartbeat(&id("b")?, at(600_001))?;
    assert_eq!(board.refresh(at(0)).peers().len(), 2);
    assert_eq!(tracker.collect(at(600_001)), 1);
    assert_eq!(board.refresh(at(600_001)).peers().len(), 1);
    let last = told(board.events_since(2, at(600_001)));
    assert_eq!(last.first(), Some(&("a".to_owned(), EventKind::Gone)));
    Ok(())
}

fn facts(name: &str, sequences: &[u64], metadata: &[(&str, &str)]) -> Result<Arc<PeerFacts>, Box<dyn Error>> {
    let leases = sequences.iter().map(|sequence| lease(*sequence, 1)).collect();
    let metadata = Arc::new(metadata.iter().copied().collect());
    Ok(Arc::new(PeerFacts { leases, metadata, pending: sequences.to_vec(), ..PeerFacts::new(id(name)?) }))
}

#[test]
fn providers_that_know_the_same_peer_are_folded_and_counted_once() -> Outcome {
    let up = Verdicts::default().with(Source::Gossip, Verdict::Up);
    let down = Verdicts::default().with(Source::Transport, Verdict::Down);
    let first = Fixed::new(vec![
        (facts("b", &[1, 2], &[("Rack", "r1")])?, up, Some(at(1).wall)),
        (facts("a", &[], &[])?, up, None),
    ]);
    let second = Fixed::new(vec![(facts("b", &[2, 3], &[("rack", "r2"), ("zone", "z1")])?, down, Some(at(9).wall))]);
    let nobody = Fixed::default();
    let board = board(vec![Arc::new(first), Arc::new(nobody), Arc::new(second)]);
    let snapshot = board.refresh(at(0));
    let summary = Summary { healthy: 1, unhealthy: 1, pending_reassignments: 3, ..Summary::default() };
    assert_eq!((snapshot.peers().len(), snapshot.summary()), (2, summary));
    let folded = snapshot.get("b").ok_or("`b` is known")?;
    assert_eq!(*folded.facts, *facts("b", &[1, 2, 3], &[("Rack", "r1"), ("zone", "z1")])?);
    assert_eq!((folded.state, folded.last_heartbeat), (HealthState::Unhealthy, Some(at(9).wall)));
    assert_eq!(board.refresh(at(1)).version(), 1);
    Ok(())
}

#[test]
fn a_newcomer_that_a_provider_tells_of_last_is_shown_in_its_place() -> Outcome {
    let [a, b, c] = ["a", "b", "c"].map(|name| facts(name, &[], &[]));
    let record = |facts: &Arc<PeerFacts>| (Arc::clone(facts), Verdicts::default(), None);
    let (known, newcomer) = ([record(&a?), record(&c?)], record(&b?));
    let provider = Arc::new(Fixed::new(known.to_vec()));
    let board = board(vec![Arc::clone(&provider) as _]);
    board.refresh(at(0));
    provider.say([known.as_slice(), &[newcomer]].concat());
    let snapshot = board.refresh(at(1));
    let shown: Vec<_> = snapshot.peers().iter().map(|peer| peer.facts.id.as_str()).collect();
    assert_eq!(shown, ["a", "b", "c"]);
    Ok(())
}

#[test]
fn of_two_providers_the_later_times_are_shown() -> Outcome {
    let trackers = [(); 2].map(|()| Arc::new(tracker()));
    let a = id("a")?;
    let [first, second] = &trackers;
    first.record_heartbeat(&a, at(2))?;
    first.record_disconnect(&a, None, at(1))?;
    second.record_heartbeat(&a, at(1))?;
    second.record_disconnect(&a, None, at(3))?;
    let snapshot = board(trackers.iter().map(|tracker| Arc::clone(tracker) as _).collect()).refresh(at(3));
    let times = snapshot.get("a").map(|peer| (peer.last_heartbeat, peer.last_disconnect));
    assert_eq!(times, Some((Some(at(2).wall), Some(at(3).wall))));
    Ok(())
}

#[test]
fn what_a_peer_did_before_it_was_gone_is_not_held_against_it() -> Outcome {
    let provider = Arc::new(Fixed::default());
    let board = board(vec![Arc::clone(&provider) as _]);
    let said = |verdict| {
        Ok::<_, Box<dyn Error>>((facts("a", &[], &[])?, Verdicts::default().with(Source::Probe, verdict), None))
    };
    let look = |millis, verdicts: &[Verdict]| {
        provider.say(verdicts.iter().map(|verdict| said(*verdict)).collect::<Result<_, _>>()?);
        board.refresh(at(millis));
        Ok::<_, Box<dyn Error>>(())
    };
    for (millis, verdict) in [(0, Verdict::Up), (1, Verdict::Down), (2, Verdict::Up), (3, Verdict::Down)] {
        look(millis, &[verdict])?;
    }
    look(4, &[])?;
    look(5, &[Verdict::Up])?;
    look(6, &[Verdict::Down])?;
    // Three changes, then it was another one's turn.
    assert_eq!(anomalies(&board, at(6)), []);
    Ok(())
}

#[test]
fn work_that_waits_is_counted_however_much_of_it_there_is() -> Outcome {
    let lengths = [65_534, 65_535, 65_536];
    let record = |(name, length)| {
        let facts = PeerFacts { pending: (0..length).collect(), ..PeerFacts::new(id(name)?) };
        Ok((Arc::new(facts), Verdicts::default(), None))
    };
    let records = ["a", "b", "c"].into_iter().zip(lengths).map(record).collect::<Result<_, Box<dyn Error>>>()?;
    let snapshot = board(vec![Arc::new(Fixed::new(records))]).refresh(at(0));
    assert_eq!(snapshot.summary().pending_reassignments, 65_534 + 65_535 + 65_536);
    Ok(())
}

#[test]
fn a_board_without_providers_is_empty() {
    let snapshot = board(Vec::new()).snapshot(at(0));
    assert_eq!((snapshot.peers().len(), snapshot.summary(), snapshot.version()), (0, Summary::default(), 1));
}

#[test]
fn readers_and_writers_at_once_see_whole_snapshots_in_order() -> Outcome {
    let (tracker, board) = tracked();
    let handles = (0..50)
        .map(|n| Ok(tracker.handle(&id(&format!("n{n:02}"))?, at(0))?))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let work = || {
        for millis in 1..500 {
            handles.iter().for_each(|handle| handle.heartbeat(at(millis)));
            let snapshot = board.refresh(at(millis));
            let all = snapshot.peers().iter().all(|peer| peer.last_heartbeat.is_some());
            assert!(all && snapshot.peers().is_sorted_by(|a, b| a.facts.id < b.facts.id), "{snapshot:?}");
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        let mut version = 0;
        while workers.iter().any(|worker| !worker.is_finished()) {
            let snapshot = board.snapshot(at(0));
            assert!(snapshot.version() >= version, "went back from {version} to {}", snapshot.version());
            version = snapshot.version();
            let summary = snapshot.summary();
            assert_eq!(summary.eligible() + summary.unhealthy, snapshot.peers().len());
        }
    });
    assert_eq!(board.refresh(at(499)).summary(), Summary { healthy: 50, ..Summary::default() });
    Ok(())
}
