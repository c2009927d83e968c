//! What membership says, who comes back, and who is forgotten.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_types::{BootEpoch, Incarnation, Member, MemberState, Membership, MetadataVersion, NodeMetadata};
use peer_health::{
    Applied, GossipNews, HealthProvider as _, HealthState, Options, Outcome as Call, Release, Source, TrackError,
    Tracker, Verdict,
};

use crate::setting::{Outcome, at, id, lease, tracker};

fn news(boot_epoch: u64, incarnation: u64, state: MemberState) -> GossipNews {
    GossipNews { boot_epoch: BootEpoch(boot_epoch), incarnation: Incarnation(incarnation), state }
}

fn state(tracker: &Tracker, name: &str, millis: u64) -> Result<Option<HealthState>, Box<dyn Error>> {
    Ok(tracker.get(&id(name)?).map(|handle| handle.state(at(millis))))
}

#[test]
fn a_state_of_gossip_is_a_state_of_health_and_only_the_end_of_a_life_lasts() -> Outcome {
    let cases = [
        (MemberState::Alive, HealthState::Healthy, HealthState::Unknown),
        (MemberState::Suspect, HealthState::Degraded, HealthState::Unknown),
        (MemberState::Unreachable, HealthState::Unhealthy, HealthState::Unknown),
        (MemberState::Dead, HealthState::Unhealthy, HealthState::Unhealthy),
        (MemberState::Left, HealthState::Unhealthy, HealthState::Unhealthy),
    ];
    for (said, fresh, later) in cases {
        let tracker = tracker();
        assert!(tracker.record_gossip(&id("a")?, news(1, 0, said), at(0))?);
        assert_eq!((state(&tracker, "a", 10_000)?, state(&tracker, "a", 10_001)?), (Some(fresh), Some(later)));
    }
    Ok(())
}

/// Lets gossip say `first`, everybody else that the peer is down, then gossip `second`; what is it held for?
#[track_caller]
fn check(first: GossipNews, second: GossipNews, counts: bool, expected: HealthState) -> Outcome {
    let tracker = tracker();
    let a = id("a")?;
    tracker.record_gossip(&a, first, at(0))?;
    tracker.record_heartbeat(&a, at(0))?;
    tracker.record_disconnect(&a, None, at(1))?;
    for source in [Source::Transport, Source::Breaker, Source::Probe, Source::CustomA, Source::CustomB] {
        tracker.record(&a, source, Verdict::Down, at(1))?;
    }
    assert_eq!(tracker.record_gossip(&a, second, at(2))?, counts);
    assert_eq!(state(&tracker, "a", 2)?, Some(expected));
    Ok(())
}

#[test]
fn a_newer_life_or_incarnation_clears_what_was_said_against_the_older_one() -> Outcome {
    use MemberState::{Alive, Dead, Left, Suspect};
    check(news(1, 5, Left), news(2, 0, Alive), true, HealthState::Healthy)?;
    check(news(1, 5, Suspect), news(1, 6, Alive), true, HealthState::Healthy)?;
    check(news(1, 5, Alive), news(1, 6, Suspect), true, HealthState::Degraded)?;
    check(news(1, 5, Alive), news(1, 5, Alive), true, HealthState::Unhealthy)?;
    check(news(1, 5, Alive), news(1, 4, Alive), false, HealthState::Unhealthy)?;
    check(news(2, 0, Alive), news(1, 9, Alive), false, HealthState::Unhealthy)?;
    check(news(1, 5, Dead), news(1, 5, Alive), false, HealthState::Unhealthy)?;
    check(news(1, 5, Alive), news(1, 6, Dead), true, HealthState::Unhealthy)
}

#[test]
fn news_of_a_death_takes_back_nothing_that_was_said() -> Outcome {
    let tracker = tracker();
    let a = id("a")?;
    tracker.record_gossip(&a, news(1, 0, MemberState::Alive), at(0))?;
    tracker.record(&a, Source::Transport, Verdict::Down, at(0))?;
    tracker.record_gossip(&a, news(2, 0, MemberState::Dead), at(1))?;
    let verdicts = tracker.get(&a).map(|handle| handle.verdicts(at(1)));
    assert_eq!(verdicts.and_then(|verdicts| verdicts.of(Source::Transport)), Some(Verdict::Down));
    Ok(())
}

