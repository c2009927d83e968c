//! More news than a link can carry: what is urgent goes first, nobody starves, and what has no room is counted.

use std::time::Duration;

use membership::{Channel, Class, Options, Queue};
use mesh_proto::gossip as proto;
use mesh_proto::gossip::State;
use mesh_proto::gossip::envelope::Body;

use crate::kit::{Lab, id, update, updates_in, verdict};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// As little as may be: some 128 updates a second, of all classes together.
fn thin() -> Options {
    Options {
        link_bytes_per_second: 16_384,
        link_datagrams_per_second: 50,
        metadata_refresh_period: Duration::from_secs(86_400),
        ..Options::default()
    }
}

fn queue(lab: &Lab, class: Class) -> Queue {
    lab.core.queues().find(|queue| queue.class == class).expect("there is one for each class")
}

/// Members besides `p1`.
const MEMBERS: usize = 300;

/// A core at rest among many, and one of its links.
fn at_rest(options: Options) -> (Lab, String) {
    let mut lab = Lab::with(1, options);
    lab.hear_updates("p1", (0..MEMBERS).map(|number| update(&name(number))).collect());
    lab.run(SECOND * 10);
    lab.sent.clear();
    let link = lab.core.links().iter().find(|link| **link != id("p1")).expect("it has links").to_string();
    (lab, link)
}

fn name(number: usize) -> String {
    format!("n{number:03}")
}

/// Lets `p1` tell what so many members say of themselves anew. The links stay as they are.
fn change(lab: &mut Lab, members: std::ops::Range<usize>, metadata_version: u64) {
    let updates = members.map(|number| proto::Update { metadata_version, ..update(&name(number % MEMBERS)) });
    lab.hear_updates("p1", updates.collect());
}

/// Lets `p1` tell that so many members have come back in a new life.
fn come_back(lab: &mut Lab, members: std::ops::Range<usize>, boot_epoch: u64) {
    let updates = members.map(|number| proto::Update { boot_epoch, ..update(&name(number % MEMBERS)) });
    lab.hear_updates("p1", updates.collect());
}

/// Returns what a link has been told of in floods, in order.
fn flooded(lab: &Lab, link: &str) -> Vec<String> {
    let floods = lab.sent.iter().filter(|sent| sent.to == id(link) && matches!(sent.body, Body::Flood(_)));
    floods.flat_map(|sent| updates_in(&sent.body)).map(|update| update.node).collect()
}

/// Returns a member that is no link, so that the overlay stays as it is without it.
fn stranger(lab: &Lab) -> String {
    let names = (0..MEMBERS).map(name);
    names.into_iter().find(|node| !lab.core.links().contains(&id(node))).expect("most are no links")
}

#[test]
fn news_wait_longer_for_company_while_there_are_many_and_two_milliseconds_again_afterwards() {
    let (mut lab, link) = at_rest(Options::default());
    let mut windows = Vec::new();
    for version in 2..9 {
        change(&mut lab, 0..100, version);
        lab.run(MS * 50);
        windows.push(lab.core.flush_window().as_millis());
    }
    assert_eq!(windows, [4, 8, 16, 32, 50, 50, 50]);
    change(&mut lab, 0..1, 9);
    lab.run(MS * 50);
    assert_eq!(lab.core.flush_window(), MS * 25, "one update is no storm");
    lab.run(SECOND);
    lab.sent.clear();
    change(&mut lab, 0..1, 10);
    lab.run(MS * 3);
    assert_eq!(flooded(&lab, &link), [name(0)]);
}

#[test]
fn a_queue_fills_before_anything_is_shed_and_holds_no_more_than_a_second_of_the_rate() {
    let (mut lab, _) = at_rest(thin());
    let before = queue(&lab, Class::Metadata).shed;
    let mut seen = Vec::new();
    for number in 0..2 * MEMBERS {
        change(&mut lab, number..number + 1, if number < MEMBERS { 2 } else { 3 });
        lab.run(MS);
        let Queue { waiting, shed, .. } = queue(&lab, Class::Metadata);
        seen.push((waiting, shed - before));
    }
    let first_shed = seen.iter().position(|(_, shed)| *shed > 0).expect("the link is too thin");
    let most = 128 * lab.core.links().len();
    assert!(seen.iter().take(first_shed).any(|(waiting, _)| waiting * 2 > most), "{seen:?}");
    assert_eq!(seen.iter().map(|(waiting, _)| *waiting).max(), Some(most));
    lab.run(SECOND * 5);
    assert_eq!(queue(&lab, Class::Metadata).waiting, 0, "what waited was sent");
}

#[test]
fn a_link_gets_its_rate_and_no_more_after_a_burst() {
    let (mut lab, link) = at_rest(thin());
    for round in 0..100 {
        change(&mut lab, round * 20..(round + 1) * 20, 2 + u64::try_from(round).unwrap_or_default());
        lab.run(MS * 100);
    }
    let bytes = flooded(&lab, &link).len() * 75;
    // An update is of 75 bytes and some; of the twelve seconds' worth two are the burst's.
    assert!((6 * 16_384..12 * 16_384).contains(&bytes), "{bytes} bytes: one class alone has the whole rate");
}

