//! Links between nodes: one for each pair.

use std::net::SocketAddr;

use gossip::{Handle, RunError, Service};
use mesh_types::MemberState;
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

/// Returns the value of `series`, 0 if there is none.
fn value(metrics: &MetricsHandle, series: &str) -> u64 {
    let text = metrics.render();
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or_default()
}

/// Waits until `condition` holds; it is looked at once a round.
async fn until(node: &Handle, condition: impl Fn() -> bool) -> Result<(), Failure> {
    let holds = async {
        while !condition() {
            node.changed(node.current().version).await;
        }
    };
    Ok(timeout(LIMIT, holds).await?)
}

const DIALLED: &str = "mesh_gossip_dials_total{outcome=\"success\"}";

/// Two nodes that dialled each other, on this thread and with one recorder.
struct Pair {
    nodes: [Handle; 2],
    running: JoinSet<Result<(), RunError>>,
    shutdown: CancellationToken,
}

impl Pair {
    /// Both are bound before either runs, and both dial in their first turn.
    fn start(certified: &Cluster) -> Result<Self, Failure> {
        let (one, other) = (unused_address([127, 0, 17, 1])?, unused_address([127, 0, 17, 2])?);
        let services = [bind(certified, "node-0", one, other)?, bind(certified, "node-1", other, one)?];
        let nodes = services.each_ref().map(Service::handle);
        let (mut running, shutdown) = (JoinSet::new(), CancellationToken::new());
        for service in services {
            running.spawn(service.run(shutdown.clone()));
        }
        Ok(Self { nodes, running, shutdown })
    }

    async fn stop(mut self) -> Result<(), Failure> {
        self.shutdown.cancel();
        while let Some(ended) = timeout(LIMIT, self.running.join_next()).await? {
            ended??;
        }
        Ok(())
    }
}

#[tokio::test]
async fn two_nodes_that_dial_each_other_at_once_agree_on_the_link_to_keep() -> Result<(), Failure> {
    let certified = Cluster::start(0, Tuning::fast()).await?;
    for _ in 0..10 {
        let (recorder, metrics) = telemetry::build_metrics()?;
        let _recording = metrics::set_default_local_recorder(&recorder);
        let pair = Pair::start(&certified)?;
        let timed_out = || value(&metrics, "mesh_gossip_dials_total{outcome=\"timeout\"}");
        until(&pair.nodes[0], || value(&metrics, DIALLED) + timed_out() >= 2).await?;
        if timed_out() > 0 {
            // The machine was too busy for a handshake in time, so nothing was dialled twice.
            pair.stop().await?;
            continue;
        }
        check_kept(&pair, &metrics).await?;
        return pair.stop().await;
    }
    Err("no two handshakes at once in ten tries".into())
}

/// Checks that a pair with two links keeps one, and lost nothing with the other.
async fn check_kept(pair: &Pair, metrics: &MetricsHandle) -> Result<(), Failure> {
    // Two nodes answer two probes a round. Twenty rounds of 100 ms outlast the second for which a duplicate lingers;
    // had each closed the other's link, one would have dialled again.
    until(&pair.nodes[0], || value(metrics, "mesh_gossip_rtt_ms_count") >= 40).await?;
    let text = metrics.render();
    let dials: Vec<_> = text.lines().filter(|line| line.starts_with("mesh_gossip_dials_total{")).collect();
    assert_eq!(dials, [format!("{DIALLED} 2")]);
    assert_eq!(value(metrics, "mesh_gossip_links"), 1);
    assert!(!text.contains("mesh_outcome=\"failure\""), "a message was lost:\n{text}");
    for node in &pair.nodes {
        assert_eq!(node.current().count(MemberState::Alive), 2);
    }
    Ok(())
}