#[test]
fn an_operators_word_and_good_news_outlive_a_newer_life() -> Outcome {
    let tracker = tracker();
    let a = id("a")?;
    tracker.record_gossip(&a, news(1, 0, MemberState::Alive), at(0))?;
    tracker.record_heartbeat(&a, at(0))?;
    tracker.record(&a, Source::Admin, Verdict::Down, at(0))?;
    tracker.record_gossip(&a, news(2, 0, MemberState::Alive), at(1))?;
    let verdicts = tracker.get(&a).map(|handle| handle.verdicts(at(1)));
    let of = |source| verdicts.and_then(|verdicts| verdicts.of(source));
    assert_eq!((of(Source::Admin), of(Source::Lease)), (Some(Verdict::Down), Some(Verdict::Up)));
    Ok(())
}

fn member(name: &str, boot_epoch: u64, version: u64, labels: &[(&str, &str)]) -> Result<Member, Box<dyn Error>> {
    let metadata = NodeMetadata {
        role: "worker".parse()?,
        cluster: "prod".parse()?,
        region: "eu-1".parse()?,
        mesh_version: "1.0.0".into(),
        http3_support: true,
        endpoint: "127.0.0.1:17421".parse()?,
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::default(),
        services: std::collections::BTreeSet::new(),
        rpc_endpoint: None,
    };
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made out of nothing")]
    let last_seen = Instant::now();
    Ok(Member {
        id: name.parse()?,
        boot_epoch: BootEpoch(boot_epoch),
        incarnation: Incarnation(0),
        state: MemberState::Alive,
        metadata_version: MetadataVersion(version),
        metadata: Arc::new(metadata),
        last_seen,
        rtt: None,
    })
}

fn membership(members: Vec<Member>) -> Result<Membership, Box<dyn Error>> {
    Ok(Membership { version: 1, local: "a".parse()?, members })
}

fn metadata(tracker: &Tracker) -> Vec<Vec<(String, String)>> {
    let mut all = Vec::new();
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    tracker.visit(at(0), &mut |record| all.push(record.facts.metadata.iter().map(owned).collect()));
    all
}

#[test]
fn a_membership_brings_the_metadata_of_its_members_and_takes_dropped_labels_away() -> Outcome {
    let tracker = tracker();
    tracker.set_metadata(&id("a")?, &[("mesh.leader.scope.global-control", "leader")], at(0))?;
    let first = member("a", 1, 1, &[("rack", "r1"), ("Zone", "z1")])?;
    assert_eq!(
        tracker.apply_membership(&membership(vec![first])?, at(0)),
        Applied { recorded: 1, ..Applied::default() }
    );
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut expected = vec![
        entry("mesh.leader.scope.global-control", "leader"),
        entry("mesh.role", "worker"),
        entry("mesh.cluster", "prod"),
        entry("mesh.region", "eu-1"),
        entry("mesh.version", "1.0.0"),
        entry("mesh.http3", "true"),
        entry("label.Zone", "z1"),
        entry("label.rack", "r1"),
    ];
    assert_eq!(metadata(&tracker), [expected.clone()]);
    tracker.apply_membership(&membership(vec![member("a", 1, 2, &[("rack", "r2")])?])?, at(1));
    expected.truncate(6);
    expected.push(entry("label.rack", "r2"));
    assert_eq!(metadata(&tracker), [expected]);
    Ok(())
}

#[test]
fn metadata_that_nodes_have_alike_is_in_memory_once_until_one_of_them_changes() -> Outcome {
    let tracker = tracker();
    let shared = |of: &Tracker| {
        let mut all = Vec::new();
        of.visit(at(0), &mut |record| all.push(Arc::clone(&record.facts.metadata)));
        all.windows(2).map(|pair| Arc::ptr_eq(&pair[0], &pair[1])).collect::<Vec<_>>()
    };
    let rack = [("rack", "r1")];
    let alike = vec![member("a", 1, 1, &rack)?, member("b", 1, 1, &rack)?, member("c", 1, 1, &[])?];
    tracker.apply_membership(&membership(alike)?, at(0));
    assert_eq!(shared(&tracker), [true, false]);
    assert!(tracker.remove_metadata(&id("a")?, "label.rack"));
    assert_eq!(shared(&tracker), [false, false]);
    let of_b = metadata(&tracker).swap_remove(1);
    assert!(of_b.contains(&("label.rack".to_owned(), "r1".to_owned())));
    Ok(())
}

