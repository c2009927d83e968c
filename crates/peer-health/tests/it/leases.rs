//! Leases, metadata, their bounds, and many threads at once.

use std::thread;

use mesh_types::NodeId;
use peer_health::{HealthProvider as _, Options, PeerFacts, Release, TrackError, Tracker};

use crate::setting::{Outcome, at, id, lease, tracker};

fn facts(tracker: &Tracker) -> Vec<PeerFacts> {
    let mut all = Vec::new();
    tracker.visit(at(0), &mut |record| all.push(PeerFacts::clone(record.facts)));
    all
}

#[test]
fn work_that_is_requeued_is_pending_until_anybody_gets_it() -> Outcome {
    let tracker = tracker();
    let (a, b) = (id("a")?, id("b")?);
    tracker.record_assignment(&a, lease(2, 1), at(0))?;
    tracker.record_assignment(&a, lease(1, 1), at(0))?;
    tracker.record_assignment(&a, lease(1, 1), at(0))?;
    assert!(tracker.record_release(&a, lease(2, 1), Release::Requeued)?);
    assert!(!tracker.record_release(&a, lease(2, 1), Release::Requeued)?);
    assert!(!tracker.record_release(&b, lease(2, 1), Release::Finished)?);
    let of_a = |leases, pending| PeerFacts { leases, pending, ..PeerFacts::new(a.clone()) };
    assert_eq!(facts(&tracker), [of_a(vec![lease(1, 1)], vec![2])]);
    tracker.record_assignment(&b, lease(2, 2), at(0))?;
    let of_b = PeerFacts { leases: vec![lease(2, 2)], ..PeerFacts::new(b) };
    assert_eq!(facts(&tracker), [of_a(vec![lease(1, 1)], vec![]), of_b]);
    assert!(tracker.record_release(&a, lease(1, 1), Release::Finished)?);
    assert_eq!(facts(&tracker).first(), Some(&of_a(vec![], vec![])));
    Ok(())
}

#[test]
fn work_that_two_peers_give_up_in_turn_is_pending_once() -> Outcome {
    let tracker = tracker();
    for (attempt, name) in [(1, "a"), (2, "b")] {
        tracker.record_assignment(&id(name)?, lease(7, attempt), at(0))?;
    }
    assert!(tracker.record_release(&id("a")?, lease(7, 1), Release::Requeued)?);
    assert!(tracker.record_release(&id("b")?, lease(7, 2), Release::Requeued)?);
    let pending: Vec<_> = facts(&tracker).into_iter().map(|facts| facts.pending).collect();
    assert_eq!(pending, [vec![], vec![7]]);
    Ok(())
}

#[test]
fn metadata_ignores_case_and_keeps_the_given_spelling() -> Outcome {
    let tracker = tracker();
    let a = id("a")?;
    tracker.set_metadata(&a, &[("Resource.Type", "queue"), ("pending.count", "3")], at(0))?;
    tracker.set_metadata(&a, &[("resource.TYPE", "table")], at(0))?;
    tracker.record_disconnect(&a, Some("reset by peer"), at(0))?;
    let metadata = facts(&tracker).remove(0).metadata;
    assert_eq!((metadata.get("RESOURCE.type"), metadata.get("other")), (Some("table"), None));
    let shown: Vec<_> = metadata.iter().collect();
    let expected = [("Resource.Type", "table"), ("pending.count", "3"), ("disconnect.reason", "reset by peer")];
    assert_eq!(shown, expected);
    assert!(tracker.remove_metadata(&a, "PENDING.COUNT"));
    assert!(!tracker.remove_metadata(&a, "pending.count"));
    assert_eq!(facts(&tracker).remove(0).metadata.len(), 2);
    Ok(())
}

