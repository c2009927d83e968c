//! Snapshots, and providers side by side.

use std::error::Error;
use std::sync::Arc;
use std::thread;

use peer_health::{HealthState, Outcome as Call, PeerFacts, Release, Source, Summary, Verdict, Verdicts};

use crate::setting::{Fixed, Outcome, at, board, facts, id, lease, tracked, tracker};

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
fn a_disconnect_that_is_told_late_is_not_shown_as_the_last() -> Outcome {
    let (tracker, board) = tracked();
    for millis in [2, 1] {
        tracker.record_disconnect(&id("a")?, None, at(millis))?;
    }
    let last_disconnect = board.refresh(at(2)).get("a").and_then(|peer| peer.last_disconnect);
    assert_eq!(last_disconnect, Some(at(2).wall));
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
