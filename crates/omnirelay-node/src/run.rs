//! A node from its start to its ordered end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use control_api::{Drain, DrainHandle, Limits, Ports, Readiness, Security, Server, Workload};
use dispatcher::{Dispatcher, LocalEndpoint, Mesh};
use grpc_client_factory::ClientFactory;
use identity::{CredentialSource, FileCredentials, SpiffeId};
use mesh_types::NodeId;
use peers_core::{Fleet, MembershipView};
use telemetry::{MetricsHandle, Tracing};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::change::{change_labels, change_lifecycle, log_filter, sample_ratio};
use crate::config::Config;
use crate::demo;
use crate::dev_child::{self, Report};
use crate::events::{EventLines, EventsFormat, Followed};
use crate::health::PeerHealth;
use crate::node::{self, IdentityError};
use crate::node_secret::{self, NodeSecretError};
use crate::peer_metrics::peer_metrics;
use crate::rpc::{Rpc, RpcError};
use crate::signals::{Parent, Signals};
use crate::traces::{self, TrustBundleError};

/// Threads beside the one that gossips: they keep a TLS handshake or a scrape of the control endpoint from delaying the
/// answer to a probe. Gossip has the main thread for itself: a message that one thread takes in, handles and answers
/// is handed to no other thread on its way, and one thread needs one heap. Calls have lanes of their own for the same reasons.
const SIDE_THREADS: usize = 1;

/// Longest wait for gossip to say goodbye and close. It has a bound of its own; this one is the last resort.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// Longest wait for calls under way, likewise.
const RPC_LIMIT: Duration = Duration::from_secs(15);

/// Longest wait for the control endpoint to finish its requests, likewise.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Longest wait for the reader of membership events to take the last of them.
const EVENTS_LIMIT: Duration = Duration::from_secs(1);