#[test]
fn a_verdict_overtakes_the_news_that_wait() {
    let (mut lab, link) = at_rest(thin());
    for boot_epoch in 600..=605 {
        come_back(&mut lab, 0..MEMBERS, boot_epoch);
        lab.run(MS * 60);
    }
    assert!(queue(&lab, Class::Membership).waiting > 0);
    lab.sent.clear();
    let subject = stranger(&lab);
    let judged =
        proto::Update { boot_epoch: 605, ..verdict(&subject, State::Unreachable, &["p1", "n200", "n201", "n202"]) };
    lab.hear_updates("p1", vec![judged]);
    lab.run(MS * 60);
    assert_eq!(flooded(&lab, &link).first(), Some(&subject));
    assert_eq!(queue(&lab, Class::Verdict).shed, 0);
}

#[test]
fn metadata_are_not_starved_by_members_who_come_back_without_end() {
    let (mut lab, link) = at_rest(thin());
    let mut round = 0;
    let mut storm = |mesh: &mut Lab, time: Duration| {
        for _ in 0..time.as_millis() / 10 {
            let boot_epoch = 600 + u64::try_from(round).unwrap_or_default();
            come_back(mesh, round * 10..(round + 1) * 10, boot_epoch);
            round += 1;
            mesh.run(MS * 10);
        }
    };
    storm(&mut lab, SECOND * 5);
    lab.sent.clear();
    lab.hear_updates(&link, vec![proto::Update { metadata_version: 2, ..update("p1") }]);
    storm(&mut lab, MS * 200);
    let told: Vec<String> = lab.told("p1").into_iter().map(|(to, _)| to).collect();
    assert!(queue(&lab, Class::Membership).waiting > 0, "it still storms");
    assert_eq!(told.len(), lab.core.links().iter().filter(|to| **to != id(&link) && **to != id("p1")).count());
}

#[test]
fn who_asks_more_often_than_the_rate_gets_no_answers_and_everybody_else_does() {
    let mut lab = Lab::with(3, thin());
    let probe = |sequence| Body::Probe(proto::Probe { sequence, ..proto::Probe::default() });
    lab.sent.clear();
    for sequence in 0..1_000 {
        lab.hear("p1", probe(sequence));
    }
    lab.hear("p2", probe(1));
    let acks = |seen: &Lab, to: &str| {
        seen.sent.iter().filter(|sent| sent.to == id(to) && matches!(sent.body, Body::Ack(_))).count()
    };
    // Its own purse and the common one.
    assert!((50..=62).contains(&acks(&lab, "p1")), "{} answers", acks(&lab, "p1"));
    assert_eq!(
        (acks(&lab, "p2"), queue(&lab, Class::Probe).shed),
        (1, 1_000 - u64::try_from(acks(&lab, "p1")).unwrap_or(0))
    );
    lab.sent.clear();
    lab.run(SECOND * 2);
    lab.hear("p1", probe(1_001));
    assert_eq!(acks(&lab, "p1"), 1, "it has had time to calm down");
}

#[test]
fn a_link_whose_rate_is_used_up_is_still_probed_and_not_suspected() {
    let mut lab = Lab::with(3, thin());
    for sequence in 0..5_000 {
        lab.hear("p1", Body::Probe(proto::Probe { sequence, ..proto::Probe::default() }));
        lab.run(MS * 2);
    }
    assert!(queue(&lab, Class::Probe).shed > 1_000);
    let probes = lab.sent.iter().filter(|sent| sent.to == id("p1") && matches!(sent.body, Body::Probe(_)));
    assert!(probes.count() >= 9);
    assert!(!lab.happened("suspect p1 500.0 v1"), "{:?}", lab.events);
}

#[test]
fn a_comparison_that_is_asked_for_again_while_its_answer_waits_is_not_begun_anew() {
    let mut lab = Lab::with(1, Options { max_members: 5_000, ..thin() });
    let records = (0..2_000).map(|number| update(&format!("n{number}"))).collect();
    lab.hear("p1", Body::SyncRecords(proto::SyncRecords { updates: records, wanted: Vec::new() }));
    let ask = Body::SyncStart(proto::SyncStart { bucket_sums: vec![0; mesh_proto::SYNC_BUCKETS] });
    for _ in 0..3 {
        lab.hear("p1", ask.clone());
    }
    let waiting = queue(&lab, Class::Sync).waiting;
    lab.hear("p1", ask);
    let Queue { waiting: still, shed, .. } = queue(&lab, Class::Sync);
    assert!(waiting > 0);
    assert_eq!((still, shed >= 1), (waiting, true));
    let streams = lab.sent.iter().filter(|sent| matches!(sent.body, Body::SyncDiff(_)));
    assert!(streams.into_iter().all(|sent| sent.channel == Channel::Stream));
}
