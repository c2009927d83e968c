//! The lease-health document, byte by byte.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use peer_health::{
    DocumentFilter, HealthState, Lease, LeaseId, Moment, PeerFacts, Release, Source, Tick, Tracker, Verdict, Verdicts,
};
use proptest::prelude::*;

use crate::setting::{Fixed, Outcome, at, board, id, tracker};

/// 100 ns steps past a second, and 89 ns that nobody shows.
fn now() -> Moment {
    let wall = SystemTime::UNIX_EPOCH + Duration::new(1_763_565_784, 123_456_789);
    Moment { tick: Tick::from_millis(1), wall: wall.into() }
}

fn shown(tracker: Option<Tracker>, filter: &DocumentFilter) -> Result<String, Box<dyn Error>> {
    let providers = tracker.map(|tracker| Arc::new(tracker) as _).into_iter().collect();
    Ok(String::from_utf8(board(providers).refresh(now()).lease_health(filter).to_vec())?)
}

#[track_caller]
fn check(tracker: Option<Tracker>, filter: &DocumentFilter, golden: &str) -> Outcome {
    assert_eq!(shown(tracker, filter)?, golden.trim_end());
    Ok(())
}

#[test]
fn without_providers_or_peers_the_document_is_empty() -> Outcome {
    let golden = include_str!("../golden/empty.json");
    check(None, &DocumentFilter::default(), golden)?;
    check(Some(tracker()), &DocumentFilter::default(), golden)
}

#[test]
fn one_peer_is_shown_as_clients_have_always_read_it() -> Outcome {
    let (tracker, peer) = (tracker(), id("mesh-worker-a")?);
    let mesh = [
        ("mesh.role", "worker"),
        ("mesh.cluster", "prod"),
        ("mesh.region", "eu-1"),
        ("mesh.version", "1.0.0"),
        ("mesh.http3", "true"),
        ("label.rack", "r1"),
    ];
    tracker.set_metadata(&peer, &mesh, now())?;
    tracker.record_heartbeat(&peer, now())?;
    let lease_id = LeaseId::from_u128(0x0F8F_AD5B_D9CB_469F_A165_7086_7728_950E);
    tracker.record_assignment(&peer, Lease { sequence_id: 42, attempt: 1, lease_id }, now())?;
    check(Some(tracker), &DocumentFilter::default(), include_str!("../golden/one-peer.json"))
}

/// Tracks `a` healthy, `b` lost with work to give away, `c` degraded, `d` unknown.
fn many() -> Result<Tracker, Box<dyn Error>> {
    let (tracker, b) = (tracker(), id("b")?);
    tracker.record_heartbeat(&id("a")?, now())?;
    let lease = |sequence_id, attempt, bits| Lease { sequence_id, attempt, lease_id: LeaseId::from_u128(bits) };
    for held in [lease(1, 1, 1), lease(u64::MAX, u32::MAX, u128::MAX), lease(2, 1, 2)] {
        tracker.record_assignment(&b, held, now())?;
    }
    tracker.record_disconnect(&b, Some("said \"no\\yes\"\n\u{1}\u{1f} Größe"), now())?;
    tracker.record_release(&b, lease(1, 1, 1), Release::Requeued)?;
    tracker.record(&id("c")?, Source::Probe, Verdict::Degraded, now())?;
    tracker.handle(&id("d")?, now())?;
    Ok(tracker)
}

#[test]
fn peers_in_every_state_are_shown_with_what_they_hold_and_lost() -> Outcome {
    check(Some(many()?), &DocumentFilter::default(), include_str!("../golden/four-peers.json"))
}

#[test]
fn a_page_names_the_next_one_and_sums_all_peers_up() -> Outcome {
    let filter = DocumentFilter { after: Some("b".to_owned()), limit: Some(1), ..DocumentFilter::default() };
    check(Some(many()?), &filter, include_str!("../golden/page.json"))
}

#[track_caller]
fn check_filter(filter: &DocumentFilter, peers: &[&str], next: Option<&str>) -> Outcome {
    let document: serde_json::Value = serde_json::from_str(&shown(Some(many()?), filter)?)?;
    let ids: Vec<_> = document["peers"].as_array().into_iter().flatten().map(|peer| peer["peerId"].as_str()).collect();
    assert_eq!(ids, peers.iter().map(|id| Some(*id)).collect::<Vec<_>>(), "{filter:?}");
    assert_eq!(document.get("nextCursor").and_then(serde_json::Value::as_str), next, "{filter:?}");
    Ok(())
}

