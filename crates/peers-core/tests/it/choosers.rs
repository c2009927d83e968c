//! Every chooser's sequence, seeded, while peers come, go, drain and fail.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use mesh_types::NodeId;
use peers_core::{
    Adaptive, Balancer, BuildChooserError, Chooser, ChooserPorts, ChooserSpec, ConsistentHash, Entropy, FewestPending,
    Filters, Outcome, ParseChooserError, PeerLease, PeerTable, PeerUpdate, PickCx, PickError, PickFirst, Probed,
    Random, RoundRobin, ShardAware, ShardMapVersion, ShardOwners, TableOptions, TwoRandom, Weighted, hash_key,
};

use crate::support::{at, id, labelled, number, numbered, picks, table_of, tally};
use crate::telling::Telling;

fn cx() -> PickCx<'static> {
    PickCx::at(at(0))
}

/// Picks with `chooser` among five peers, of which one after the other drains, is isolated and is removed, and then a
/// new one comes; and demands that nobody but the usable is picked, and each of them.
#[track_caller]
fn check_usable_only<C: Chooser>(chooser: C, picks_all: bool) {
    let table = table_of(5, TableOptions::default());
    let balancer = table.balancer(Filters::none(), chooser);
    let picked = || {
        let mut picked = picks(&balancer, &cx(), 300);
        picked.sort_unstable();
        picked.dedup();
        picked
    };
    let expect = |usable: &[usize]| {
        let picked = picked();
        let is_right = if picks_all { picked == usable } else { picked.iter().all(|n| usable.contains(n)) };
        assert!(is_right, "{} picked {picked:?} of {usable:?}", balancer.chooser().name());
    };
    expect(&[0, 1, 2, 3, 4]);
    table.apply(at(0), PeerUpdate::Upsert(labelled("node-000", &[("peer.lifecycle", "draining")])));
    expect(&[1, 2, 3, 4]);
    table.handle(&id("node-001")).expect("known").isolate();
    expect(&[2, 3, 4]);
    table.apply(at(0), PeerUpdate::Remove(id("node-002")));
    expect(&[3, 4]);
    table.apply(at(0), PeerUpdate::Upsert(numbered(5)));
    expect(&[3, 4, 5]);
}

#[test]
fn no_chooser_picks_a_peer_that_drains_is_isolated_or_is_gone_and_all_take_up_a_new_one() {
    check_usable_only(RoundRobin::default(), true);
    check_usable_only(Random, true);
    check_usable_only(TwoRandom::default(), true);
    check_usable_only(FewestPending, true);
    check_usable_only(Weighted, true);
    check_usable_only(Adaptive, true);
    check_usable_only(Probed::new(Arc::new(Telling::default()), 100), true);
    check_usable_only(ConsistentHash::default(), true);
    check_usable_only(PickFirst::new(3), false);
}

