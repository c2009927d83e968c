//! What calls show of a peer, told by those who make them.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_types::{BootEpoch, Incarnation, Member, MemberState, MetadataVersion, NodeMetadata};
use peer_health::{
    BreakerProvider, EventKind, HealthBoard, HealthState, Moment, Source, Timeline, Tracker, TransportFeed, Verdict,
};
use peers_core::{
    BreakerOptions, BreakerState, Filters, Fleet, Outcome as Call, OutcomeObserver, Peer, PeerLease, PeerTable,
    PeerUpdate, PickCx, PickError, RoundRobin, TableOptions,
};

use crate::setting::{Outcome, at, board, id, tracker};

fn tick(millis: u64) -> peers_core::Tick {
    peers_core::Tick::from_nanos(at(millis).tick.as_millis() * 1_000_000)
}

/// Tells `observer` that a call to `peer` ended so at `millis`.
fn call(observer: &dyn OutcomeObserver, peer: &str, millis: u64, outcome: Call) -> Outcome {
    observer.observe(&id(peer)?, tick(millis), Duration::from_millis(1), outcome);
    Ok(())
}

fn fed() -> (Arc<Tracker>, TransportFeed) {
    let tracker = Arc::new(tracker());
    (Arc::clone(&tracker), TransportFeed::new(tracker))
}

#[test]
fn only_no_answer_counts_against_a_peer() -> Outcome {
    use Call::{AppError, Cancelled, Failure, Overloaded, Success, Unreachable};
    let busy = Overloaded { retry_after: Some(Duration::from_secs(300)) };
    for (outcome, expected) in [
        (Success, Some(Verdict::Up)),
        (AppError, Some(Verdict::Up)),
        (busy, Some(Verdict::Up)),
        (Failure, Some(Verdict::Degraded)),
        (Unreachable, Some(Verdict::Degraded)),
        (Cancelled, None),
    ] {
        let (tracker, feed) = fed();
        let handle = tracker.handle(&id("a")?, at(0))?;
        call(&feed, "a", 0, outcome)?;
        assert_eq!(handle.verdicts(at(0)).of(Source::Transport), expected, "{outcome:?}");
    }
    Ok(())
}

#[test]
fn failures_in_a_row_are_down_for_as_long_as_transport_counts() -> Outcome {
    let (tracker, feed) = fed();
    let handle = tracker.handle(&id("a")?, at(0))?;
    for millis in [0, 1, 2] {
        call(&feed, "a", millis, Call::Failure)?;
    }
    assert_eq!((handle.state(at(10_002)), handle.state(at(10_003))), (HealthState::Unhealthy, HealthState::Unknown));
    call(&feed, "a", 10_003, Call::Success)?;
    assert_eq!(handle.state(at(10_003)), HealthState::Healthy);
    Ok(())
}

