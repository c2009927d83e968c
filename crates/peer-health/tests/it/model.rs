//! The board against the plainest merge there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peer_health::{HealthProvider, HealthState, PeerFacts, Source, Verdict, Verdicts, WallTime};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::setting::{Fixed, Record, at, board, id, lease};

/// What a provider says of a peer, in plain values.
#[derive(Debug, Clone)]
struct Said {
    peer: u8,
    verdicts: Vec<(usize, u8)>,
    leases: Vec<u64>,
    heartbeat: Option<u64>,
}

fn said() -> impl Strategy<Value = Said> {
    let verdicts = vec((0..Source::ALL.len(), 0..4_u8), 0..3);
    (0..6_u8, verdicts, vec(0..5_u64, 0..3), proptest::option::of(0..100_u64))
        .prop_map(|(peer, verdicts, leases, heartbeat)| Said { peer, verdicts, leases, heartbeat })
}

const fn verdict(code: u8) -> Option<Verdict> {
    match code {
        1 => Some(Verdict::Up),
        2 => Some(Verdict::Degraded),
        3 => Some(Verdict::Down),
        _ => None,
    }
}

fn records(all: &[Said]) -> Vec<Record> {
    let record = |said: &Said| {
        let mut facts = PeerFacts::new(id(&format!("p{}", said.peer)).expect("a valid name"));
        facts.leases = said.leases.iter().map(|sequence| lease(*sequence, 1)).collect();
        facts.leases.sort_unstable();
        facts.leases.dedup();
        let verdicts = said.verdicts.iter().fold(Verdicts::default(), |so_far, (source, code)| {
            let source = Source::ALL[*source];
            verdict(*code).map_or_else(|| so_far.with_stale(source), |verdict| so_far.with(source, verdict))
        });
        (Arc::new(facts), verdicts, said.heartbeat.map(|millis| at(millis).wall))
    };
    all.iter().map(record).collect()
}

type Merged = BTreeMap<String, (HealthState, BTreeSet<u64>, Option<WallTime>)>;

fn model(all: &[Said]) -> Merged {
    let mut merged = Merged::new();
    let mut worst: BTreeMap<(u8, usize), Option<Verdict>> = BTreeMap::new();
    for said in all {
        let entry =
            merged.entry(format!("p{}", said.peer)).or_insert_with(|| (HealthState::Unknown, BTreeSet::new(), None));
        entry.1.extend(&said.leases);
        entry.2 = entry.2.max(said.heartbeat.map(|millis| at(millis).wall));
        for (source, code) in &said.verdicts {
            let slot = worst.entry((said.peer, *source)).or_default();
            *slot = (*slot).max(verdict(*code));
        }
    }
    for (name, entry) in &mut merged {
        let of =
            |source: usize| worst.iter().filter(move |((peer, at), _)| format!("p{peer}") == *name && *at == source);
        let admin = of(Source::Admin as usize).filter_map(|(_, verdict)| *verdict).max();
        let any = (0..Source::ALL.len()).flat_map(of).filter_map(|(_, verdict)| *verdict).max();
        entry.0 = match admin.or(any) {
            None => HealthState::Unknown,
            Some(Verdict::Up) => HealthState::Healthy,
            Some(Verdict::Degraded) => HealthState::Degraded,
            Some(Verdict::Down) => HealthState::Unhealthy,
        };
    }
    merged
}

proptest! {
    #[test]
    fn a_board_shows_what_the_plain_merge_of_its_providers_is(
        rounds in vec((vec(said(), 0..8), vec(said(), 0..8)), 1..6),
    ) {
        let providers = [(); 2].map(|()| Arc::new(Fixed::default()));
        let board = board(providers.iter().map(|provider| Arc::clone(provider) as Arc<dyn HealthProvider>).collect());
        let mut before: Option<(u64, Vec<Said>)> = None;
        for (millis, (first, second)) in (0..).zip(rounds) {
            for (provider, said) in providers.iter().zip([&first, &second]) {
                provider.say(records(said));
            }
            let all: Vec<_> = first.into_iter().chain(second).collect();
            let snapshot = board.refresh(at(millis));
            let shown: Merged = snapshot
                .peers()
                .iter()
                .map(|peer| {
                    let leases = peer.facts.leases.iter().map(|lease| lease.sequence_id).collect();
                    (peer.facts.id.to_string(), (peer.state, leases, peer.last_heartbeat))
                })
                .collect();
            prop_assert_eq!(snapshot.peers().len(), shown.len());
            let expected = model(&all);
            let eligible = expected.values().filter(|entry| entry.0 != HealthState::Unhealthy).count();
            prop_assert_eq!(snapshot.summary().eligible(), eligible);
            prop_assert_eq!(&shown, &expected);
            if let Some((version, said)) = before.replace((snapshot.version(), all)) {
                prop_assert!(snapshot.version() > version || model(&said) == expected);
            }
        }
    }
}
