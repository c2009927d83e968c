//! What a follower hears, and labels that change while the node runs.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use futures_util::StreamExt as _;
use gossip::{ChangeError, Event, Events, LabelChanges, Missed};
use mesh_types::{Endpoint, Feature, MemberState, NodeLifecycle, NodeMetadata, ServiceName};
use peers_core::{MembershipView as _, PeerSource as _, PeerUpdate};
use test_cluster::{Cluster, Tuning};
use tokio::time::timeout;

use crate::{Failure, LIMIT};

fn set(pairs: &[(&str, Option<&str>)]) -> LabelChanges {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
}

/// Returns the labels of `subject` as `viewer` sees them.
fn labels(cluster: &Cluster, viewer: usize, subject: usize) -> BTreeMap<String, String> {
    let view = cluster.handle(viewer).current();
    view.get(cluster.node(subject).id()).map(|member| member.metadata.labels.clone()).unwrap_or_default()
}

/// Waits until an event is told of a node as `name` and returns all names told of it so far.
async fn heard_of(events: &mut Events, node: &str, name: &str) -> Result<Vec<&'static str>, Failure> {
    let mut names = Vec::new();
    while names.last() != Some(&name) {
        let happened = timeout(LIMIT, events.next()).await?.ok_or("the events have ended")??;
        let (Event::Joined(member) | Event::Updated(member) | Event::Left(member)) = &happened.event else { continue };
        if member.id.as_str() == node {
            names.push(happened.event.name());
        }
    }
    Ok(names)
}

#[tokio::test]
async fn labels_change_on_one_node_and_spread_to_all() -> Result<(), Failure> {
    let cluster = Cluster::start(3, Tuning::fast()).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    let node = cluster.handle(0);
    node.change_labels(set(&[("rack", Some("r1")), ("zone", Some("a"))])).await?;
    node.change_labels(set(&[("rack", Some("r2")), ("zone", None), ("never", None)])).await?;
    let expected = BTreeMap::from([("rack".to_owned(), "r2".to_owned())]);
    // Whoever has the answer sees the change; the others soon do.
    assert_eq!(labels(&cluster, 0, 0), expected);
    let spread = |c: &Cluster| (1..3).all(|viewer| labels(c, viewer, 0) == expected);
    cluster.wait_until("all see the label", LIMIT, spread).await?;
    Ok(())
}

#[tokio::test]
async fn labels_beyond_a_bound_are_refused_and_leave_the_others_alone() -> Result<(), Failure> {
    let cluster = Cluster::start(1, Tuning::fast()).await?;
    let node = cluster.handle(0);
    node.change_labels(set(&[("rack", Some("r1"))])).await?;
    let value = "v".repeat(NodeMetadata::MAX_LABEL_VALUE_BYTES + 1);
    let refused = node.change_labels(set(&[("rack", None), ("long", Some(&value))])).await;
    assert!(matches!(refused, Err(ChangeError::Invalid(_))), "{refused:?}");
    assert_eq!(labels(&cluster, 0, 0), BTreeMap::from([("rack".to_owned(), "r1".to_owned())]));
    node.change_labels(set(&[("long", value.get(1..))])).await?;
    assert_eq!(labels(&cluster, 0, 0).len(), 2);
    Ok(())
}

