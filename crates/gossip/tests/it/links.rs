//! Links between nodes: one for each pair.

use std::net::SocketAddr;

use gossip::{Handle, Service};
use peers_core::MembershipView as _;
use telemetry::MetricsHandle;
use test_cluster::{Cluster, Tuning};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{Failure, LIMIT, unused_address};

#[tokio::test]
async fn each_of_six_nodes_ends_with_a_link_to_each_other() -> Result<(), Failure> {
    let cluster = Cluster::start(6, Tuning::fast()).await?;
    let all_linked = |c: &Cluster| c.all_see_all() && c.running().all(|node| node.metric("mesh_gossip_links") == 5.0);
    cluster.wait_until("all are linked", LIMIT, all_linked).await?;
    Ok(())
}

/// Binds `name` at `own`, with `seed` to dial.
fn bind(cluster: &Cluster, name: &str, own: SocketAddr, seed: SocketAddr) -> Result<Service, Failure> {
    let mut setup = cluster.setup(name)?;
    (setup.options.bind_address, setup.options.port) = (own.ip(), own.port());
    setup.options.seed_peers = vec![seed.into()];
    Ok(Service::bind(setup.options, setup.credentials)?)
}

/// Waits until probes have been answered `count` times.
async fn answers(count: u64, node: &Handle, metrics: &MetricsHandle) -> Result<(), Failure> {
    let counted = |line: &str| line.strip_prefix("mesh_gossip_rtt_ms_count ")?.parse::<u64>().ok();
    let enough = async {
        while metrics.render().lines().find_map(counted).is_none_or(|answered| answered < count) {
            node.changed(node.current().version).await;
        }
    };
    Ok(timeout(LIMIT, enough).await?)
}

#[tokio::test]
async fn two_nodes_that_dial_each_other_at_once_agree_on_the_link_to_keep() -> Result<(), Failure> {
    let (recorder, metrics) = telemetry::build_metrics()?;
    let _recording = metrics::set_default_local_recorder(&recorder);
    let certified = Cluster::start(0, Tuning::fast()).await?;
    let (one, other) = (unused_address([127, 0, 17, 1])?, unused_address([127, 0, 17, 2])?);
    // Both are bound before either runs, and both dial in their first turn, on this thread.
    let services = [bind(&certified, "node-0", one, other)?, bind(&certified, "node-1", other, one)?];
    let handles = services.each_ref().map(Service::handle);
    let (mut running, shutdown) = (JoinSet::new(), CancellationToken::new());
    for service in services {
        running.spawn(service.run(shutdown.clone()));
    }

    // Two nodes answer two probes a round. Twenty rounds of 100 ms outlast the second for which a duplicate lingers;
    // had each closed the other's link, one would have dialled again.
    answers(40, &handles[0], &metrics).await?;
    let text = metrics.render();
    for expected in ["mesh_gossip_dials_total{outcome=\"success\"} 2\n", "\nmesh_gossip_links 1\n"] {
        assert!(text.contains(expected), "no `{expected}` in\n{text}");
    }
    assert!(!text.contains("mesh_outcome=\"failure\""), "a message was lost:\n{text}");
    for handle in &handles {
        assert_eq!(handle.current().count(mesh_types::MemberState::Alive), 2);
    }

    shutdown.cancel();
    while let Some(ended) = timeout(LIMIT, running.join_next()).await? {
        ended??;
    }
    Ok(())
}