#[test]
fn a_filter_keeps_a_peer_and_a_state_and_pages_follow_each_other() -> Outcome {
    let by_peer = |peer: &str| DocumentFilter { peer: Some(peer.to_owned()), ..DocumentFilter::default() };
    check_filter(&by_peer("c"), &["c"], None)?;
    check_filter(&by_peer("C"), &[], None)?;
    for (state, peer) in HealthState::ALL.into_iter().zip(["d", "a", "c", "b"]) {
        let by_state = DocumentFilter { state: Some(state), ..DocumentFilter::default() };
        check_filter(&by_state, &[peer], None)?;
        check_filter(
            &DocumentFilter { peer: Some("a".to_owned()), ..by_state },
            if peer == "a" { &["a"] } else { &[] },
            None,
        )?;
    }
    let page = |after: Option<&str>, limit| DocumentFilter {
        after: after.map(str::to_owned),
        limit: Some(limit),
        ..DocumentFilter::default()
    };
    check_filter(&page(None, 4), &["a", "b", "c", "d"], None)?;
    check_filter(&page(None, 3), &["a", "b", "c"], Some("c"))?;
    check_filter(&page(Some("c"), 3), &["d"], None)?;
    check_filter(&page(Some("bb"), 1), &["c"], Some("c"))?;
    check_filter(&page(Some("d"), 1), &[], None)?;
    check_filter(&page(None, usize::MAX), &["a", "b", "c", "d"], None)
}

#[test]
fn the_document_of_a_snapshot_is_written_once_and_a_filtered_one_is_its_own() -> Outcome {
    let board = board(vec![Arc::new(many()?) as _]);
    let snapshot = board.refresh(now());
    let all = DocumentFilter::default();
    let first = snapshot.lease_health(&all);
    assert_eq!(first.as_ptr(), snapshot.lease_health(&all).as_ptr());
    let filtered = snapshot.lease_health(&DocumentFilter { limit: Some(4), ..all });
    assert_eq!((filtered.as_ptr() == first.as_ptr(), &filtered), (false, &first));
    Ok(())
}

#[test]
fn a_document_shows_metadata_and_times_as_they_are_after_a_change() -> Outcome {
    let tracker = Arc::new(tracker());
    let board = board(vec![Arc::clone(&tracker) as _]);
    let a = id("a")?;
    let metadata = |millis| -> Result<serde_json::Value, Box<dyn Error>> {
        let document: serde_json::Value =
            serde_json::from_slice(&board.refresh(at(millis)).lease_health(&DocumentFilter::default()))?;
        Ok(document["peers"][0]["metadata"].clone())
    };
    tracker.set_metadata(&a, &[("Rack", "r1")], at(0))?;
    assert_eq!(metadata(0)?, serde_json::json!({"Rack": "r1"}));
    tracker.set_metadata(&a, &[("rack", "r2")], at(1))?;
    assert_eq!(metadata(1)?, serde_json::json!({"Rack": "r2"}));
    tracker.set_metadata(&a, &[("zone", "z1")], at(2))?;
    assert_eq!(metadata(2)?, serde_json::json!({"Rack": "r2", "zone": "z1"}));
    tracker.remove_metadata(&a, "RACK");
    assert_eq!(metadata(3)?, serde_json::json!({"zone": "z1"}));
    Ok(())
}

/// Shows a peer that was last heard of so many steps of 100 ns past 15:23:04.
fn last_heartbeat(steps: u32) -> Result<serde_json::Value, Box<dyn Error>> {
    let wall =
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_565_784) + Duration::from_nanos(u64::from(steps) * 100);
    let record = (Arc::new(PeerFacts::new(id("a")?)), Verdicts::default(), Some(wall.into()));
    let document =
        board(vec![Arc::new(Fixed::new(vec![record]))]).refresh(now()).lease_health(&DocumentFilter::default());
    Ok(serde_json::from_slice::<serde_json::Value>(&document)?["peers"][0]["lastHeartbeat"].clone())
}

#[test]
fn a_time_has_up_to_seven_fraction_digits_without_trailing_zeros() -> Outcome {
    assert_eq!(last_heartbeat(0)?, "2025-11-19T15:23:04+00:00");
    assert_eq!(last_heartbeat(1)?, "2025-11-19T15:23:04.0000001+00:00");
    assert_eq!(last_heartbeat(1_234_567)?, "2025-11-19T15:23:04.1234567+00:00");
    assert_eq!(last_heartbeat(1_200_000)?, "2025-11-19T15:23:04.12+00:00");
    assert_eq!(last_heartbeat(9_999_999)?, "2025-11-19T15:23:04.9999999+00:00");
    assert_eq!(last_heartbeat(10_000_000)?, "2025-11-19T15:23:05+00:00");
    Ok(())
}

proptest! {
    #[test]
    fn any_metadata_is_read_back_as_it_was_written(key in "\\PC{0,3}[\\x00-\\x7f]{1,8}", value in "[\\x00-\\x7f]{0,9}\\PC{0,20}") {
        let tracker = tracker();
        tracker.set_metadata(&id("a").expect("a valid name"), &[(&key, &value)], now()).expect("there is room");
        let text = shown(Some(tracker), &DocumentFilter::default()).expect("it is text");
        let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        prop_assert_eq!(&document["peers"][0]["metadata"], &serde_json::json!({key: value}));
    }
}