fn services(names: &[&str]) -> Result<BTreeSet<ServiceName>, Failure> {
    Ok(names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn services_are_announced_and_withdrawn_while_a_node_runs_and_peers_are_called_where_they_take_calls()
-> Result<(), Failure> {
    let mut cluster = Cluster::start(1, Tuning::fast()).await?;
    let mut setup = cluster.setup("node-1")?;
    (setup.options.services, setup.options.rpc_port) = (services(&["orders"])?, NonZeroU16::new(7420));
    let node = cluster.join(setup).await?;
    let seen = |c: &Cluster, viewer: usize| {
        let view = c.handle(viewer).current();
        let member = view.get(c.node(node).id()).filter(|member| member.state == MemberState::Alive);
        member.map(|member| member.metadata.services.clone()).unwrap_or_default()
    };
    let told = async |expected: BTreeSet<ServiceName>| {
        assert_eq!(seen(&cluster, node), expected);
        cluster.wait_until("the other knows", LIMIT, |c| seen(c, 0) == expected).await
    };
    told(services(&["orders"])?).await?;
    cluster.handle(node).announce(services(&["users", "orders", "carts"])?).await?;
    told(services(&["carts", "orders", "users"])?).await?;
    cluster.handle(node).withdraw(services(&["orders", "never"])?).await?;
    told(services(&["carts", "users"])?).await?;

    let Some(PeerUpdate::Reset(peers)) = timeout(LIMIT, cluster.handle(0).subscribe().next()).await? else {
        return Err("a list begins with all peers".into());
    };
    let endpoints: Vec<Endpoint> = peers.into_iter().flat_map(|p| p.endpoints).map(|e| e.address).collect();
    assert_eq!(endpoints, ["127.0.0.1:7420".parse()?]);
    Ok(())
}

#[tokio::test]
async fn services_beyond_the_bound_are_refused_and_none_of_them_is_announced() -> Result<(), Failure> {
    let cluster = Cluster::start(1, Tuning::fast()).await?;
    let node = cluster.handle(0);
    let names: Vec<String> = (0..=NodeMetadata::MAX_SERVICES).map(|number| format!("service-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = node.announce(services(&names)?).await;
    assert!(matches!(refused, Err(ChangeError::Invalid(_))), "{refused:?}");
    let announced = || node.current().members.iter().map(|member| member.metadata.services.len()).sum::<usize>();
    assert_eq!(announced(), 0);
    node.announce(services(names.get(1..).unwrap_or_default())?).await?;
    assert_eq!(announced(), NodeMetadata::MAX_SERVICES);
    Ok(())
}

/// Returns whether `viewer` gives `subject` work, as its peer list has it.
async fn takes_work(cluster: &Cluster, viewer: usize, subject: usize) -> Result<bool, Failure> {
    let Some(PeerUpdate::Reset(peers)) = timeout(LIMIT, cluster.handle(viewer).subscribe().next()).await? else {
        return Err("a list begins with all peers".into());
    };
    let found = peers.iter().find(|peer| peer.id == *cluster.node(subject).id());
    Ok(found.ok_or("no such peer")?.takes_work())
}

#[tokio::test]
async fn a_node_that_is_drained_is_given_no_work_by_anybody_until_it_is_active_again() -> Result<(), Failure> {
    let cluster = Cluster::start(3, Tuning::fast()).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    let lifecycle = |c: &Cluster, viewer: usize| {
        c.handle(viewer).current().get(c.node(0).id()).map(|member| member.metadata.lifecycle)
    };
    assert!(takes_work(&cluster, 1, 0).await?);
    for (wanted, takes) in
        [(NodeLifecycle::Draining, false), (NodeLifecycle::Cordoned, false), (NodeLifecycle::Active, true)]
    {
        cluster.handle(0).set_lifecycle(wanted).await?;
        assert_eq!(lifecycle(&cluster, 0), Some(wanted));
        let spread = |c: &Cluster| (1..3).all(|viewer| lifecycle(c, viewer) == Some(wanted));
        cluster.wait_until("all know", LIMIT, spread).await?;
        assert_eq!((takes_work(&cluster, 1, 0).await?, takes_work(&cluster, 1, 2).await?), (takes, true));
        let series = format!("mesh_gossip_members_by_lifecycle{{mesh_lifecycle=\"{wanted}\"}}");
        let counted = if wanted == NodeLifecycle::Active { 3.0 } else { 1.0 };
        cluster.wait_until("it is counted", LIMIT, |c| c.node(2).metric(&series) == counted).await?;
    }
    assert!(cluster.handle(1).current().common_features().contains(Feature::Lifecycle));
    Ok(())
}

#[tokio::test]
async fn a_node_that_has_ended_changes_no_labels() -> Result<(), Failure> {
    let mut cluster = Cluster::start(1, Tuning::fast()).await?;
    let node = cluster.handle(0).clone();
    cluster.stop(0).await;
    let refused = timeout(LIMIT, node.change_labels(set(&[("rack", Some("r1"))]))).await?;
    assert!(matches!(refused, Err(ChangeError::Ended)), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_follower_hears_of_a_join_an_update_and_a_goodbye_in_order() -> Result<(), Failure> {
    let mut cluster = Cluster::start(1, Tuning::fast()).await?;
    let mut events = cluster.handle(0).events();
    let setup = cluster.setup("node-1")?;
    cluster.join(setup).await?;
    assert_eq!(heard_of(&mut events, "node-1", "joined").await?, ["joined"]);
    cluster.handle(1).change_labels(set(&[("rack", Some("r1"))])).await?;
    assert_eq!(heard_of(&mut events, "node-1", "updated").await?, ["updated"]);
    cluster.stop(1).await;
    assert_eq!(heard_of(&mut events, "node-1", "left").await?, ["left"]);
    assert!(events.try_next().is_none());
    Ok(())
}

#[tokio::test]
async fn a_follower_who_is_behind_is_told_how_much_it_missed() -> Result<(), Failure> {
    const UPDATES: usize = 520;
    let cluster = Cluster::start(2, Tuning::fast()).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    let mut events = cluster.handle(0).events();
    for update in 0..UPDATES {
        let value = update.to_string();
        cluster.handle(1).change_labels(set(&[("n", Some(&value))])).await?;
        let seen = |c: &Cluster| labels(c, 0, 1).get("n") == Some(&value);
        cluster.wait_until("the update is seen", LIMIT, seen).await?;
    }
    assert!(matches!(events.try_next(), Some(Err(Missed { count: 8.. }))));
    assert!(matches!(events.try_next(), Some(Ok(_))));
    Ok(())
}