#[test]
fn one_seed_gives_one_sequence() {
    let sequence = |name: &str| {
        let ports = ChooserPorts { probe: Some(Arc::new(Telling::default())), ..ChooserPorts::default() };
        let chooser = name.parse::<ChooserSpec>().map(|spec| spec.chooser(&ports));
        let chooser = chooser.expect("a name").expect("all ports that it needs");
        picks(&table_of(10, TableOptions::default()).balancer(Filters::none(), chooser), &cx(), 12)
    };
    assert_eq!(sequence("round-robin"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    let random = sequence("random");
    for name in ["random", "two-random", "fewest-pending", "weighted", "adaptive", "probed", "hash", "pick-first"] {
        assert_eq!(sequence(name), sequence(name), "{name}");
    }
    // Nobody is busy, so two random ones tie, and the first of a tie is the one that `random` takes.
    assert_eq!((sequence("two-random"), sequence("adaptive").len()), (random, 12));
}

#[test]
fn round_robin_is_exactly_even_and_random_choosers_nearly() {
    let spread = |chooser: Box<dyn Chooser>| {
        let table = table_of(100, TableOptions::default());
        let balancer = table.balancer(Filters::none(), chooser);
        let counts = tally(&picks(&balancer, &cx(), 100_000), 100);
        (counts.iter().min().copied(), counts.iter().max().copied())
    };
    assert_eq!(spread(Box::<RoundRobin>::default()), (Some(1_000), Some(1_000)));
    let choosers: [Box<dyn Chooser>; 4] =
        [Box::new(Random), Box::new(TwoRandom::default()), Box::new(Weighted), Box::new(Adaptive)];
    for chooser in choosers {
        let name = chooser.name();
        let (least, most) = spread(chooser);
        assert!(least > Some(880) && most < Some(1_120), "{name}: {least:?} to {most:?}");
    }
}

#[test]
fn fewest_pending_takes_the_least_busy_and_leaves_ties_to_chance() {
    let table = table_of(10, TableOptions::default());
    let balancer = table.balancer(Filters::none(), FewestPending);
    let held: Vec<_> = (0..9).map(|_| balancer.acquire(&cx()).expect("free")).collect();
    let mut busy: Vec<usize> = held.iter().map(|lease| number(lease.id())).collect();
    busy.sort_unstable();
    busy.dedup();
    assert_eq!(busy.len(), 9, "nobody twice while somebody is free");
    let free = (0..10).find(|n| !busy.contains(n)).expect("one is free");
    assert_eq!(picks(&balancer, &cx(), 50), vec![free; 50]);
    drop(held);
    let counts = tally(&picks(&balancer, &cx(), 10_000), 10);
    assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

#[test]
fn more_choices_find_the_idle_peer_more_often() {
    let share = |choices| {
        let table = table_of(10, TableOptions::default());
        let busy = table.balancer(Filters::none(), RoundRobin::default());
        let _held: Vec<_> = (0..9).map(|_| busy.acquire(&cx()).expect("free")).collect();
        tally(&picks(&table.balancer(Filters::none(), TwoRandom::new(choices)), &cx(), 10_000), 10)[9]
    };
    assert!((1_850..2_150).contains(&share(2)), "{}", share(2));
    assert!((5_800..6_600).contains(&share(10)), "{}", share(10));
}

#[test]
fn weights_are_kept_to_a_hundredth() {
    let table = PeerTable::default();
    let weights: [usize; 4] = [100, 200, 0, 700];
    let peer =
        |(n, weight): (usize, &usize)| labelled(&format!("node-{n:03}"), &[("peer.weight", &weight.to_string())]);
    table.apply(at(0), PeerUpdate::Reset(weights.iter().enumerate().map(peer).collect()));
    let counts = tally(&picks(&table.balancer(Filters::none(), Weighted), &cx(), 200_000), 4);
    for (count, weight) in counts.iter().zip(weights) {
        assert!(count.abs_diff(weight * 200) <= 2_000, "{counts:?}");
    }
    let adaptive = tally(&picks(&table.balancer(Filters::none(), Adaptive), &cx(), 1_000), 4);
    assert_eq!(adaptive[2], 0, "weight 0 gets nothing");
}

/// Starts one call a millisecond from `from` on, for a second, and returns how many went to peer 0, which takes
/// `slow_ms`; the others take 5 to 15 ms.
fn share_of_first(balancer: &Balancer<Adaptive>, calls: &mut Vec<(u64, PeerLease)>, from: u64, slow_ms: u64) -> usize {
    let mut entropy = Entropy::seeded(from);
    let mut to_first = 0;
    for now in from..from + 1_000 {
        for ended in calls.extract_if(.., |(end, _)| *end <= now) {
            ended.1.report(at(now), Outcome::Success);
        }
        let lease = balancer.acquire_with(&PickCx::at(at(now)), &mut entropy).expect("usable");
        let is_first = number(lease.id()) == 0;
        to_first += usize::from(is_first);
        let took = if is_first && slow_ms > 0 { slow_ms } else { 5 + entropy.below(11) as u64 };
        calls.push((now + took, lease));
    }
    to_first
}

#[test]
fn adaptive_leaves_a_slow_peer_and_comes_back_to_it_when_it_is_well() {
    let table = table_of(10, TableOptions::default());
    let balancer = table.balancer(Filters::none(), Adaptive);
    let mut calls = Vec::new();
    let mut share = |second: u64, slow_ms| share_of_first(&balancer, &mut calls, second * 1_000, slow_ms);
    let even = share(0, 0);
    assert!((60..150).contains(&even), "{even} of 100 while all are alike");
    share(1, 100);
    let slow = share(2, 100);
    assert!(slow <= 10, "{slow} of 100 while it is ten times slower");
    let back: Vec<usize> = (3..8).map(|second| share(second, 0)).collect();
    assert!(back.iter().any(|got| *got > 75), "{back:?} of 100 in the seconds after");
}

#[test]
fn a_peer_that_fails_fast_is_no_magnet() {
    let table = table_of(10, TableOptions { breaker: no_breaker(), ..TableOptions::default() });
    let balancer = table.balancer(Filters::none(), Adaptive);
    let mut failures = 0;
    for call in 0..2_000 {
        let now = at(call);
        let lease = balancer.acquire(&PickCx::at(now)).expect("usable");
        let fails = number(lease.id()) == 0;
        failures += usize::from(fails);
        let (took, outcome) = if fails {
            (Duration::from_micros(500), Outcome::Failure)
        } else {
            (Duration::from_millis(10), Outcome::Success)
        };
        lease.report_with_latency(now, took, outcome);
    }
    assert!(failures < 20, "{failures} of 2,000 went to it");
}

fn no_breaker() -> peers_core::BreakerOptions {
    peers_core::BreakerOptions { consecutive_failures: 0, failure_percent: 0, ..Default::default() }
}

#[test]
fn a_key_keeps_its_peer_when_others_change_and_moves_on_when_it_has_too_much() {
    let table = table_of(10, TableOptions::default());
    let balancer = table.balancer(Filters::none(), ConsistentHash::default());
    let owner = |key: u64| picks(&balancer, &PickCx { key: Some(key), ..cx() }, 1)[0];
    let owners = || -> Vec<usize> { (0..1_000).map(|key| owner(hash_key(&u64::to_le_bytes(key)))).collect() };
    let before = owners();
    let counts = tally(&before, 10);
    assert!(counts.iter().all(|count| (60..145).contains(count)), "{counts:?}");
    table.apply(at(0), PeerUpdate::Remove(id("node-003")));
    let moved = before.iter().zip(owners()).filter(|(old, new)| **old != 3 && **old != *new).count();
    assert!(moved <= 60, "{moved} of {} keys moved without need", 1_000 - counts[3]);

    let held: Vec<_> = (0..90).map(|_| balancer.acquire(&PickCx { key: Some(42), ..cx() }).expect("usable")).collect();
    let loads = tally(&held.iter().map(|lease| number(lease.id())).collect::<Vec<_>>(), 10);
    assert!(loads.iter().all(|load| *load <= 13), "nobody has more than 1.25 of the mean: {loads:?}");
}

#[test]
fn pick_first_stays_until_it_must_not_and_callers_differ() {
    let table = table_of(10, TableOptions::default());
    let balancer = table.balancer(Filters::none(), PickFirst::new(1));
    let first = picks(&balancer, &cx(), 20);
    assert_eq!(first, vec![first[0]; 20]);
    table.handle(&numbered(first[0]).id).expect("known").isolate();
    let second = picks(&balancer, &cx(), 20);
    assert!(second[0] != first[0] && second == vec![second[0]; 20]);
    let firsts: std::collections::BTreeSet<usize> =
        (0..50).map(|seed| picks(&table.balancer(Filters::none(), PickFirst::new(seed)), &cx(), 1)[0]).collect();
    assert!(firsts.len() > 5, "{firsts:?}");
}

/// Shard `ns/0`: owned by node 1, with node 2 as its replica.
struct Shards {
    newest: u64,
}

impl ShardOwners for Shards {
    fn version(&self) -> ShardMapVersion {
        ShardMapVersion { held: 4, newest: self.newest }
    }

    fn visit(&self, shard: &str, visit: &mut dyn FnMut(&NodeId) -> ControlFlow<()>) {
        if shard == "ns/0" && visit(&id("node-001")).is_continue() {
            let _last = visit(&id("node-002"));
        }
    }
}

#[test]
fn a_shard_goes_to_its_owner_then_to_a_replica_and_to_nobody_else() {
    let table = table_of(4, TableOptions::default());
    let balancer = table.balancer(Filters::none(), ShardAware::new(Arc::new(Shards { newest: 4 })));
    let acquire = |shard| balancer.acquire(&PickCx { shard, ..cx() }).map(|lease| number(lease.id()));
    assert_eq!(acquire(Some("ns/0")), Ok(1));
    table.handle(&numbered(1).id).expect("known").isolate();
    assert_eq!(acquire(Some("ns/0")), Ok(2));
    table.apply(at(0), PeerUpdate::Remove(numbered(2).id));
    assert_eq!(acquire(Some("ns/0")), Err(PickError::AllBusy));
    assert_eq!(acquire(Some("ns/1")), Err(PickError::ShardUnowned));
    assert_eq!(acquire(None), Err(PickError::ShardUnowned));

    let behind = table.balancer(Filters::none(), ShardAware::new(Arc::new(Shards { newest: 5 })));
    let refused = behind.acquire(&PickCx { shard: Some("ns/0"), ..cx() }).err();
    assert_eq!(refused, Some(PickError::ShardMapOutdated { held: 4, newest: 5 }));
}

#[test]
fn choosers_go_by_the_names_that_configurations_have() {
    let name = |text: &str| -> Result<&str, ParseChooserError> {
        let (shards, probe) = (Arc::new(Shards { newest: 4 }), Arc::new(Telling::default()));
        let ports = ChooserPorts { shards: Some(shards), probe: Some(probe), seed: 1 };
        Ok(text.parse::<ChooserSpec>()?.chooser(&ports).map_or("", |chooser| chooser.name()))
    };
    let cases = [
        ("", "round-robin"),
        ("RoundRobin", "round-robin"),
        ("round-robin", "round-robin"),
        ("fewest-pending", "fewest-pending"),
        ("least-pending", "fewest-pending"),
        ("two-random-choice", "two-random"),
        ("two-random-choices", "two-random"),
        ("2-random", "two-random"),
        ("two-random:10", "two-random"),
        ("random", "random"),
        ("weighted", "weighted"),
        ("adaptive", "adaptive"),
        ("probed", "probed"),
        ("probed:25", "probed"),
        ("hash:150", "hash"),
        ("pick-first", "pick-first"),
        ("shard", "shard"),
        ("preferred", "adaptive"),
        ("tiered > zone-aware > subset:20 > preferred > least-pending", "fewest-pending"),
    ];
    for (text, expected) in cases {
        assert_eq!(name(text), Ok(expected), "{text}");
    }
    let number = |word: &str, takes| Err(ParseChooserError::Number { word: word.to_owned(), takes });
    assert_eq!(name("two-random:11"), number("two-random:11", "2 to 10 choices"));
    assert_eq!(name("probed:0"), number("probed:0", "1 to 400 percent"));
    assert_eq!(name("subset"), number("subset", "a size of 1 or more"));
    assert_eq!(name("adaptive:3"), number("adaptive:3", "no number"));
    assert_eq!(name("bogus"), Err(ParseChooserError::Unknown { word: "bogus".to_owned() }));
    assert_eq!(name("random > tiered"), Err(ParseChooserError::NotAFilter { word: "random".to_owned() }));
    let without_ports =
        |text: &str| text.parse::<ChooserSpec>().map(|spec| spec.chooser(&ChooserPorts::default()).map(drop));
    assert_eq!(without_ports("shard"), Ok(Err(BuildChooserError::NoShardOwners)));
    assert_eq!(without_ports("probed"), Ok(Err(BuildChooserError::NoLoadProbe)));
}
