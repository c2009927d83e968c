//! One node, as the test holds it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use gossip::{Handle, Options, RunError};
use identity::{CredentialSource, FileOptions};
use mesh_types::NodeId;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::oneshot;

use crate::error::StartError;
use crate::log::Log;
use crate::thread::{self as life, Started, Switches, Up};

/// What collects the metrics of a node.
pub(crate) type Recorder = Arc<dyn metrics::Recorder + Send + Sync>;

/// What a node is started with.
#[derive(Clone)]
pub struct Setup {
    /// How it gossips.
    pub options: Options,
    /// Who it is.
    pub credentials: Arc<dyn CredentialSource>,
    /// Files that its credentials come from instead, watched while it runs; default none.
    pub files: Option<FileOptions>,
    /// Takes the node's metrics; default one of its own, which [`Node::metric`] reads.
    pub recorder: Option<Arc<dyn metrics::Recorder + Send + Sync>>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, credentials, files, .. } = self;
        let mut setup = f.debug_struct("Setup");
        setup.field("options", options).field("credentials", credentials).field("files", files).finish_non_exhaustive()
    }
}

/// How a node ended.
#[derive(Debug)]
pub enum Ended {
    /// The test killed it: without a goodbye, and with everything cut off.
    Killed,
    /// Its service returned: because it was stopped, or for a reason of its own.
    ByItself {
        /// What the service returned.
        result: Result<(), RunError>,
        /// Tasks of the service that were still there 10 s later, where there should be none.
        tasks_left: usize,
    },
}

/// A node that runs, or has run, on a thread and a runtime of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    local_addr: SocketAddr,
    handle: Handle,
    metrics: PrometheusHandle,
    log: Log,
    switches: Switches,
    thread: Option<thread::JoinHandle<()>>,
    ended: Option<oneshot::Receiver<Ended>>,
}

impl Node {
    /// Starts a node and waits until its port is bound.
    ///
    /// # Errors
    /// Why it does not start.
    ///
    /// # Cancel safety
    /// Dropping the future kills the node.
    pub async fn start(setup: Setup) -> Result<Self, StartError> {
        let id = setup.options.node_id.clone();
        let own = PrometheusBuilder::new().build_recorder();
        let metrics = own.handle();
        let recorder = setup.recorder.clone().unwrap_or_else(|| Arc::new(own));
        let (log, switches) = (Log::default(), Switches::default());
        let Started { thread, up, ended } = life::start(setup, recorder, &log, switches.clone())?;
        let unless_up = switches.kill.clone().drop_guard();
        let panicked = |_thread_has_gone| StartError::Panicked { node: id.clone() };
        let Up { handle, local_addr } = up.await.map_err(panicked)??;
        unless_up.disarm();
        Ok(Self { id, local_addr, handle, metrics, log, switches, thread: Some(thread), ended: Some(ended) })
    }

    /// Returns the node's name.
    #[must_use]
    pub const fn id(&self) -> &NodeId {
        &self.id
    }

    /// Returns the UDP address it listens on, or did.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns its view of the mesh; the last one, if it has ended.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns whether the test has neither stopped nor killed it. One that ended by itself still counts as running.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.thread.is_some()
    }

    /// Returns all it counted, as Prometheus text; nothing if [`Setup::recorder`] took it.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.metrics.render()
    }

    /// Returns the value of one series, 0 if there is none; `series` is as Prometheus writes it, such as
    /// `mesh_gossip_refused_total{reason="expired"}`.
    #[must_use]
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }

    /// Returns all that its gossip has logged, from `debug` up.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Leaves the mesh, and waits until the node has ended.
    ///
    /// # Cancel safety
    /// Dropping the future kills the node once it is dropped itself.
    pub async fn stop(&mut self) -> Ended {
        self.switches.stop.cancel();
        self.ended().await
    }

    /// Waits until the node has ended by itself.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn ended(&mut self) -> Ended {
        // A thread that panicked tells nothing; joining it does.
        let ended = match &mut self.ended {
            Some(ended) => ended.await.unwrap_or(Ended::Killed),
            None => Ended::Killed,
        };
        self.join();
        ended
    }

    /// Ends the node in the middle of whatever it does: no goodbye, no packet more, the socket closed. As `kill -9`.
    pub fn kill(&mut self) {
        self.switches.kill.cancel();
        self.join();
    }

    /// Waits for the thread; it has been told to end, or has.
    fn join(&mut self) {
        self.ended = None;
        let Some(thread) = self.thread.take() else { return };
        if let Err(panic) = thread.join()
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
