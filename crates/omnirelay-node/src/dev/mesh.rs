//! The nodes of a development mesh, from the first start to the last stop.

use std::sync::Arc;
use std::time::Duration;

use identity::Credentials;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::api::{Answer, Api};
use super::child::{Child, Starting, log_tail};
use super::error::DevError;
use super::workspace::Workspace;

/// How often a node is asked whether it sees all, which is also how exact the discovery time is.
const POLL_PERIOD: Duration = Duration::from_millis(5);

/// Longest wait for nodes to say goodbye and end; then they are killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A node and the way to ask it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) child: Child,
    pub(crate) api: Api,
}

/// The nodes of a development mesh.
#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) nodes: Vec<Node>,
    credentials: Option<Arc<Credentials>>,
    began: Instant,
}

/// How the nodes found one another.
#[derive(Debug)]
pub(crate) struct Discovery {
    /// From the first start until the last node was up.
    pub(crate) start: Duration,
    /// From then until every node saw every other one alive.
    pub(crate) discovery: Duration,
    /// What the first node says of all.
    pub(crate) seen: Answer,
}

impl Node {
    /// Waits until the node sees `count` members alive, and returns all that it sees then.
    async fn sees(&mut self, count: usize) -> Answer {
        let mut ticks = interval(POLL_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.api.members().await {
                Ok(answer) if answer.alive() == count => return answer,
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "node did not answer"),
            }
        }
    }
}

impl Mesh {
    /// Makes a mesh without nodes; `credentials` if their control endpoints ask for them.
    pub(crate) fn new(credentials: Option<Credentials>) -> Self {
        Self { nodes: Vec::new(), credentials: credentials.map(Arc::new), began: Instant::now() }
    }

    /// Starts a node for each name: the first, and once it listens the others at once, with it as their seed.
    pub(crate) async fn start(&mut self, names: &[String], workspace: &Workspace) -> Result<(), DevError> {
        let binary = std::env::current_exe()
            .map_err(|source| DevError::Start { name: "a copy of this program".to_owned(), source })?;
        let spawn = |name: &String, seed| {
            let config = workspace.write_config(name, seed)?;
            Starting::spawn(name, &binary, &config, &workspace.log(name))
        };
        let Some((first, others)) = names.split_first() else { return Ok(()) };
        let child = spawn(first, None)?.up().await?;
        let seed = child.gossip;
        self.add(child);
        let starting = others.iter().map(|name| spawn(name, Some(seed))).collect::<Result<Vec<_>, _>>()?;
        for other in starting {
            self.add(other.up().await?);
        }
        Ok(())
    }

    /// Waits until every node sees every node alive. Call it when the last one is up.
    pub(crate) async fn discover(&mut self) -> Result<Discovery, DevError> {
        let up = Instant::now();
        let count = self.nodes.len();
        let mut seen_by_first = None;
        for node in &mut self.nodes {
            // A node that has seen all once need not be asked again: nobody leaves meanwhile.
            let seen = node.sees(count).await;
            seen_by_first.get_or_insert(seen);
        }
        Ok(Discovery { start: up - self.began, discovery: up.elapsed(), seen: seen_by_first.unwrap_or_default() })
    }

    /// Returns the error that says how far the nodes `names` came within `limit`.
    pub(crate) async fn not_discovered(
        &mut self,
        names: &[String],
        limit: Duration,
        workspace: &Workspace,
    ) -> DevError {
        if self.nodes.len() < names.len() {
            let log = |name: &String| format!("\n{name}:{}", log_tail(&workspace.log(name)));
            return DevError::NotUp { limit, logs: names.iter().map(log).collect() };
        }
        let mut seen = Vec::new();
        for node in &mut self.nodes {
            let name = &node.child.name;
            seen.push(match node.api.members().await {
                Ok(answer) => format!("{name} sees {} alive", answer.alive()),
                Err(error) => format!("{name} does not answer ({})", crate::chain::Chain(&error)),
            });
        }
        DevError::NotDiscovered { limit, seen: seen.join(", ") }
    }

    /// Stops all nodes: asks, waits, and kills those that stay.
    pub(crate) async fn stop(&mut self) -> Result<(), DevError> {
        let deadline = Instant::now() + STOP_LIMIT;
        self.nodes.iter().for_each(|node| node.child.terminate());
        let mut result = Ok(());
        for node in &mut self.nodes {
            result = result.and(node.child.stopped(deadline).await);
        }
        result
    }

    fn add(&mut self, child: Child) {
        let api = Api::new(child.control, self.credentials.clone());
        self.nodes.push(Node { child, api });
    }
}
