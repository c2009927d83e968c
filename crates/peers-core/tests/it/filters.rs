//! Which peers are preferred, and when the others get their turn.

use std::collections::BTreeSet;
use std::time::Duration;

use peers_core::{Filters, Http3Learned, Local, Peer, PeerTable, PeerUpdate, PickCx, Random, RoundRobin, TableOptions};

use crate::support::{at, id, labelled, picks, tally};

fn table(options: TableOptions, peers: Vec<Peer>) -> PeerTable {
    let table = PeerTable::new(options);
    table.apply(at(0), PeerUpdate::Reset(peers));
    table
}

fn peer(n: usize, labels: &[(&str, &str)]) -> Peer {
    labelled(&format!("node-{n:03}"), labels)
}

fn who(table: &PeerTable, filters: Filters, ms: u64) -> BTreeSet<usize> {
    picks(&table.balancer(filters, Random), &PickCx::at(at(ms)), 200).into_iter().collect()
}

#[test]
fn the_next_tier_is_used_only_when_the_one_before_has_nobody() {
    let table = table(
        TableOptions::default(),
        vec![
            peer(0, &[]),
            peer(1, &[("peer.tier", "1")]),
            peer(2, &[("peer.tier", "1")]),
            peer(3, &[("peer.tier", "2")]),
        ],
    );
    assert_eq!(who(&table, Filters::none().tiered(), 0), BTreeSet::from([0]));
    let handle = table.handle(&id("node-000")).expect("known");
    handle.isolate();
    assert_eq!(who(&table, Filters::none().tiered(), 0), BTreeSet::from([1, 2]));
    handle.restore(at(0));
    assert_eq!(who(&table, Filters::none().tiered(), 60_000), BTreeSet::from([0]));
}

#[test]
fn http3_is_preferred_as_advertised_and_as_learned_and_the_fallback_is_tried_at_once() {
    let plain = |n| Peer { http3: peers_core::Http3Hint::Absent, ..peer(n, &[]) };
    let table = table(TableOptions::default(), vec![peer(0, &[]), peer(1, &[]), plain(2), plain(3)]);
    let filters = || Filters::none().prefer_http3();
    assert_eq!(who(&table, filters(), 0), BTreeSet::from([0, 1]));
    let balancer = table.balancer(filters(), Random);
    let at_ms = |ms| picks(&balancer, &PickCx::at(at(ms)), 200).into_iter().collect::<BTreeSet<usize>>();
    for n in ["node-000", "node-001"] {
        let handle = table.handle(&id(n)).expect("known");
        handle.learn_http3(Http3Learned::Broken { until: at(1_000) });
        assert!(!handle.http3(at(999)) && handle.http3(at(1_000)));
    }
    assert_eq!(at_ms(999), BTreeSet::from([0, 1, 2, 3]), "nobody is preferred while HTTP/3 is broken");
    assert_eq!(at_ms(1_000), BTreeSet::from([0, 1]), "and time alone mends that");
    table.learn_http3(&id("node-003"), Http3Learned::Works);
    assert_eq!(at_ms(1_000), BTreeSet::from([0, 1, 3]));
    let forced_off = Peer { http3: peers_core::Http3Hint::ForcedOff, ..peer(0, &[]) };
    table.apply(at(0), PeerUpdate::Upsert(forced_off));
    assert_eq!(at_ms(1_000), BTreeSet::from([1, 3]));
}

#[test]
fn any_predicate_can_say_who_is_preferred() {
    let table =
        table(TableOptions::default(), vec![peer(0, &[("rack", "r1")]), peer(1, &[]), peer(2, &[("rack", "r1")])]);
    let in_rack = Filters::none().prefer(|peer| peer.label("rack") == Some("r1"));
    assert_eq!(who(&table, in_rack, 0), BTreeSet::from([0, 2]));
    assert_eq!(who(&table, Filters::none().prefer(|_| false), 0), BTreeSet::from([0, 1, 2]));
}

