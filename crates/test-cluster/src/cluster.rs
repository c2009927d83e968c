//! Nodes that form a mesh.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use gossip::{Handle, Options};
use mesh_types::{Endpoint, MemberState, NodeId};
use peers_core::MembershipView as _;
use test_authority::{Authority, Holder};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{StartError, TimedOut};
use crate::node::{Ended, Node, Setup};
use crate::tuning::Tuning;

/// How often a condition is looked at when no view changes: metrics and logs announce nothing.
const TICK: Duration = Duration::from_millis(20);

/// Real nodes of one mesh on loopback, and the authority that certifies them. Dropping it kills them all.
///
/// Nodes are numbered in the order they were started, from 0, and keep their number when they end.
#[derive(Debug)]
pub struct Cluster {
    authority: Authority,
    tuning: Tuning,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts the nodes `node-0` to `node-<n - 1>`; the first is the seed of the others. They do not see each other yet.
    ///
    /// # Errors
    /// Why a node does not start.
    pub async fn start(nodes: usize, tuning: Tuning) -> Result<Self, StartError> {
        let mut cluster = Self { authority: Authority::new()?, tuning, nodes: Vec::with_capacity(nodes) };
        for number in 0..nodes {
            let seeds = cluster.seeds(1);
            let mut setup = cluster.setup(&format!("node-{number}"))?;
            setup.options.seed_peers = seeds;
            cluster.join(setup).await?;
        }
        Ok(cluster)
    }

    /// Returns who certifies the nodes.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Makes what a good node is started with: a fresh certificate, a free port on loopback, and the first three
    /// running nodes as seeds.
    ///
    /// # Errors
    /// `node` is no name.
    pub fn setup(&self, node: &str) -> Result<Setup, StartError> {
        let holder = Holder::new(node);
        let credentials = self.authority.credentials_with(&holder)?;
        let (cluster, role) = (holder.cluster.parse()?, holder.role.parse()?);
        let options = Options {
            bind_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            interval: self.tuning.interval,
            suspicion_interval: self.tuning.suspicion_interval,
            ping_timeout: self.tuning.ping_timeout,
            seed_peers: self.seeds(3),
            ..Options::new(node.parse()?, cluster, role, "local".parse()?)
        };
        Ok(Setup { options, credentials, files: None, recorder: None })
    }

    /// Starts a node and returns its number.
    ///
    /// # Errors
    /// Why it does not start.
    pub async fn join(&mut self, setup: Setup) -> Result<usize, StartError> {
        self.nodes.push(Node::start(setup).await?);
        Ok(self.nodes.len() - 1)
    }

    /// Returns a node.
    ///
    /// # Panics
    /// There is no node of that number.
    #[must_use]
    pub fn node(&self, number: usize) -> &Node {
        self.nodes.get(number).expect("the test names a node that it started")
    }

    /// Returns a node's view of the mesh.
    ///
    /// # Panics
    /// There is no node of that number.
    #[must_use]
    pub fn handle(&self, number: usize) -> &Handle {
        self.node(number).handle()
    }

    /// Returns the nodes that the test has neither stopped nor killed, in the order they were started.
    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    /// Lets a node leave the mesh, and waits until it has ended.
    ///
    /// # Panics
    /// There is no node of that number.
    pub async fn stop(&mut self, number: usize) -> Ended {
        self.node_mut(number).stop().await
    }

    /// Waits until a node ends by itself.
    ///
    /// # Panics
    /// There is no node of that number.
    pub async fn ended(&mut self, number: usize) -> Ended {
        self.node_mut(number).ended().await
    }

    /// Ends a node without a goodbye, see [`Node::kill`].
    ///
    /// # Panics
    /// There is no node of that number.
    pub fn kill(&mut self, number: usize) {
        self.node_mut(number).kill();
    }

    /// Waits until `condition` holds and returns how long that took. It is looked at whenever a view changes, and
    /// every 20 ms for what announces no change.
    ///
    /// # Errors
    /// It did not come to hold within `limit`; `what` says in words what was waited for.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_until(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<Duration, TimedOut> {
        let start = Instant::now();
        let give_up = start + limit;
        loop {
            let seen: Vec<u64> = self.running().map(|node| node.handle().current().version).collect();
            if condition(self) {
                return Ok(start.elapsed());
            }
            if Instant::now() >= give_up {
                return Err(TimedOut { what: what.to_owned(), limit, views: self.views() });
            }
            let changes = self.running().zip(seen).map(|(node, version)| node.handle().changed(version));
            let changes: Vec<_> = changes.collect();
            let tick = timeout_at(
                give_up,
                timeout(TICK, async {
                    match changes.is_empty() {
                        true => std::future::pending().await,
                        false => select_all(changes).await.0,
                    }
                }),
            );
            // Whether a view changed or time went by, the condition is looked at again.
            drop(tick.await);
        }
    }

    /// Returns whether each running node sees exactly the running nodes alive.
    #[must_use]
    pub fn all_see_all(&self) -> bool {
        let expected: BTreeSet<NodeId> = self.running().map(|node| node.id().clone()).collect();
        self.running().all(|node| {
            let view = node.handle().current();
            let alive = view.members.iter().filter(|member| member.state == MemberState::Alive);
            alive.map(|member| member.id.clone()).collect::<BTreeSet<_>>() == expected
        })
    }

    /// Returns whether the node `viewer` holds the node `subject` to be alive.
    ///
    /// # Panics
    /// There is no node of that number.
    #[must_use]
    pub fn sees_alive(&self, viewer: usize, subject: usize) -> bool {
        let view = self.handle(viewer).current();
        view.get(self.node(subject).id()).is_some_and(|member| member.state == MemberState::Alive)
    }

    /// Returns whether each running node but `subject` itself holds it to be in `state`.
    ///
    /// # Panics
    /// There is no node of that number.
    #[must_use]
    pub fn all_hold(&self, subject: usize, state: MemberState) -> bool {
        let id = self.node(subject).id();
        let mut others = self.running().filter(|node| node.id() != id);
        others.all(|node| node.handle().current().get(id).is_some_and(|member| member.state == state))
    }

    fn node_mut(&mut self, number: usize) -> &mut Node {
        self.nodes.get_mut(number).expect("the test names a node that it started")
    }

    fn seeds(&self, most: usize) -> Vec<Endpoint> {
        self.running().take(most).map(|node| node.local_addr().into()).collect()
    }

    fn views(&self) -> String {
        let mut text = String::new();
        for node in self.running() {
            let view = Arc::clone(&node.handle().current());
            let members: Vec<_> = view.members.iter().map(|m| format!("{} {:?}", m.id, m.state)).collect();
            writeln!(text, "{} sees {}", node.id(), members.join(", ")).expect("a string takes any text");
        }
        text
    }
}
