//! What is told between two snapshots.

use std::error::Error;
use std::sync::Arc;

use peer_health::{
    Event, EventKind, Events, HealthBoard, HealthState, Moment, Outcome as Call, Source, Verdict, Verdicts,
};

use crate::setting::{Fixed, Outcome, at, board, facts, id, tracked};

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
    let last = Event { seq: 3, at: at(1), peer: b, kind: changed, reason: None };
    assert_eq!(board.events_since(2, at(1)), Events { events: vec![last], lagged: false, newest: 3 });
    assert_eq!(board.events_since(3, at(1)), Events { events: vec![], lagged: false, newest: 3 });
    // A number of another life of this process: everything is new.
    let foreign = board.events_since(99, at(1));
    assert_eq!((foreign.lagged, foreign.events.len()), (true, 3));
    Ok(())
}

#[test]
fn a_loss_is_told_with_the_reason_that_was_given_for_it() -> Outcome {
    let (tracker, board) = tracked();
    let a = id("a")?;
    let look = |millis, verdict: Verdict, reason: Option<&str>| {
        match verdict {
            Verdict::Up => tracker.record_heartbeat(&a, at(millis))?,
            _ => tracker.record_disconnect(&a, reason, at(millis))?,
        }
        let last = board.refresh(at(millis)).version();
        assert_eq!(last, millis + 1, "each look shows something new");
        Ok::<_, Box<dyn Error>>(board.events_since(0, at(millis)).events.pop().and_then(|event| event.reason))
    };
    assert_eq!(look(0, Verdict::Up, None)?, None);
    assert_eq!(look(1, Verdict::Down, Some("reset by peer"))?.as_deref(), Some("reset by peer"));
    assert_eq!(look(2, Verdict::Up, None)?, None);
    // Nobody knows why this time, and what was known the last time is no reason.
    assert_eq!(look(3, Verdict::Down, None)?, None);
    assert_eq!(board.refresh(at(3)).get("a").map(|peer| peer.facts.metadata.len()), Some(0));
    Ok(())
}

#[test]
fn who_lapses_after_a_loss_that_is_past_lapses_without_a_reason() -> Outcome {
    let (tracker, board) = tracked();
    tracker.record_disconnect(&id("a")?, Some("reset by peer"), at(0))?;
    tracker.record_heartbeat(&id("a")?, at(1))?;
    board.refresh(at(1));
    board.refresh(at(30_002));
    let last = board.events_since(0, at(30_002)).events.pop().map(|event| (event.kind, event.reason));
    let (from, to) = (HealthState::Healthy, HealthState::Unhealthy);
    assert_eq!(last, Some((EventKind::Changed { from, to, source: Some(Source::Lease) }, None)));
    Ok(())
}

#[test]
fn a_change_for_the_worse_by_another_source_has_no_reason_of_a_loss_that_is_made_good() -> Outcome {
    let (tracker, board) = tracked();
    tracker.record_heartbeat(&id("a")?, at(0))?;
    board.refresh(at(0));
    tracker.record_disconnect(&id("a")?, Some("reset by peer"), at(1))?;
    tracker.record_heartbeat(&id("a")?, at(2))?;
    tracker.record(&id("a")?, Source::Probe, Verdict::Down, at(2))?;
    board.refresh(at(2));
    let last = board.events_since(0, at(2)).events.pop().map(|event| (event.kind, event.reason));
    let (from, to) = (HealthState::Healthy, HealthState::Unhealthy);
    assert_eq!(last, Some((EventKind::Changed { from, to, source: Some(Source::Probe) }, None)));
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
