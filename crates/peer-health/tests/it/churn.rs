//! Peers that come and go, and come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use peer_health::{
    Freshness, HealthProvider as _, HealthState, Options, Outcome as Call, Source, Tracker, Verdict, Verdicts, WallTime,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::setting::{Outcome, at, board, id};

/// Forgets whom nobody speaks of for 50 ms; leases lapse after 20 ms, and so do probes.
fn hasty() -> Tracker {
    let brief = Duration::from_millis(20);
    let freshness = Freshness { lease: brief, probe: brief, ..Freshness::default() };
    Tracker::new(Options { freshness, tombstone_ttl: Duration::from_millis(50), ..Options::default() })
}

#[test]
fn nothing_that_was_said_of_a_forgotten_peer_is_said_of_the_next_one() -> Outcome {
    let tracker = Arc::new(hasty());
    let board = board(vec![Arc::clone(&tracker) as _]);
    let gone = tracker.handle(&id("gone")?, at(0))?;
    for source in Source::ALL {
        gone.record(source, Verdict::Down, at(0));
    }
    gone.clear(Source::Admin);
    gone.heartbeat(at(0));
    tracker.record_disconnect(&id("gone")?, Some("reset"), at(0))?;
    board.refresh(at(0));
    assert_eq!((tracker.collect(at(51)), gone.is_retired()), (1, true));

    // Whoever still speaks of it speaks of nobody.
    let next = tracker.handle(&id("next")?, at(51))?;
    gone.heartbeat(at(52));
    gone.outcome(Call::Failed, at(52));
    assert_eq!((next.verdicts(at(52)), next.is_retired()), (Verdicts::default(), false));
    assert_eq!(board.refresh(at(52)).peers().len(), 1);

    // Now nobody does, and its place is free.
    drop(gone);
    let third = tracker.handle(&id("third")?, at(53))?;
    assert_eq!((third.verdicts(at(53)), third.is_retired()), (Verdicts::default(), false));
    let snapshot = board.refresh(at(53));
    let times =
        snapshot.get("third").map(|peer| (peer.last_heartbeat, peer.last_disconnect, peer.facts.metadata.len()));
    assert_eq!(times, Some((None, None, 0)));
    Ok(())
}

#[test]
fn a_peer_that_is_forgotten_before_anybody_looked_is_never_seen() -> Outcome {
    let tracker = Arc::new(hasty());
    let board = board(vec![Arc::clone(&tracker) as _]);
    tracker.handle(&id("brief")?, at(0))?;
    assert_eq!((tracker.collect(at(51)), board.refresh(at(51)).peers().len()), (1, 0));
    Ok(())
}

/// Something that happens to a peer.
#[derive(Debug, Clone, Copy)]
enum Act {
    Heartbeat,
    Disconnect,
    Probe(Verdict),
    Override,
    Clear,
    /// To all of them.
    Collect,
}

/// Something that happens to one of 100 peers: more than sit in one block.
fn step() -> impl Strategy<Value = (u8, Act)> {
    let verdict = prop_oneof![Just(Verdict::Up), Just(Verdict::Degraded), Just(Verdict::Down)];
    let act = prop_oneof![
        5 => Just(Act::Heartbeat),
        1 => Just(Act::Disconnect),
        2 => verdict.prop_map(Act::Probe),
        1 => Just(Act::Override),
        1 => Just(Act::Clear),
        1 => Just(Act::Collect),
    ];
    (0..100_u8, act)
}

/// What is known of a peer, in the plainest words.
#[derive(Debug, Default)]
struct Known {
    heartbeat: Option<u64>,
    disconnected: bool,
    lease: Option<u64>,
    probe: Option<(u64, Verdict)>,
    overridden: Option<u64>,
    created: u64,
}

impl Known {
    fn state(&self, now: u64) -> HealthState {
        let lapsed = self.disconnected || self.lease.is_some_and(|heard| now - heard > 20);
        let lease = self.lease.map(|_| if lapsed { Verdict::Down } else { Verdict::Up });
        let probe = self.probe.filter(|(heard, _)| now - heard <= 20).map(|(_, verdict)| verdict);
        match lease.max(probe) {
            _ if self.overridden.is_some() => HealthState::Degraded,
            None => HealthState::Unknown,
            Some(Verdict::Up) => HealthState::Healthy,
            Some(Verdict::Degraded) => HealthState::Degraded,
            Some(Verdict::Down) => HealthState::Unhealthy,
        }
    }

    fn is_gone(&self, now: u64) -> bool {
        let spoken = [Some(self.created), self.lease, self.probe.map(|(heard, _)| heard), self.overridden];
        let newest = spoken.into_iter().flatten().max().unwrap_or(0);
        let is_useless = matches!(self.state(now), HealthState::Unknown | HealthState::Unhealthy);
        now - newest > 50 && is_useless
    }
}

fn apply(tracker: &Tracker, model: &mut BTreeMap<String, Known>, (n, act): (u8, Act), now: u64) -> Outcome {
    let name = format!("p{n:02}");
    let peer = id(&name)?;
    let new = || Known { created: now, ..Known::default() };
    match act {
        Act::Heartbeat => {
            tracker.record_heartbeat(&peer, at(now))?;
            let known = model.entry(name).or_insert_with(new);
            (known.heartbeat, known.lease, known.disconnected) = (Some(now), Some(now), false);
        }
        Act::Disconnect => {
            tracker.record_disconnect(&peer, None, at(now))?;
            let known = model.entry(name).or_insert_with(new);
            (known.lease, known.disconnected) = (Some(now), true);
        }
        Act::Probe(verdict) => {
            tracker.record(&peer, Source::Probe, verdict, at(now))?;
            model.entry(name).or_insert_with(new).probe = Some((now, verdict));
        }
        Act::Override => {
            tracker.record(&peer, Source::Admin, Verdict::Degraded, at(now))?;
            model.entry(name).or_insert_with(new).overridden = Some(now);
        }
        Act::Clear => {
            tracker.clear(&peer, Source::Admin);
            model.entry(name).and_modify(|known| known.overridden = None);
        }
        Act::Collect => {
            let before = model.len();
            model.retain(|_, known| !known.is_gone(now));
            assert_eq!(tracker.collect(at(now)), before - model.len());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_board_shows_who_is_tracked_however_they_come_and_go(
        rounds in vec((1..30_u64, vec(step(), 0..40)), 1..12),
    ) {
        let tracker = Arc::new(hasty());
        let board = board(vec![Arc::clone(&tracker) as _]);
        let mut model = BTreeMap::new();
        let mut now = 0;
        for (pause, steps) in rounds {
            now += pause;
            for step in steps {
                apply(&tracker, &mut model, step, now).expect("there is room");
            }
            let snapshot = board.refresh(at(now));
            let shown: Vec<_> = snapshot
                .peers()
                .iter()
                .map(|peer| (peer.facts.id.to_string(), peer.state, peer.last_heartbeat))
                .collect();
            let wall = |millis: u64| -> WallTime { at(millis).wall };
            let expected: Vec<_> = model
                .iter()
                .map(|(name, known)| (name.clone(), known.state(now), known.heartbeat.map(wall)))
                .collect();
            prop_assert_eq!(shown, expected);
            // The board would put them in order, but it should not have to.
            let mut visited = Vec::new();
            tracker.visit(at(now), &mut |record| visited.push(record.facts.id.to_string()));
            prop_assert!(visited.iter().eq(model.keys()), "{:?}", visited);
            prop_assert_eq!(tracker.len(), model.len());
        }
    }
}
