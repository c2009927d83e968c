//! News: passed on at once, once, and repeated only as long as the other side may lack them.

use std::collections::BTreeMap;
use std::time::Duration;

use membership::{Channel, Input, Options, Rejected};
use mesh_proto::gossip::State;
use mesh_proto::{Message as _, gossip as proto};
use mesh_types::{Endpoint, NodeMetadata};

use crate::kit::{Lab, id, metadata, record, update, updates_in, verdict};

const SOON: Duration = Duration::from_millis(3);

fn quiet() -> Options {
    Options { metadata_refresh_period: Duration::from_secs(86_400), ..Options::default() }
}

#[test]
fn news_go_to_every_link_but_the_one_they_came_from_and_their_subject() {
    let mut lab = Lab::new(4);
    lab.hear_updates("p1", vec![proto::Update { metadata_version: 2, ..update("p2") }]);
    lab.run(SOON);
    let told: Vec<String> = lab.told("p2").into_iter().map(|(to, _)| to).collect();
    assert_eq!(told, ["p3", "p4"]);
}

#[test]
fn what_is_known_is_not_passed_on_again() {
    let mut lab = Lab::new(4);
    let news = proto::Update { metadata_version: 2, ..update("p2") };
    lab.hear_updates("p1", vec![news.clone()]);
    lab.run(SOON);
    lab.sent.clear();
    let before = lab.core.stats();
    lab.hear_updates("p1", vec![news.clone()]);
    lab.hear_updates("p3", vec![news]);
    lab.run(SOON);
    assert!(lab.sent.is_empty(), "{:?}", lab.sent);
    assert_eq!(lab.core.stats().duplicates, before.duplicates + 2);
    assert_eq!((lab.core.stats().news, lab.events.len()), (before.news, 1));
}

#[test]
fn a_link_that_tells_the_same_is_not_told_and_one_that_tells_less_is() {
    let mut lab = Lab::with(4, quiet());
    lab.digests_match = false;
    let news = |version| proto::Update { metadata_version: version, ..update("p2") };
    lab.hear_updates("p1", vec![news(3)]);
    lab.hear_updates("p3", vec![news(3)]);
    lab.hear_updates("p4", vec![news(2)]);
    lab.run(SOON);
    let told: Vec<String> = lab.told("p2").into_iter().map(|(to, _)| to).collect();
    assert_eq!(told, ["p4"]);
    // Nor is it repeated to one that turns out to have it.
    lab.sent.clear();
    lab.hear_updates("p4", vec![news(3)]);
    lab.run(Duration::from_secs(60));
    assert_eq!(lab.told("p2"), []);
    assert_eq!(lab.core.queue_depth(), 0);
}

#[test]
fn an_update_is_sent_to_a_link_no_more_often_than_the_limit() {
    for limit in [1, 3] {
        let mut lab = Lab::with(3, Options { retransmit_limit: limit, ..quiet() });
        lab.digests_match = false;
        lab.hear_updates("p1", vec![update("p9")]);
        lab.run(Duration::from_secs(120));
        let mut sends = BTreeMap::new();
        for (to, _) in lab.told("p9") {
            *sends.entry(to).or_insert(0) += 1;
        }
        let limit = i32::from(limit);
        assert_eq!(sends, BTreeMap::from([("p2".to_owned(), limit), ("p3".to_owned(), limit)]));
        assert_eq!(lab.core.queue_depth(), 0);
    }
}

#[test]
fn nothing_is_repeated_to_a_link_whose_digest_matches() {
    let mut lab = Lab::with(3, quiet());
    lab.run(Duration::from_secs(5));
    lab.sent.clear();
    lab.hear_updates("p1", vec![verdict("p1", State::Left, &[])]);
    lab.run(Duration::from_secs(120));
    let repeats = lab.told("p1").iter().filter(|(to, _)| to == "p2").count();
    assert!(repeats <= 2, "sent {repeats} times");
    assert_eq!(lab.core.queue_depth(), 0);
}

#[test]
fn news_within_two_milliseconds_travel_together() {
    let mut lab = Lab::new(3);
    lab.hear_updates("p1", vec![update("p8")]);
    lab.run(Duration::from_millis(1));
    lab.hear_updates("p1", vec![update("p9")]);
    assert!(lab.sent.is_empty());
    lab.run(SOON);
    let to_p2 = lab.sent.iter().filter(|sent| sent.to.as_str() == "p2");
    let updates: Vec<usize> = to_p2.map(|sent| updates_in(&sent.body).len()).collect();
    assert_eq!(updates, [2]);
}

#[test]
fn news_of_many_are_split_into_datagrams_that_fit() {
    // The harness refuses a datagram that is too long.
    let mut lab = Lab::with(3, Options { fanout: 32, ..Options::default() });
    let long_name = |number: usize| format!("{number:0>63}");
    let many: Vec<proto::Update> = (0..25)
        .map(|number| proto::Update { record: record("p").encode_to_vec().into(), ..update(&long_name(number)) })
        .collect();
    lab.hear_updates("p1", many);
    lab.run(SOON);
    for number in 0..25 {
        let told: Vec<String> = lab.told(&long_name(number)).into_iter().map(|(to, _)| to).collect();
        assert!(told.contains(&"p2".to_owned()), "p2 was not told of {number}");
    }
    lab.digests_match = false;
    lab.run(Duration::from_secs(30));
}

fn large(node: &str) -> proto::Update {
    let labels = (0..10).map(|number| (format!("key-{number}"), "v".repeat(128))).collect();
    let record = proto::NodeRecord { labels, ..record(node) };
    proto::Update { metadata_version: 2, record: record.encode_to_vec().into(), ..update(node) }
}

