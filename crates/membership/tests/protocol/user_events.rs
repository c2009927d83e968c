//! User events: who is told, what is passed on, and what is refused.

use std::time::Duration;

use bytes::Bytes;
use membership::{Channel, Class, Rejected, SendEventError, UserEvent, UserEventError};
use mesh_proto::Message as _;
use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body;
use mesh_types::Features;

use crate::kit::{Lab, PEER_BOOT, hello, record, update};

/// Starts a core with members that know of user events, but for the last.
fn lab(peers: usize) -> Lab {
    let mut lab = Lab::new(0);
    for number in 1..=peers {
        let node = format!("p{number}");
        let features = if number == peers { 0 } else { Features::OF_THIS_BUILD.bits() };
        let record = proto::NodeRecord { features, ..record(&node) }.encode_to_vec().into();
        lab.say_hello(&node, &hello(proto::Update { record, ..update(&node) })).expect("a valid hello");
    }
    lab.run(Duration::from_millis(5));
    lab.sent.clear();
    lab.events.clear();
    lab
}

fn event(origin: &str, sequence: u64) -> proto::UserEvent {
    proto::UserEvent {
        origin: origin.to_owned(),
        boot_epoch: PEER_BOOT,
        sequence,
        name: "deploy".to_owned(),
        payload: Bytes::from_static(b"v2"),
    }
}

/// Returns who was sent which events, on which channel.
fn passed_on(lab: &Lab) -> Vec<(String, u64, Channel)> {
    let events = lab.sent.iter().filter_map(|sent| match &sent.body {
        Body::UserEvent(event) => Some((sent.to.to_string(), event.sequence, sent.channel)),
        _ => None,
    });
    events.collect()
}

fn told(lab: &Lab) -> Vec<&str> {
    lab.events.iter().map(String::as_str).filter(|event| event.starts_with("user_event")).collect()
}

#[test]
fn an_event_goes_to_all_links_that_know_of_events_and_to_the_sender_itself() {
    let mut lab = lab(3);
    let sent = lab.core.send_user_event("deploy", Bytes::from_static(b"v2"), lab.now);
    lab.drain();
    assert_eq!(sent, Ok(1));
    let to = |node: &str| (node.to_owned(), 1, Channel::Stream);
    assert_eq!(passed_on(&lab), [to("p1"), to("p2")]);
    assert_eq!(told(&lab).len(), 1);
    assert_eq!(lab.core.stats().user_events_sent, 1);
}

#[test]
fn an_event_is_passed_on_once_to_others_than_its_sender_and_its_origin() {
    let mut lab = lab(5);
    lab.hear("p2", Body::UserEvent(event("p1", 1)));
    lab.hear("p3", Body::UserEvent(event("p1", 1)));
    let to = |node: &str| (node.to_owned(), 1, Channel::Stream);
    assert_eq!(passed_on(&lab), [to("p3"), to("p4")]);
    assert_eq!((told(&lab).len(), lab.core.stats().user_events_duplicate), (1, 1));
}

#[test]
fn what_is_ahead_is_passed_on_at_once_and_told_once_nothing_is_waited_for() {
    let mut lab = lab(4);
    lab.hear("p2", Body::UserEvent(event("p1", 1)));
    lab.hear("p2", Body::UserEvent(event("p1", 3)));
    assert_eq!((passed_on(&lab).len(), told(&lab).len(), lab.core.user_events_waiting()), (2, 1, 1));
    lab.run(Duration::from_secs(3));
    assert_eq!((told(&lab).len(), lab.core.user_events_waiting()), (3, 0), "with what was lost: {:?}", told(&lab));
    assert!(told(&lab).iter().any(|line| line.starts_with("user_events_lost")), "{:?}", told(&lab));
}

#[test]
fn an_origin_has_one_timer_however_often_its_events_overtake_each_other() {
    let mut lab = lab(4);
    lab.hear("p2", Body::UserEvent(event("p1", 1)));
    lab.run(Duration::from_millis(5));
    let timers = lab.core.timers_set();
    for pair in 1..=50 {
        lab.hear("p2", Body::UserEvent(event("p1", 2 * pair + 1)));
        assert_eq!(lab.core.timers_set(), timers + 1);
        lab.hear("p2", Body::UserEvent(event("p1", 2 * pair)));
        assert_eq!(lab.core.timers_set(), timers);
    }
    assert_eq!(told(&lab).len(), 101);
}

#[test]
fn an_event_of_a_stranger_or_beyond_a_bound_is_refused() {
    let mut lab = lab(3);
    let refused = |on: &mut Lab, event| on.try_hear("p2", Body::UserEvent(event)).expect_err("refused");
    let stranger = UserEventError::Origin { origin: "nobody".to_owned() };
    assert_eq!(refused(&mut lab, event("nobody", 1)), Rejected::UserEvent { source: stranger });
    let bytes = UserEvent::MAX_PAYLOAD_BYTES + 1;
    let large = proto::UserEvent { payload: vec![0; bytes].into(), ..event("p1", 1) };
    let error = refused(&mut lab, large);
    assert_eq!(error, Rejected::UserEvent { source: UserEventError::Payload { bytes } });
    assert_eq!(error.reason(), "bad_event");
    let unnamed = proto::UserEvent { origin: String::new(), ..event("p1", 1) };
    assert_eq!(refused(&mut lab, unnamed).reason(), "bad_name");
    assert_eq!((passed_on(&lab), told(&lab)), (Vec::new(), Vec::new()));
}

#[test]
fn nothing_is_sent_beyond_bounds_and_rate_or_after_leaving() {
    let mut lab = lab(3);
    let now = lab.now;
    let refused = lab.core.send_user_event("no spaces", Bytes::new(), now);
    assert_eq!(refused, Err(SendEventError::Invalid(UserEventError::Name { bytes: 9 })));
    let sent = (0..100).take_while(|_| lab.core.send_user_event("e", Bytes::new(), now).is_ok()).count();
    assert_eq!(sent, 32);
    lab.drain();
    let after = |left: &mut Lab| {
        left.core.handle(membership::Input::Leave, now).expect("leaving needs no valid input");
        left.core.send_user_event("e", Bytes::new(), now)
    };
    assert_eq!(after(&mut lab), Err(SendEventError::Stopped));
}

#[test]
fn what_a_link_cannot_carry_waits_and_then_is_shed() {
    let mut lab = lab(4);
    let payload = Bytes::from(vec![7; UserEvent::MAX_PAYLOAD_BYTES]);
    for sequence in 1..=2_000 {
        lab.hear("p2", Body::UserEvent(proto::UserEvent { payload: payload.clone(), ..event("p1", sequence) }));
    }
    let queue = |of: &Lab| of.core.queues().find(|queue| queue.class == Class::Event).expect("every class has one");
    let (sent, before) = (passed_on(&lab).len(), queue(&lab));
    assert_eq!(
        before.waiting, 256,
        "one link may be told: the others are the sender, the origin, and one without events"
    );
    assert_eq!(sent + 256 + usize::try_from(before.shed).expect("small"), 2_000);
    assert!(before.shed > 0);
    assert_eq!(told(&lab).len(), 2_000, "what is not passed on is told here all the same");
    lab.run(Duration::from_secs(60));
    assert_eq!((queue(&lab).waiting, passed_on(&lab).len()), (0, sent + 256));
    assert!(passed_on(&lab).iter().all(|(to, ..)| to == "p3"));
}