#[test]
fn who_is_no_longer_a_member_has_left_and_may_come_back() -> Outcome {
    let tracker = tracker();
    let (both, one) = (membership(vec![member("a", 1, 1, &[])?, member("b", 1, 1, &[])?])?, [member("a", 1, 1, &[])?]);
    let one = membership(one.to_vec())?;
    tracker.record_heartbeat(&id("lease-only")?, at(0))?;
    tracker.apply_membership(&both, at(0));
    tracker.record_disconnect(&id("b")?, None, at(0))?;
    assert_eq!(tracker.apply_membership(&one, at(1)), Applied { recorded: 1, departed: 1, ..Applied::default() });
    assert_eq!(tracker.apply_membership(&one, at(2)), Applied { recorded: 1, ..Applied::default() });
    let states = (state(&tracker, "b", 1_000_000)?, state(&tracker, "lease-only", 3)?);
    assert_eq!(states, (Some(HealthState::Unhealthy), Some(HealthState::Healthy)));
    tracker.apply_membership(&both, at(3));
    assert_eq!(state(&tracker, "b", 3)?, Some(HealthState::Healthy));
    Ok(())
}

#[test]
fn members_that_find_no_room_are_counted_and_the_others_recorded() -> Outcome {
    let tracker = Tracker::new(Options { max_peers: 1, ..Options::default() });
    let all = membership(vec![member("a", 1, 1, &[])?, member("b", 1, 1, &[])?, member("c", 1, 1, &[])?])?;
    let first_refusal = Some(TrackError::TooManyPeers { peer: id("b")?, limit: 1 });
    assert_eq!(tracker.apply_membership(&all, at(0)), Applied { recorded: 1, departed: 0, refused: 2, first_refusal });
    Ok(())
}

#[test]
fn who_is_gone_is_forgotten_after_its_time_and_who_is_needed_is_not() -> Outcome {
    let tracker = Tracker::new(Options { tombstone_ttl: Duration::from_secs(60), ..Options::default() });
    let gone = news(1, 0, MemberState::Dead);
    for name in ["gone", "overridden", "leased", "waiting", "late"] {
        tracker.record_gossip(&id(name)?, gone, at(0))?;
    }
    tracker.record_heartbeat(&id("lapsed")?, at(0))?;
    tracker.record(&id("overridden")?, Source::Admin, Verdict::Down, at(0))?;
    tracker.record_assignment(&id("leased")?, lease(1, 1), at(0))?;
    tracker.record_assignment(&id("waiting")?, lease(2, 1), at(0))?;
    tracker.record_release(&id("waiting")?, lease(2, 1), Release::Requeued)?;
    tracker.record_outcome(&id("late")?, Call::Failed, at(1))?;
    let handle = tracker.handle(&id("gone")?, at(0))?;
    assert_eq!((tracker.collect(at(60_000)), handle.is_retired()), (0, false));
    assert_eq!((tracker.collect(at(60_001)), handle.is_retired()), (2, true));
    let known: Vec<_> = ["gone", "lapsed", "late", "leased", "overridden", "waiting"]
        .into_iter()
        .map(|name| Ok::<_, Box<dyn Error>>(tracker.get(&id(name)?).is_some()))
        .collect::<Result<_, _>>()?;
    assert_eq!(known, [false, false, true, true, true, true]);
    tracker.record_release(&id("leased")?, lease(1, 1), Release::Finished)?;
    tracker.record_assignment(&id("leased")?, lease(2, 2), at(60_001))?;
    tracker.record_release(&id("leased")?, lease(2, 2), Release::Finished)?;
    tracker.clear(&id("overridden")?, Source::Admin);
    assert_eq!((tracker.collect(at(60_002)), tracker.len()), (4, 0));
    // A retired handle speaks of a life that is over.
    handle.heartbeat(at(60_002));
    assert_eq!(state(&tracker, "gone", 60_002)?, None);
    Ok(())
}

#[test]
fn entries_of_nodes_that_are_gone_stay_below_one_in_a_hundred_under_churn() -> Outcome {
    const NODES: u64 = 500;
    let tracker = Tracker::new(Options { tombstone_ttl: Duration::from_secs(2), ..Options::default() });
    for second in 0..100 {
        // A node comes and a node goes every second.
        let members =
            (second..second + NODES).map(|n| member(&format!("n{n:04}"), 1, 1, &[])).collect::<Result<_, _>>()?;
        tracker.apply_membership(&membership(members)?, at(second * 1000));
        tracker.collect(at(second * 1000));
        let stale = tracker.len() as u64 - NODES;
        assert!(stale * 100 < NODES, "{stale} of {NODES} are stale after {second} s");
    }
    Ok(())
}