#[test]
fn an_update_that_fits_no_datagram_travels_over_a_stream() {
    let mut lab = Lab::new(3);
    lab.hear_updates("p1", vec![large("p9"), update("p8")]);
    lab.run(SOON);
    let with = |channel| {
        let sent = lab.sent.iter().filter(|sent| sent.channel == channel && sent.to.as_str() == "p2");
        sent.flat_map(|sent| updates_in(&sent.body)).map(|update| update.node).collect::<Vec<_>>()
    };
    assert_eq!((with(Channel::Datagram), with(Channel::Stream)), (vec!["p8".to_owned()], vec!["p9".to_owned()]));
}

#[test]
fn a_large_update_does_not_hold_up_those_behind_it() {
    let mut lab = Lab::with(3, quiet());
    lab.digests_match = false;
    lab.hear_updates("p1", vec![large("p5"), update("p9")]);
    lab.run(Duration::from_secs(120));
    let sends = |subject| lab.told(subject).iter().filter(|(to, _)| to == "p2").count();
    assert_eq!((sends("p5"), sends("p9")), (3, 3));
    assert_eq!(lab.core.queue_depth(), 0);
}

#[test]
fn the_own_record_is_repeated_to_one_link_a_period() {
    let mut lab = Lab::with(3, Options { metadata_refresh_period: Duration::from_secs(30), ..Options::default() });
    lab.run(Duration::from_secs(10));
    lab.sent.clear();
    lab.run(Duration::from_secs(60));
    assert_eq!(lab.told("a").len(), 2);
}

#[test]
fn changed_metadata_are_told_to_all_links_and_unchanged_to_none() {
    let mut lab = Lab::new(2);
    let mut changed = metadata("a");
    changed.labels.insert("rack".to_owned(), "r1".to_owned());
    for _ in 0..2 {
        lab.core.handle(Input::SetMetadata(changed.clone()), lab.now).expect("valid metadata");
        lab.run(SOON);
    }
    let versions: Vec<(String, u64)> =
        lab.told("a").into_iter().map(|(to, update)| (to, update.metadata_version)).collect();
    assert_eq!(versions, [("p1".to_owned(), 2), ("p2".to_owned(), 2)]);
    changed.labels.insert("k".repeat(64), String::new());
    let refused = lab.core.handle(Input::SetMetadata(changed), lab.now);
    assert_eq!(refused.map_err(|error| error.reason()), Err("own_metadata"));
}

#[test]
fn a_node_does_not_change_its_cluster_while_it_runs() {
    let mut lab = Lab::new(1);
    let elsewhere = NodeMetadata { cluster: "beta".parse().expect("a name"), ..metadata("a") };
    let refused = lab.core.handle(Input::SetMetadata(elsewhere), lab.now);
    let (given, own) = ("beta".parse().expect("a name"), metadata("a").cluster);
    assert_eq!(refused, Err(Rejected::OwnCluster { given, own }));
    assert_eq!(lab.shown("a").map(|member| member.metadata.cluster.clone()), Some(metadata("a").cluster));
}

#[test]
fn joining_again_while_joining_dials_no_more_often() {
    let dials = |joins: usize| {
        let mut lab = Lab::new(0);
        for _ in 0..joins {
            let seed: Endpoint = "seed.mesh:1".parse().expect("an endpoint");
            lab.core.handle(Input::Join(vec![seed]), lab.now).expect("seeds are valid");
        }
        lab.drain();
        lab.run(Duration::from_secs(1));
        lab.core.timers_set()
    };
    assert_eq!(dials(1), dials(50));
}

/// Returns how old news are when they come from `p1`, ten milliseconds away and back, and when they leave for `p3`.
fn ages(age_us: u32) -> (Vec<Duration>, Vec<u32>) {
    let mut lab = Lab::with(0, quiet());
    lab.greet("p1");
    let rtt = Duration::from_millis(10);
    lab.core.handle(Input::LinkRtt { peer: &id("p1"), rtt }, lab.now).expect("a round trip is no input");
    lab.greet("p3");
    lab.greet("p2");
    lab.run(Duration::from_secs(3));
    lab.sent.clear();
    lab.ages.clear();
    lab.hear_updates("p1", vec![proto::Update { metadata_version: 2, age_us, ..update("p2") }]);
    lab.run(SOON);
    let told = lab.told("p2").into_iter().filter(|(to, _)| to == "p3");
    let sent = told.map(|(_, update)| update.age_us).collect();
    (lab.ages, sent)
}

#[test]
fn the_age_of_news_grows_by_half_the_round_trip_and_by_what_they_are_held() {
    // Probes of p1 are answered at once: with each the smoothed round trip falls by an eighth.
    let (come, sent) = ages(5_000);
    let [age] = come.as_slice() else { panic!("{come:?}") };
    assert!(*age > Duration::from_millis(5) && *age < Duration::from_millis(10), "{age:?}");
    let left = u32::try_from((*age + Duration::from_millis(2)).as_micros()).unwrap_or_default();
    assert_eq!(sent, [left]);
}

#[test]
fn news_of_unknown_age_and_of_a_minute_tell_none() {
    assert_eq!(ages(0), (vec![], vec![0]));
    assert_eq!(ages(60_000_000), (vec![], vec![0]));
    let (come, _) = ages(59_990_000);
    assert_eq!(come.len(), 1);
}

#[test]
fn what_a_node_says_anew_has_no_age_at_first() {
    let mut lab = Lab::new(2);
    let mut changed = metadata("a");
    changed.labels.insert("rack".to_owned(), "r1".to_owned());
    lab.core.handle(Input::SetMetadata(changed), lab.now).expect("valid metadata");
    lab.run(SOON);
    let told: Vec<u32> = lab.told("a").into_iter().map(|(_, update)| update.age_us).collect();
    assert_eq!(told, [2_000, 2_000], "it waited for company");
}
