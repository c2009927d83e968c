//! Certificates that are replaced while the mesh runs.

use std::time::Duration;

use mesh_proto::gossip as proto;
use mesh_proto::{GOSSIP_PROTOCOL_MAX, Message as _};
use quinn::ConnectionError;
use test_cluster::{Authority, Cluster, Holder, Tuning};
use tokio::time::timeout;

use crate::prober::Prober;
use crate::raw::probe;
use crate::raw_peer::RawPeer;
use crate::renewable::{CURRENT, OLDER, Renewable, Shown};
use crate::{Failure, LIMIT};

/// Many probes, and time for a busy machine to answer each.
fn watchful() -> Tuning {
    Tuning {
        interval: Duration::from_millis(50),
        suspicion_interval: Duration::from_secs(10),
        ping_timeout: Duration::from_secs(5),
    }
}

const FAILED: &str = "mesh_gossip_messages_total{mesh_direction=\"outbound\",mesh_outcome=\"failure\"}";
const CUT: &str = "mesh_gossip_links_cut_total{reason=\"unknown_ca\"}";
const SUSPECTED: &str = "mesh_gossip_events_total{event=\"suspect\"}";
const UNREACHABLE: &str = "mesh_gossip_events_total{event=\"unreachable\"}";

/// What all nodes together have counted.
fn total(cluster: &Cluster, series: &str) -> f64 {
    cluster.running().map(|node| node.metric(series)).sum()
}

#[tokio::test]
async fn certificates_of_all_nodes_are_renewed_twenty_times_and_no_message_is_lost() -> Result<(), Failure> {
    let mut mesh = Renewable::start(4, watchful()).await?;
    for round in 1..=20 {
        mesh.renew_all(None, &[])?;
        mesh.all_renewed(round).await?;
    }
    assert_eq!((total(&mesh.cluster, FAILED), total(&mesh.cluster, UNREACHABLE)), (0.0, 0.0));
    // Every link was up all the time: nobody had to dial for a message that found none. Both sides of each of six links
    // dial in each round, unless the other was faster.
    let dials = total(&mesh.cluster, "mesh_gossip_dials_total{outcome=\"success\"}");
    assert!((6.0 * 21.0..=12.0 * 21.0).contains(&dials), "{dials} dials");
    mesh.cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    Ok(())
}

#[tokio::test]
async fn no_probe_stays_unanswered_while_a_certificate_is_renewed_twenty_times() -> Result<(), Failure> {
    let mut mesh = Renewable::start(1, Tuning::default()).await?;
    let mallory = RawPeer::listen(mesh.cluster.authority().credentials("mallory")?)?;
    let first = mallory.dial(mesh.cluster.node(0).local_addr()).await?;
    let mut prober = Prober::new(mallory, first);
    for round in 1..=20 {
        mesh.renew_all(None, &[])?;
        timeout(LIMIT, prober.until(|prober| prober.renewals == round && prober.sent >= 20 * round)).await??;
    }
    timeout(LIMIT, prober.until(|prober| prober.answered.len() >= 400 && prober.unanswered().is_empty())).await??;
    let longest = prober.longest_gap();
    assert!(longest <= Tuning::default().interval, "nothing was answered for {longest:?}");
    Ok(())
}

#[tokio::test]
async fn a_ca_is_replaced_through_a_bundle_of_both_and_nobody_is_suspected() -> Result<(), Failure> {
    let mut mesh = Renewable::start(4, Tuning::default()).await?;
    let (old, new) = (mesh.cluster.authority().trust_bundle_pem(), Authority::new()?);
    let trusting = |count: usize| {
        move |c: &Cluster| c.running().all(|node| node.log().matches("trust bundle renewed").count() == count)
    };

    // First everybody trusts both; then certificates of the new one are shown; then the old one is trusted no more.
    mesh.trust(mesh.cluster.authority(), &[new.trust_bundle_pem()])?;
    mesh.cluster.wait_until("all trust both", LIMIT, trusting(1)).await?;
    mesh.renew_all(Some(&new), &[old])?;
    mesh.all_renewed(1).await?;
    mesh.trust(&new, &[])?;
    mesh.cluster.wait_until("all trust the new one", LIMIT, trusting(2)).await?;

    let faults = [CUT, FAILED, SUSPECTED].map(|series| total(&mesh.cluster, series));
    assert_eq!(faults, [0.0; 3]);
    assert!(mesh.cluster.all_see_all());
    // The old CA lets nobody in any more.
    let mut late = mesh.cluster.setup("node-9")?;
    let holder = Holder { also_trusts: vec![new.trust_bundle_pem()], ..Holder::new("node-9") };
    late.credentials = mesh.cluster.authority().credentials_with(&holder)?;
    let late = mesh.cluster.join(late).await?;
    let refused = "mesh_gossip_refused_by_others_total{reason=\"unknown_ca\"}";
    mesh.cluster.wait_until("it is refused", LIMIT, |c| c.node(late).metric(refused) >= 1.0).await?;
    Ok(())
}