#[test]
fn every_bound_holds_at_its_limit_and_refuses_one_more() -> Outcome {
    let options = Options { max_peers: 1, max_leases_per_peer: 1, max_metadata_entries: 1, ..Options::default() };
    let tracker = Tracker::new(options);
    let (a, b) = (id("a")?, id("b")?);
    tracker.record_heartbeat(&a, at(0))?;
    let full = Err(TrackError::TooManyPeers { peer: b.clone(), limit: 1 });
    assert_eq!(tracker.record_heartbeat(&b, at(0)), full);

    tracker.record_assignment(&a, lease(1, 1), at(0))?;
    let busy = TrackError::TooManyLeases { peer: a.clone(), limit: 1 };
    assert_eq!(tracker.record_assignment(&a, lease(2, 1), at(0)), Err(busy.clone()));
    assert_eq!(tracker.record_release(&a, lease(1, 1), Release::Requeued), Ok(true));
    tracker.record_assignment(&a, lease(2, 1), at(0))?;
    assert_eq!(tracker.record_release(&a, lease(2, 1), Release::Requeued), Err(busy));

    tracker.set_metadata(&a, &[("k", "1")], at(0))?;
    let crowded = TrackError::TooManyMetadata { peer: a.clone(), key: "l".to_owned(), limit: 1 };
    assert_eq!(tracker.set_metadata(&a, &[("k", "2"), ("l", "3")], at(0)), Err(crowded));
    let (longest, long) = ("k".repeat(128), "k".repeat(129));
    let key = |bytes| Err(TrackError::MetadataKey { peer: a.clone(), bytes });
    assert_eq!(tracker.set_metadata(&a, &[(&long, "")], at(0)), key(129));
    assert_eq!(tracker.set_metadata(&a, &[("", "")], at(0)), key(0));
    let value = Err(TrackError::MetadataValue { peer: a.clone(), key: "k".to_owned(), bytes: 513 });
    assert_eq!(tracker.set_metadata(&a, &[("k", &"v".repeat(513))], at(0)), value);
    assert_eq!(facts(&tracker).remove(0).metadata.iter().collect::<Vec<_>>(), [("k", "1")]);
    assert!(tracker.remove_metadata(&a, "k"));
    assert_eq!(tracker.set_metadata(&a, &[(&longest, &"v".repeat(512))], at(0)), Ok(()));
    Ok(())
}

#[test]
fn a_peer_that_finds_no_room_for_the_reason_is_disconnected_all_the_same() -> Outcome {
    let tracker = tracker();
    let a = id("a")?;
    let refused = tracker.record_disconnect(&a, Some(&"r".repeat(513)), at(0));
    let expected = TrackError::MetadataValue { peer: a.clone(), key: "disconnect.reason".to_owned(), bytes: 513 };
    assert_eq!((refused, tracker.is_eligible(&a, at(0))), (Err(expected), false));
    Ok(())
}

/// How much work each thread passes around.
const WORK: u64 = 200;

/// Speaks of all `peers`, and passes each work from one to the next until the first has it again.
fn work(tracker: &Tracker, peers: &[NodeId], worker: u64) -> Result<(), TrackError> {
    for step in 0..WORK {
        let lease = lease(worker * WORK + step, 1);
        for peer in peers {
            tracker.record_heartbeat(peer, at(step))?;
            tracker.set_metadata(peer, &[(&format!("worker.{worker}"), &step.to_string())], at(step))?;
            tracker.record_assignment(peer, lease, at(step))?;
            tracker.record_release(peer, lease, Release::Requeued)?;
        }
        if let Some(first) = peers.first() {
            tracker.record_assignment(first, lease, at(step))?;
        }
    }
    Ok(())
}

#[test]
fn threads_that_record_at_once_lose_nothing() -> Outcome {
    let tracker = tracker();
    let peers = [id("a")?, id("b")?, id("c")?, id("d")?];
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (tracker, peers) = (&tracker, &peers);
                scope.spawn(move || work(tracker, peers, worker))
            })
            .collect();
        for _visit in 0..100 {
            let held: usize = facts(&tracker).iter().map(|facts| facts.leases.len()).sum();
            assert!(held <= 800, "{held} leases of 800");
        }
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).collect()
    });
    assert_eq!(results, [Ok(()), Ok(()), Ok(()), Ok(())]);
    let counts: Vec<_> = facts(&tracker)
        .iter()
        .map(|facts| {
            (
                facts.leases.len(),
                facts.pending.len(),
                facts.metadata.len(),
                facts.metadata.get("WORKER.3") == Some("199"),
            )
        })
        .collect();
    assert_eq!(counts, [(800, 0, 4, true), (0, 0, 4, true), (0, 0, 4, true), (0, 0, 4, true)]);
    Ok(())
}