#[test]
fn calls_to_a_peer_that_is_not_known_make_it_no_peer() -> Outcome {
    let (tracker, feed) = fed();
    call(&feed, "a", 0, Call::Failure)?;
    assert!(tracker.is_empty());
    Ok(())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an instant cannot be made out of nothing")]
fn calls_and_moments_of_one_timeline_agree_on_the_time() {
    let start = Instant::now();
    let (line, later) = (Timeline::starting(start), start + Duration::from_micros(1_234_999));
    assert_eq!(line.call_tick(later).as_nanos(), 1_234_999_000);
    let moment = line.moment(later, SystemTime::UNIX_EPOCH);
    assert_eq!((moment.tick, moment.tick.as_millis()), (line.call_tick(later).into(), 1_234));
}

/// Returns what `board` has told, when and of whom.
fn told(board: &HealthBoard, millis: u64) -> Vec<(Moment, String, EventKind)> {
    let events = board.events_since(0, at(millis)).events.into_iter();
    events.map(|event| (event.at, event.peer.to_string(), event.kind)).collect()
}

#[test]
fn a_peer_that_gossip_holds_for_alive_and_calls_do_not_reach_for_10_s_is_told_of() -> Outcome {
    let (tracker, feed) = fed();
    let board = board(vec![Arc::clone(&tracker) as _]);
    for millis in (0..=10_300).step_by(100) {
        // Gossip goes in both directions, by way of others if need be; calls do not arrive.
        tracker.record(&id("a")?, Source::Gossip, Verdict::Up, at(millis))?;
        call(&feed, "a", millis, Call::Failure)?;
        drop(board.snapshot(at(millis)));
    }
    let (from, to) = (HealthState::Degraded, HealthState::Unhealthy);
    let expected = [
        (at(0), "a".to_owned(), EventKind::Appeared { state: from }),
        // The third failure in a row; since then they disagree.
        (at(200), "a".to_owned(), EventKind::Changed { from, to, source: Some(Source::Transport) }),
        (at(10_300), "a".to_owned(), EventKind::Disagreement),
    ];
    assert_eq!(told(&board, 10_300), expected);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a member carries when it was last seen; nobody here reads it")]
fn peer(name: &str, boot_epoch: u64) -> Result<Peer, Box<dyn Error>> {
    let metadata = NodeMetadata {
        role: "worker".parse()?,
        cluster: "prod".parse()?,
        region: "eu-1".parse()?,
        mesh_version: "1.0.0".into(),
        http3_support: true,
        endpoint: "127.0.0.1:1".parse()?,
        labels: BTreeMap::new(),
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::default(),
        services: std::collections::BTreeSet::new(),
        rpc_endpoint: None,
    };
    let member = Member {
        id: id(name)?,
        boot_epoch: BootEpoch(boot_epoch),
        incarnation: Incarnation(0),
        state: MemberState::Alive,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(metadata),
        last_seen: Instant::now(),
        rtt: None,
    };
    Ok(Peer::from_member(&member).ok_or("nobody to call")?)
}

/// Peers whose breakers open with one failure, for 100 ms, and a board that shows them.
struct Breakers {
    table: Arc<PeerTable>,
    tracker: Arc<Tracker>,
    board: HealthBoard,
}

impl Breakers {
    fn of(names: &[&str], lifetime: Duration) -> Result<Self, Box<dyn Error>> {
        let options = TableOptions { breaker: BreakerOptions::parity(), ..TableOptions::default() };
        let fleet = Fleet::default();
        let table = fleet.table(options);
        let peers = names.iter().map(|name| peer(name, 1)).collect::<Result<_, _>>()?;
        table.apply(tick(0), PeerUpdate::Reset(peers));
        let tracker = Arc::new(tracker());
        let provider = Arc::new(BreakerProvider::new(fleet, lifetime));
        let board = board(vec![Arc::clone(&tracker) as _, provider]);
        Ok(Self { table, tracker, board })
    }

    /// Returns what the breaker of `name` says at `millis`, and what the peer is held for.
    fn seen(&self, name: &str, millis: u64) -> Option<(Option<Verdict>, HealthState)> {
        let snapshot = self.board.refresh(at(millis));
        snapshot.get(name).map(|peer| (peer.verdicts.of(Source::Breaker), peer.state))
    }

    fn acquire(&self, millis: u64) -> Result<PeerLease, PickError> {
        self.table.balancer(Filters::none(), RoundRobin::default()).acquire(&PickCx::at(tick(millis)))
    }
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_breaker_is_seen_to_open_to_try_and_to_close() -> Outcome {
    let breakers = Breakers::of(&["a"], LONG)?;
    assert_eq!(breakers.seen("a", 0), None);
    breakers.acquire(0)?.report(tick(0), Call::Unreachable);
    assert_eq!(breakers.seen("a", 1), Some((Some(Verdict::Down), HealthState::Unhealthy)));
    let probe = breakers.acquire(100)?;
    assert_eq!(breakers.seen("a", 100), Some((Some(Verdict::Degraded), HealthState::Degraded)));
    probe.report(tick(101), Call::Success);
    assert_eq!(breakers.seen("a", 101), None);
    let (unhealthy, degraded) = (HealthState::Unhealthy, HealthState::Degraded);
    let changed = EventKind::Changed { from: unhealthy, to: degraded, source: Some(Source::Breaker) };
    let expected = [
        (at(1), "a".to_owned(), EventKind::Appeared { state: unhealthy }),
        (at(100), "a".to_owned(), changed),
        (at(101), "a".to_owned(), EventKind::Gone),
    ];
    assert_eq!(told(&breakers.board, 101), expected);
    Ok(())
}

#[test]
fn a_peer_that_fails_at_one_thing_and_is_reached_is_degraded_and_no_more() -> Outcome {
    let breakers = Breakers::of(&["a"], LONG)?;
    breakers.acquire(0)?.report(tick(0), Call::Failure);
    assert_eq!(breakers.seen("a", 1), Some((Some(Verdict::Degraded), HealthState::Degraded)));
    Ok(())
}

#[test]
fn a_peer_is_told_of_once_however_many_tables_keep_it_out() -> Outcome {
    let (fleet, tracker) = (Fleet::default(), Arc::new(tracker()));
    let options = || TableOptions { breaker: BreakerOptions::parity(), ..TableOptions::default() };
    let [one, other] = [fleet.table(options()), fleet.table(options())];
    for table in [&one, &other] {
        table.apply(tick(0), PeerUpdate::Reset(vec![peer("a", 1)?]));
    }
    call(&*one, "a", 0, Call::Unreachable)?;
    let breakers: Vec<_> =
        [&one, &other].iter().filter_map(|table| Some(table.handle(&id("a").ok()?)?.breaker())).collect();
    assert_eq!(breakers, [BreakerState::Open; 2]);
    let board = board(vec![tracker as _, Arc::new(BreakerProvider::new(fleet, LONG))]);
    let snapshot = board.refresh(at(1));
    let states: Vec<_> = snapshot.peers().iter().map(|peer| (peer.state, peer.decided_by)).collect();
    assert_eq!(states, [(HealthState::Unhealthy, Some(Source::Breaker))]);
    Ok(())
}

#[test]
fn a_breaker_weighs_against_what_else_is_said_and_takes_nothing_else_away() -> Outcome {
    let breakers = Breakers::of(&["a", "b"], LONG)?;
    for name in ["a", "b"] {
        breakers.tracker.record_heartbeat(&id(name)?, at(0))?;
        breakers.tracker.set_metadata(&id(name)?, &[("rack", "r1")], at(0))?;
    }
    call(&*breakers.table, "b", 0, Call::Unreachable)?;
    assert_eq!(breakers.seen("a", 1), Some((None, HealthState::Healthy)));
    assert_eq!(breakers.seen("b", 1), Some((Some(Verdict::Down), HealthState::Unhealthy)));
    let snapshot = breakers.board.refresh(at(1));
    let shown = snapshot.get("b").map(|peer| (peer.last_heartbeat, peer.facts.metadata.get("rack")));
    assert_eq!(shown, Some((Some(at(0).wall), Some("r1"))));
    Ok(())
}

#[test]
fn an_open_breaker_that_nobody_asks_counts_for_a_while_and_an_isolated_one_for_good() -> Outcome {
    let breakers = Breakers::of(&["a", "b"], Duration::from_secs(2))?;
    call(&*breakers.table, "a", 0, Call::Unreachable)?;
    breakers.table.handle(&id("b")?).ok_or("`b` is known")?.isolate();
    let down = Some((Some(Verdict::Down), HealthState::Unhealthy));
    assert_eq!((breakers.seen("a", 0), breakers.seen("b", 0)), (down, down));
    assert_eq!((breakers.seen("a", 2_000), breakers.seen("b", 2_000)), (down, down));
    let stale = Some((None, HealthState::Unknown));
    assert_eq!((breakers.seen("a", 2_001), breakers.seen("b", 2_001)), (stale, down));
    // It counts anew when it moves.
    breakers.acquire(3_000)?.report(tick(3_000), Call::Success);
    assert_eq!(breakers.seen("a", 3_000), None);
    call(&*breakers.table, "a", 3_001, Call::Unreachable)?;
    assert_eq!((breakers.seen("a", 3_001), breakers.seen("a", 5_001)), (down, down));
    assert_eq!(breakers.seen("a", 5_002), stale);
    Ok(())
}

#[test]
fn a_peer_that_is_described_anew_keeps_its_breaker_and_one_that_comes_back_has_another() -> Outcome {
    let breakers = Breakers::of(&["a", "b", "c"], Duration::from_secs(2))?;
    call(&*breakers.table, "b", 0, Call::Unreachable)?;
    let down = Some((Some(Verdict::Down), HealthState::Unhealthy));
    assert_eq!(breakers.seen("b", 0), down);
    // `a` goes, and `b` has another weight: its breaker has been open since 0 s all the same.
    let heavier = Peer { weight: 7, ..peer("b", 1)? };
    breakers.table.apply_all(tick(1_000), [PeerUpdate::Remove(id("a")?), PeerUpdate::Upsert(heavier)]);
    assert_eq!((breakers.seen("b", 1_000), breakers.seen("b", 2_000)), (down, down));
    assert_eq!(breakers.seen("b", 2_001), Some((None, HealthState::Unknown)));
    breakers.table.apply_all(tick(3_000), [PeerUpdate::Remove(id("b")?), PeerUpdate::Upsert(peer("b", 2)?)]);
    assert_eq!(breakers.seen("b", 3_000), None);
    call(&*breakers.table, "b", 3_001, Call::Unreachable)?;
    assert_eq!(breakers.seen("b", 3_001), down);
    Ok(())
}
