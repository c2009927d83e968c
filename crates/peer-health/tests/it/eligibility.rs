//! Who may get work.

use peer_health::{HealthState, Outcome as Call, Source, Tracker, Verdict};

use crate::setting::{Outcome, at, id, tracker};

#[track_caller]
fn check(tracker: &Tracker, name: &str, millis: u64, eligible: bool) -> Outcome {
    assert_eq!(tracker.is_eligible(&id(name)?, at(millis)), eligible, "`{name}` at {millis} ms");
    Ok(())
}

#[test]
fn an_unknown_peer_and_one_never_heard_of_may_get_work() -> Outcome {
    let tracker = tracker();
    check(&tracker, "a", 0, true)?;
    tracker.handle(&id("a")?, at(0))?;
    check(&tracker, "a", 1_000_000, true)
}

#[test]
fn a_heartbeat_counts_to_the_end_of_its_grace_period_and_a_later_one_counts_again() -> Outcome {
    let tracker = tracker();
    tracker.record_heartbeat(&id("a")?, at(0))?;
    check(&tracker, "a", 30_000, true)?;
    check(&tracker, "a", 30_001, false)?;
    tracker.record_heartbeat(&id("a")?, at(40_000))?;
    check(&tracker, "a", 70_000, true)
}

#[test]
fn a_disconnected_peer_gets_no_work_until_it_is_heard_of_again() -> Outcome {
    let tracker = tracker();
    let handle = tracker.handle(&id("a")?, at(0))?;
    handle.heartbeat(at(0));
    tracker.record_disconnect(&id("a")?, None, at(1))?;
    check(&tracker, "a", 1, false)?;
    check(&tracker, "a", 10_000_000, false)?;
    handle.heartbeat(at(10_000_000));
    check(&tracker, "a", 10_000_000, true)
}

#[test]
fn a_disconnect_that_is_told_late_takes_nothing_from_who_was_heard_of_since() -> Outcome {
    let tracker = tracker();
    let handle = tracker.handle(&id("a")?, at(0))?;
    handle.heartbeat(at(10));
    tracker.record_disconnect(&id("a")?, None, at(9))?;
    check(&tracker, "a", 10, true)?;
    tracker.record_disconnect(&id("a")?, None, at(10))?;
    check(&tracker, "a", 10, false)
}

#[test]
fn each_source_counts_for_its_own_time_and_the_worst_that_counts_decides() -> Outcome {
    let tracker = tracker();
    let handle = tracker.handle(&id("a")?, at(0))?;
    handle.record(Source::Gossip, Verdict::Up, at(0));
    handle.record(Source::Transport, Verdict::Down, at(0));
    handle.record(Source::Probe, Verdict::Degraded, at(0));
    let state = |millis| handle.state(at(millis));
    assert_eq!((state(10_000), state(10_001)), (HealthState::Unhealthy, HealthState::Degraded));
    assert_eq!((state(30_000), state(30_001)), (HealthState::Degraded, HealthState::Unknown));
    assert!(handle.verdicts(at(30_001)).is_stale());
    Ok(())
}

#[test]
fn older_evidence_does_not_replace_newer() -> Outcome {
    let handle = tracker().handle(&id("a")?, at(0))?;
    handle.record(Source::Probe, Verdict::Down, at(5));
    handle.record(Source::Probe, Verdict::Up, at(4));
    assert_eq!(handle.state(at(5)), HealthState::Unhealthy);
    handle.record(Source::Probe, Verdict::Up, at(5));
    assert_eq!(handle.state(at(5)), HealthState::Healthy);
    Ok(())
}

#[test]
fn calls_that_fail_in_a_row_add_up_and_one_answer_ends_the_row() -> Outcome {
    let handle = tracker().handle(&id("a")?, at(0))?;
    let mut states = Vec::new();
    for outcome in [Call::Failed, Call::Failed, Call::Reached, Call::Failed, Call::Failed, Call::Failed] {
        handle.outcome(outcome, at(0));
        states.push(handle.state(at(0)));
    }
    let (healthy, degraded) = (HealthState::Healthy, HealthState::Degraded);
    assert_eq!(states, [degraded, degraded, healthy, degraded, degraded, HealthState::Unhealthy]);
    Ok(())
}

#[test]
fn an_operator_overrides_everybody_until_the_override_is_taken_back() -> Outcome {
    let tracker = tracker();
    let a = id("a")?;
    tracker.record_heartbeat(&a, at(0))?;
    tracker.record(&a, Source::Admin, Verdict::Down, at(0))?;
    check(&tracker, "a", 0, false)?;
    tracker.record(&a, Source::Admin, Verdict::Up, at(1))?;
    tracker.record_disconnect(&a, None, at(2))?;
    check(&tracker, "a", 100_000_000, true)?;
    tracker.clear(&a, Source::Admin);
    check(&tracker, "a", 100_000_000, false)
}