/// How often observations of histograms are folded when nobody scrapes.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Why a node did not start, or ended otherwise than by being asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    TraceTrust(TrustBundleError),
    #[error("cannot set up logs and spans (`log.filter`, `traces.endpoint`)")]
    Logs(#[source] telemetry::InitTracingError),
    #[error("cannot set up metrics")]
    Metrics(#[source] telemetry::InstallMetricsError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the state directory cannot be used (`state.directory`)")]
    State(#[from] NodeSecretError),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("`--dev-child` needs a pipe as standard input")]
    Parent(#[source] io::Error),
    #[error("cannot start gossip (`mesh.gossip.bindAddress`, `mesh.gossip.port`)")]
    Gossip(#[source] gossip::BindError),
    #[error("cannot start the control API (`control.address`)")]
    Control(#[source] control_api::BindError),
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error("a part that takes calls stopped by itself")]
    RpcStopped,
    #[error("cannot report the addresses to the parent process")]
    Report(#[source] io::Error),
    #[error("cannot write membership events")]
    Events(#[source] io::Error),
    #[error("gossip stopped by itself")]
    GossipStopped(#[source] Option<gossip::RunError>),
    #[error("the control API stopped by itself")]
    ControlStopped,
    #[error("a part of the node panicked")]
    Panicked(#[source] JoinError),
    #[error("a second {signal} ended the node before it had left the mesh")]
    Hurried { signal: &'static str },
}

/// Whether the node is on its own or a child of `dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Started by a person or an init system.
    Alone,
    /// Reports its addresses on standard output and stops when standard input closes.
    DevChild,
}

/// Runs a node until a signal stops it.
///
/// # Errors
/// It could not start, a part of it failed, or a second signal cut its end short.
pub(crate) fn run(config: &Config, mode: Mode, events: Option<EventsFormat>) -> Result<(), RunError> {
    let metrics = telemetry::install_metrics().map_err(RunError::Metrics)?;
    #[expect(clippy::disallowed_methods, reason = "the edge, where the wall clock comes in")]
    let credentials = node::load_credentials(config, SystemTime::now())?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    let side = Builder::new_multi_thread().worker_threads(SIDE_THREADS).thread_name("side").enable_all().build();
    let side = side.map_err(RunError::Runtime)?;
    let tracing = start_tracing(config, credentials.source().current().spiffe_id(), &side)?;
    let around = Around { metrics, tracing, side: side.handle().clone() };
    let ended = runtime.block_on(serve(config, credentials, &around, (mode, events)));
    if let Some(traces) = around.tracing.traces
        && let Err(error) = traces.flush()
    {
        tracing::warn!(error = %Chain(&error), "spans are lost");
    }
    // After an ordered end nothing is left; after a hurried one nothing may hold the process up.
    side.shutdown_background();
    runtime.shutdown_background();
    ended
}

/// What is one a process.
struct Around {
    metrics: MetricsHandle,
    tracing: Tracing,
    /// The threads beside the one that gossips.
    side: Handle,
}

impl Around {
    /// Returns what the control endpoint shows of it and changes.
    fn ports(&self, members: Arc<dyn MembershipView>, readiness: Readiness, factory: Option<ClientFactory>) -> Ports {
        let (metrics, called) = (self.metrics.clone(), factory.clone());
        let text = move || metrics.render() + &called.as_ref().map(peer_metrics).unwrap_or_default();
        let traces = self.tracing.traces.as_ref();
        Ports {
            log_filter: Some(log_filter(&self.tracing.filter)),
            sample_ratio: traces.map(|traces| sample_ratio(&traces.sample_ratio())),
            calls: factory.map(|factory| Arc::new(move || factory.fleet().calls(factory.now())) as _),
            ..Ports::new(members, Arc::new(text), readiness)
        }
    }
}

/// Starts logs, and spans if they are to go anywhere: their connection lives on `side`.
fn start_tracing(config: &Config, node: &SpiffeId, side: &Runtime) -> Result<Tracing, RunError> {
    let options = traces::options(config, node).map_err(RunError::TraceTrust)?;
    let _entered = side.enter();
    telemetry::init_tracing(config.log.format, &config.log.filter, options.as_ref()).map_err(RunError::Logs)
}

async fn serve(
    config: &Config,
    credentials: FileCredentials,
    around: &Around,
    (mode, events): (Mode, Option<EventsFormat>),
) -> Result<(), RunError> {
    let mut asked = Asked {
        signals: Signals::listen().map_err(RunError::Signals)?,
        parent: (mode == Mode::DevChild).then(Parent::watch).transpose().map_err(RunError::Parent)?,
    };
    let id = credentials.source().current().spiffe_id().clone();
    let procedures = match mode {
        Mode::Alone => Dispatcher::default(),
        Mode::DevChild => demo::greeter(id.node().clone()),
    };
    let mut parts = Parts::start(config, credentials, around, (procedures, events)).await?;
    tracing::info!(
        node = %id,
        gossip = parts.gossip_addr.map(tracing::field::display),
        control = parts.control_addr.map(tracing::field::display),
        rpc = parts.calls.address.map(tracing::field::display),
        local = parts.calls.local.as_ref().map(tracing::field::display),
        version = env!("CARGO_PKG_VERSION"),
        "node is ready"
    );
    if mode == Mode::DevChild {
        let (gossip, control, rpc) = (parts.gossip_addr, parts.control_addr, parts.calls.address);
        dev_child::report(Report { gossip, control, rpc }).map_err(RunError::Report)?;
    }
    if events.is_some() {
        parts.print_events(id.node()).map_err(RunError::Events)?;
    }

    let ended = tokio::select! {
        reason = asked.next() => {
            tracing::info!(reason, "node stops");
            Ok(())
        }
        failed = parts.failure() => Err(failed),
    };
    tokio::select! {
        stopped = parts.stop() => ended.and(stopped),
        signal = asked.signals.next() => ended.and(Err(RunError::Hurried { signal })),
    }
}

/// Whoever may ask the node to stop.
struct Asked {
    signals: Signals,
    parent: Option<Parent>,
}

impl Asked {
    async fn next(&mut self) -> &'static str {
        let Some(parent) = &mut self.parent else { return self.signals.next().await };
        tokio::select! {
            signal = self.signals.next() => signal,
            () = parent.gone() => "parent process is gone",
        }
    }
}

/// What takes and makes calls.
#[derive(Default)]
struct Calls {
    address: Option<SocketAddr>,
    local: Option<LocalEndpoint>,
    workload: Option<Workload>,
    /// What they are made by, until somebody shows what comes of them.
    factory: Option<ClientFactory>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// The running parts of a node.
struct Parts {
    readiness: Readiness,
    gossip_addr: Option<SocketAddr>,
    control_addr: Option<SocketAddr>,
    calls: Calls,
    gossip: JoinSet<Result<(), gossip::RunError>>,
    gossip_stop: CancellationToken,
    control: JoinSet<()>,
    control_stop: CancellationToken,
    upkeep: JoinSet<Infallible>,
    /// What happens to the members since before gossip ran, if it is to be written.
    happenings: Option<Followed>,
    events: JoinSet<()>,
    events_stop: CancellationToken,
}

impl Parts {
    /// Binds everything first, so that a port in use is found before the mesh hears of this node.
    async fn start(
        config: &Config,
        credentials: FileCredentials,
        around: &Around,
        (procedures, events): (Dispatcher, Option<EventsFormat>),
    ) -> Result<Self, RunError> {
        let side = &around.side;
        let source: Arc<dyn CredentialSource> = credentials.source();
        let id = source.current().spiffe_id().clone();
        let server = match config.control.enabled {
            true => Some(bind_control(config, &source, side).await?),
            false => None,
        };
        let health = PeerHealth::new(config.gossip.suspicion_interval);
        let rpc = bind_rpc(config, (procedures, health.fleet.clone()), &source, side).await?;
        let service = bind_gossip(config, &source, rpc.as_ref())?;
        let handle = service.as_ref().map(gossip::Service::handle);
        let (members, mesh): (Arc<dyn MembershipView>, Arc<dyn Mesh>) = match handle.clone() {
            Some(handle) => (Arc::new(handle.clone()), Arc::new(handle)),
            None => {
                #[expect(clippy::disallowed_methods, reason = "the edge, where the clock comes in")]
                let now = Instant::now();
                let reached_at = server.as_ref().map_or(config.control.address, Server::local_addr);
                let alone = Arc::new(node::standalone(&config.gossip, &id, reached_at.into(), now));
                (Arc::clone(&alone) as _, alone)
            }
        };
        let readiness = Readiness::new(id.role().as_str());
        let calls =
            rpc.map_or_else(|| Ok(Calls::default()), |rpc| rpc_started(rpc, (mesh, handle.clone()), &readiness, side))?;
        let mut parts = Self {
            readiness,
            gossip_addr: service.as_ref().map(gossip::Service::local_addr),
            control_addr: server.as_ref().map(Server::local_addr),
            calls,
            gossip: JoinSet::new(),
            gossip_stop: CancellationToken::new(),
            control: JoinSet::new(),
            control_stop: CancellationToken::new(),
            upkeep: JoinSet::new(),
            happenings: handle
                .as_ref()
                .filter(|_| events.is_some())
                .map(|handle| Followed { members: handle.events(), users: handle.user_events() }),
            events: JoinSet::new(),
            events_stop: CancellationToken::new(),
        };
        parts.upkeep.spawn_on(keep_up(around.metrics.clone()), side);
        parts.upkeep.spawn_on(credentials.run(), side);
        let lease_health = Arc::clone(&health.board);
        parts.upkeep.spawn_on(health.follow(Arc::clone(&members)), side);
        if let Some(service) = service {
            parts.gossip.spawn(service.run(parts.gossip_stop.clone()));
        }
        if let Some(server) = server {
            let ports = Ports {
                lease_health: Some(lease_health),
                labels: handle.clone().map(change_labels),
                drain: handle.map(|handle| parts.keep_lifecycle(handle, side)),
                ..around.ports(members, parts.readiness.clone(), parts.calls.factory.take())
            };
            parts.control.spawn_on(server.run(control_api::router(ports), parts.control_stop.clone()), side);
        }
        Ok(parts)
    }

    /// Starts what empties the node when it is asked to.
    fn keep_lifecycle(&mut self, handle: gossip::Handle, side: &Handle) -> DrainHandle {
        let (drain, asked) = Drain::new(
            self.calls.workload.clone().into_iter().collect(),
            change_lifecycle(handle),
            self.readiness.clone(),
        );
        self.upkeep.spawn_on(drain.run(), side);
        asked
    }

    /// Writes to standard output that the node is ready, and from then on what happens to the members.
    fn print_events(&mut self, node: &NodeId) -> io::Result<()> {
        let mut lines = EventLines::new()?;
        lines.ready(node, self.gossip_addr, self.control_addr, (self.calls.address, self.calls.local.as_ref()))?;
        if let Some(happenings) = self.happenings.take() {
            let stop = self.events_stop.clone();
            // A thread of its own: whoever reads the lines slowly keeps nobody else waiting.
            self.events.spawn_blocking(move || Handle::current().block_on(lines.follow(happenings, stop)));
        }
        Ok(())
    }

    /// Waits until a part ends that nobody has stopped.
    async fn failure(&mut self) -> RunError {
        tokio::select! {
            Some(ended) = self.gossip.join_next() => match ended {
                Ok(result) => RunError::GossipStopped(result.err()),
                Err(panic) => RunError::Panicked(panic),
            },
            Some(ended) = self.control.join_next() => {
                ended.map_or_else(RunError::Panicked, |()| RunError::ControlStopped)
            }
            Some(ended) = self.calls.tasks.join_next() => {
                ended.map_or_else(RunError::Panicked, |()| RunError::RpcStopped)
            }
            Some(ended) = self.upkeep.join_next() => match ended {
                Ok(never) => match never {},
                Err(panic) => RunError::Panicked(panic),
            },
        }
    }

    /// Stops the parts in order: no new work, out of the mesh, then the endpoint that shows it.
    async fn stop(&mut self) -> Result<(), RunError> {
        self.readiness.set_draining(true);
        self.gossip_stop.cancel();
        let left = within(LEAVE_LIMIT, "gossip", self.gossip.join_next()).await;
        self.calls.stop.cancel();
        let calls = async {
            while self.calls.tasks.join_next().await.is_some() {}
            Some(())
        };
        within(RPC_LIMIT, "calls", calls).await;
        self.events_stop.cancel();
        let told = within(EVENTS_LIMIT, "membership events", self.events.join_next()).await;
        self.control_stop.cancel();
        let closed = within(CLOSE_LIMIT, "control API", self.control.join_next()).await;
        self.upkeep.shutdown().await;
        match left {
            Some(Err(panic)) => return Err(RunError::Panicked(panic)),
            Some(Ok(Err(error))) => return Err(RunError::GossipStopped(Some(error))),
            Some(Ok(Ok(()))) | None => {}
        }
        for ended in [told, closed].into_iter().flatten() {
            ended.map_err(RunError::Panicked)?;
        }
        tracing::info!("node has stopped");
        Ok(())
    }
}

async fn within<T>(limit: Duration, part: &'static str, ended: impl Future<Output = Option<T>>) -> Option<T> {
    timeout(limit, ended).await.unwrap_or_else(|_elapsed| {
        tracing::warn!(part, ?limit, "did not stop in time and is cut off");
        None
    })
}

/// Opens the control endpoint on the side threads, where it is served.
async fn bind_control(
    config: &Config,
    credentials: &Arc<dyn CredentialSource>,
    side: &Handle,
) -> Result<Server, RunError> {
    let security = if config.control.plaintext {
        Security::PlaintextLoopback
    } else {
        let node_secret = config.state.directory.as_deref().map(node_secret::load).transpose()?;
        Security::MutualTls { credentials: Arc::clone(credentials), node_secret }
    };
    let mut binding = JoinSet::new();
    binding.spawn_on(Server::bind(config.control.address, security, Limits::default()), side);
    let bound = binding.join_next().await.expect("one task was spawned");
    bound.map_err(RunError::Panicked)?.map_err(RunError::Control)
}

/// Opens gossip, unless it is switched off. It says where `rpc` takes calls.
fn bind_gossip(
    config: &Config,
    credentials: &Arc<dyn CredentialSource>,
    rpc: Option<&Rpc>,
) -> Result<Option<gossip::Service>, RunError> {
    if !config.gossip.enabled {
        return Ok(None);
    }
    let port = || NonZeroU16::new(rpc?.local_addr().port());
    let rpc_port = rpc.and(config.rpc.advertise_port).or_else(port);
    let options = config.gossip.options(credentials.current().spiffe_id());
    let bound = gossip::Service::bind(gossip::Options { rpc_port, ..options }, Arc::clone(credentials));
    bound.map(Some).map_err(RunError::Gossip)
}

/// Opens what takes calls on the side threads, where all of it runs but the calls.
async fn bind_rpc(
    config: &Config,
    inside: (Dispatcher, Fleet),
    credentials: &Arc<dyn CredentialSource>,
    side: &Handle,
) -> Result<Option<Rpc>, RunError> {
    let node_secret = config.state.directory.as_deref().map(node_secret::load).transpose()?;
    let (config, credentials, mut binding) = (config.clone(), Arc::clone(credentials), JoinSet::new());
    binding.spawn_on(async move { Rpc::bind(&config, inside, credentials, node_secret).await }, side);
    let bound = binding.join_next().await.expect("one task was spawned");
    Ok(bound.map_err(RunError::Panicked)??)
}

/// Starts it there.
fn rpc_started(
    rpc: Rpc,
    (mesh, gossip): (Arc<dyn Mesh>, Option<gossip::Handle>),
    readiness: &Readiness,
    side: &Handle,
) -> Result<Calls, RunError> {
    let _entered = side.enter();
    let (address, local) = (Some(rpc.local_addr()), rpc.local_endpoint().cloned());
    let workload = Some(Workload { name: "rpc", inflight: rpc.inflight.clone() });
    let factory = Some(rpc.factory());
    let stop = CancellationToken::new();
    let tasks = rpc.start(mesh, gossip, readiness, &stop)?;
    Ok(Calls { address, local, workload, factory, tasks, stop })
}

async fn keep_up(metrics: MetricsHandle) -> Infallible {
    let mut ticks = interval(UPKEEP_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.upkeep();
    }
}
