//! User events on real sockets.

use gossip::{Event, Events, SendEventError, SendUserEventError, UserEvent};
use test_cluster::{Cluster, Tuning};
use tokio::time::timeout;

use crate::{Failure, LIMIT};

/// Returns origin, number, name and payload of the next user event.
async fn next(events: &mut Events) -> Result<(String, u64, String, Vec<u8>), Failure> {
    let happened = timeout(LIMIT, events.next()).await?.ok_or("the events have ended")??;
    let Event::UserEvent(event) = happened.event else { return Err("another event".into()) };
    Ok((event.origin.to_string(), event.sequence, event.name, event.payload.to_vec()))
}

#[tokio::test]
async fn an_event_reaches_every_node_its_sender_included_in_order() -> Result<(), Failure> {
    let cluster = Cluster::start(3, Tuning::fast()).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    let mut followers: Vec<Events> = (0..3).map(|node| cluster.handle(node).user_events()).collect();
    let mut membership = cluster.handle(1).events();
    for sequence in 1..=5_u8 {
        let sent = cluster.handle(0).send_user_event("deploy", vec![sequence].into()).await?;
        assert_eq!(sent, u64::from(sequence));
    }
    for events in &mut followers {
        for sequence in 1..=5_u8 {
            let expected = ("node-0".to_owned(), u64::from(sequence), "deploy".to_owned(), vec![sequence]);
            assert_eq!(next(events).await?, expected);
        }
    }
    assert!(membership.try_next().is_none(), "who follows the members is not told of them");
    let series = |outcome| format!("mesh_gossip_user_events_total{{outcome=\"{outcome}\"}}");
    assert_eq!(cluster.node(1).metric(&series("received")), 5.0);
    cluster.wait_until("sending is counted", LIMIT, |c| c.node(0).metric(&series("sent")) == 5.0).await?;
    Ok(())
}

#[tokio::test]
async fn an_event_beyond_a_bound_or_the_rate_is_refused_and_none_is_sent_after_the_end() -> Result<(), Failure> {
    let mut cluster = Cluster::start(1, Tuning::fast()).await?;
    let node = cluster.handle(0).clone();
    let large = vec![0; UserEvent::MAX_PAYLOAD_BYTES + 1];
    let refused = node.send_user_event("deploy", large.into()).await;
    assert!(matches!(refused, Err(SendUserEventError::Refused(SendEventError::Invalid(_)))), "{refused:?}");
    let mut last = Ok(0);
    for _ in 0..1_000 {
        last = node.send_user_event("deploy", Vec::new().into()).await;
        if last.is_err() {
            break;
        }
    }
    assert!(matches!(last, Err(SendUserEventError::Refused(SendEventError::TooMany { .. }))), "{last:?}");
    let mut events = node.user_events();
    cluster.stop(0).await;
    assert!(timeout(LIMIT, events.next()).await?.is_none());
    let ended = node.send_user_event("deploy", Vec::new().into()).await;
    assert!(matches!(ended, Err(SendUserEventError::Ended)), "{ended:?}");
    Ok(())
}