#[tokio::test]
async fn a_bundle_that_drops_a_ca_in_use_cuts_its_links() -> Result<(), Failure> {
    let other = Authority::new()?;
    let mut mesh = Renewable::start(1, watchful()).await?;
    mesh.trust(mesh.cluster.authority(), &[other.trust_bundle_pem()])?;
    let stranger = Holder { also_trusts: vec![mesh.cluster.authority().trust_bundle_pem()], ..Holder::new("node-1") };
    let mut setup = mesh.cluster.setup("node-1")?;
    setup.credentials = other.credentials_with(&stranger)?;
    mesh.cluster.join(setup).await?;
    let linked = |c: &Cluster| c.all_see_all() && c.node(0).metric(CURRENT) == 1.0;
    mesh.cluster.wait_until("both are linked", LIMIT, linked).await?;

    mesh.trust(mesh.cluster.authority(), &[])?;
    mesh.cluster.wait_until("the link is cut", LIMIT, |c| c.node(0).metric(CUT) == 1.0).await?;
    let words = "others refuse this node's certificate: certificate of an unknown CA";
    mesh.cluster.wait_until("the other says so", LIMIT, |c| c.node(1).log().contains(words)).await?;
    Ok(())
}

#[tokio::test]
async fn the_old_link_serves_until_the_new_one_has_been_answered() -> Result<(), Failure> {
    let mut mesh = Renewable::start(1, watchful()).await?;
    let mallory = RawPeer::listen(mesh.cluster.authority().credentials("mallory")?)?;
    let old = mallory.dial(mesh.cluster.node(0).local_addr()).await?;

    mesh.renew_all(None, &[])?;
    let mut new = timeout(LIMIT, mallory.called()).await??;
    let terms = proto::LinkTerms::decode(new.hello.as_slice())?;
    assert_eq!(terms.credential_generation, 1);
    // The hello waits for its answer. Meanwhile what is sent on the old link is used, and answered there.
    while old.read_datagram().await.is_ok() && old.close_reason().is_none() {
        old.send_datagram(probe("mallory").into())?;
        if is_ack(&timeout(LIMIT, old.read_datagram()).await??) {
            break;
        }
    }
    assert_eq!(old.close_reason(), None);

    new.answer(&mallory, GOSSIP_PROTOCOL_MAX).await?;
    let closed = timeout(LIMIT, old.closed()).await?;
    assert!(
        matches!(&closed, ConnectionError::ApplicationClosed(close) if u64::from(close.error_code) == 4),
        "{closed}"
    );
    assert_eq!(new.connection.close_reason(), None);
    new.connection.send_datagram(probe("mallory").into())?;
    let answered = async {
        while !is_ack(&new.connection.read_datagram().await?) {}
        Ok::<_, ConnectionError>(())
    };
    timeout(LIMIT, answered).await??;
    Ok(())
}

fn is_ack(datagram: &[u8]) -> bool {
    let envelope = proto::Envelope::decode(datagram).unwrap_or_default();
    matches!(envelope.body, Some(proto::envelope::Body::Ack(_)))
}

#[tokio::test]
async fn a_node_with_a_long_window_keeps_old_links_while_others_renew_theirs_at_once() -> Result<(), Failure> {
    let mut mesh = Renewable::start(3, watchful()).await?;
    let holder = Holder::new("node-3");
    let shown = Shown::new(mesh.cluster.authority(), &holder)?;
    let mut setup = mesh.setup(&holder, &shown)?;
    setup.options.rehandshake_window = Duration::from_secs(600);
    mesh.nodes.push(shown);
    mesh.cluster.join(setup).await?;
    let linked = |c: &Cluster| c.running().all(|node| node.metric(CURRENT) == 3.0);
    mesh.cluster.wait_until("all are linked", LIMIT, linked).await?;
    for (number, node) in mesh.nodes.iter_mut().enumerate().skip(2) {
        node.renew(mesh.cluster.authority(), &Holder::new(&format!("node-{number}")))?;
    }
    let noticed = |c: &Cluster| (2..4).all(|number| c.node(number).log().contains("certificate renewed"));
    let hasty_is_done = |c: &Cluster| c.node(2).metric(CURRENT) == 3.0 && c.node(2).metric(OLDER) == 0.0;
    mesh.cluster.wait_until("one is done", LIMIT, |c| noticed(c) && hasty_is_done(c)).await?;
    // With node-2 it has a new link, which that one has dialled.
    assert!(mesh.cluster.node(3).metric(OLDER) >= 1.0);
    Ok(())
}