#[test]
fn a_zone_with_its_share_keeps_its_calls_and_a_small_one_gives_some_away() {
    let zones = |home: usize, away: usize| {
        let local = Local { zone: Some("a".into()), ..Local::default() };
        let zone = |n| if n < home { "a" } else { "b" };
        let peers = (0..home + away).map(|n| peer(n, &[("peer.zone", zone(n))])).collect();
        let table = table(TableOptions { local, ..TableOptions::default() }, peers);
        let picked = picks(&table.balancer(Filters::none().zone_aware(), Random), &PickCx::at(at(0)), 10_000);
        picked.iter().filter(|n| **n < home).count()
    };
    assert_eq!(zones(4, 4), 10_000);
    assert_eq!(zones(6, 2), 10_000);
    // A quarter of the peers where half of the callers are: half of the home calls fit.
    let kept = zones(2, 6);
    assert!((4_800..5_200).contains(&kept), "{kept}");
    let small = zones(2, 3);
    assert!((3_700..4_300).contains(&small), "with five peers zones do not count: {small}");
}

#[test]
fn subsets_by_slot_use_all_peers_alike_and_change_by_one() {
    let subset = |peers: &[usize], caller: u32| {
        let local = Local { slot: Some(caller), ..Local::default() };
        let peers = peers.iter().map(|n| peer(*n, &[("peer.slot", &n.to_string())])).collect();
        who(&table(TableOptions { local, ..TableOptions::default() }, peers), Filters::none().subset(4), 0)
    };
    let all: Vec<usize> = (0..16).collect();
    let chosen: Vec<usize> = (0..16).flat_map(|caller| subset(&all, caller)).collect();
    assert_eq!(tally(&chosen, 16), vec![4; 16]);

    let without: Vec<usize> = (0..16).filter(|n| *n != 5).collect();
    for caller in 0..16 {
        let (before, after) = (subset(&all, caller), subset(&without, caller));
        let expected = usize::from(before.contains(&5));
        assert_eq!(before.difference(&after).count(), expected, "caller {caller}");
    }
}

#[test]
fn subsets_without_slots_are_drawn_by_name_and_others_help_out() {
    let subset = |caller: &str| {
        let local = Local { name: caller.into(), ..Local::default() };
        table(TableOptions { local, ..TableOptions::default() }, (0..20).map(|n| peer(n, &[])).collect())
    };
    let (a, b) = (subset("caller-a"), subset("caller-b"));
    let filters = || Filters::none().subset(4);
    let mine = who(&a, filters(), 0);
    assert_eq!((mine.len(), who(&b, filters(), 0) == mine), (4, false));
    for n in &mine {
        a.handle(&peer(*n, &[]).id).expect("known").isolate();
    }
    let others = who(&a, filters(), 0);
    assert!(others.is_disjoint(&mine) && others.len() == 16, "{others:?}");
}

#[test]
fn filters_nest_in_their_order() {
    let plain = |n, tier: &str| Peer { http3: peers_core::Http3Hint::Absent, ..peer(n, &[("peer.tier", tier)]) };
    let table = table(
        TableOptions::default(),
        vec![plain(0, "0"), peer(1, &[("peer.tier", "0")]), peer(2, &[("peer.tier", "1")])],
    );
    let balancer = table.balancer(Filters::none().tiered().prefer_http3(), RoundRobin::default());
    let next = || picks(&balancer, &PickCx::at(at(0)), 1)[0];
    assert_eq!(next(), 1);
    let isolate = |n: usize| table.handle(&peer(n, &[]).id).expect("known").isolate();
    isolate(1);
    assert_eq!(next(), 0);
    isolate(0);
    assert_eq!(next(), 2);
}

#[test]
fn a_joining_peer_starts_slowly() {
    let table = table(TableOptions::default(), vec![peer(0, &[]), peer(1, &[("peer.lifecycle", "joining")])]);
    let balancer = table.balancer(Filters::none(), Random);
    let share = |after: Duration| tally(&picks(&balancer, &PickCx::at(at(0).after(after)), 2_000), 2)[1];
    assert!(share(Duration::ZERO) < 200);
    assert!(share(Duration::from_secs(10)) > 900);
}
