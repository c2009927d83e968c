//! The data plane of the node: calls from the mesh, from the applications of this machine, and to both.

mod announce;

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use dispatcher::{
    Dispatcher, Front, HealthOptions, LocalApp, LocalBindError, LocalEndpoint, LocalListener, LocalServiceOptions,
    LocalServices, LocalServicesError, Mesh, OutboundOptions, OutboundPorts, Outbounds, Readiness,
};
use grpc_client_factory::{BuildFactoryError, ClientFactory, FactoryOptions};
use identity::{CredentialSource, SpiffeId};
use lanes::Lanes;
use mesh_server::{Inflight, NodeSecret, Options, QuicOptions, Server};
use peers_core::{BuildChooserError, ChooserPorts, Fleet};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, RpcConfig, Threads};

/// How long calls under way have when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no data plane.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RpcError {
    #[error("cannot take calls (`rpc.address`)")]
    Bind(#[source] mesh_server::BindError),
    #[error("cannot take calls of applications (`rpc.local`)")]
    Local(#[source] LocalBindError),
    #[error("`rpc.local` is for nodes of role `dispatcher` or `gateway`; this one is a `worker`")]
    Worker,
    #[error("cannot start a thread for calls")]
    Lanes(#[source] io::Error),
    #[error("cannot serve `rpc.services`")]
    Services(#[source] LocalServicesError),
    #[error("cannot make calls")]
    Factory(#[source] BuildFactoryError),
    #[error("cannot choose peers (`rpc.chooser`)")]
    Chooser(#[source] BuildChooserError),
}

/// What the role of a node says about calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// From outside, no further than its own services.
    OwnServices,
    /// From outside to any service of the mesh.
    Mesh,
}

/// A data plane that is bound and does not run yet.
pub(crate) struct Rpc {
    /// What the node answers itself.
    procedures: Dispatcher,
    /// The threads that calls run on, each from where it comes in to where it goes.
    lanes: Lanes,
    server: Server,
    listener: Option<LocalListener>,
    services: LocalServices,
    factory: ClientFactory,
    options: OutboundOptions,
    id: SpiffeId,
    /// The calls that come from the mesh.
    pub(crate) inflight: Inflight,
}

impl Rpc {
    /// Binds what `config` says; `None` if it says that the node takes no calls. `procedures` are answered by the node itself, and
    /// what its calls show of others is known to `fleet`.
    /// Must be called inside the runtime that calls run on.
    pub(crate) async fn bind(
        config: &Config,
        (procedures, fleet): (Dispatcher, Fleet),
        credentials: Arc<dyn CredentialSource>,
        node_secret: Option<NodeSecret>,
    ) -> Result<Option<Self>, RpcError> {
        let RpcConfig { address, local, threads, chooser, services, .. } = &config.rpc;
        let Some(address) = *address else { return Ok(None) };
        let id = credentials.current().spiffe_id().clone();
        if local.is_some() && id.role().as_str() == "worker" {
            return Err(RpcError::Worker);
        }
        let quic = config.gossip.http3_support.then(QuicOptions::default);
        let cores = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let lanes = Lanes::start(threads.map_or_else(cores, |Threads(count)| count)).map_err(RpcError::Lanes)?;
        let drain_timeout = DRAIN_TIMEOUT;
        let options =
            Options { address, quic, node_secret, drain_timeout, lanes: Some(lanes.clone()), ..Options::default() };
        let server = Server::bind(options, Arc::clone(&credentials)).map_err(RpcError::Bind)?;
        let listener = match local {
            Some(endpoint) => {
                let listener = LocalListener::bind(endpoint.clone()).await.map_err(RpcError::Local)?;
                Some(listener.on(lanes.clone()))
            }
            None => None,
        };
        let service = |(name, app): (&dispatcher::ServiceName, &LocalApp)| LocalServiceOptions {
            name: name.clone(),
            app: app.clone(),
            health: HealthOptions::default(),
        };
        Ok(Some(Self {
            procedures,
            lanes,
            server,
            listener,
            services: LocalServices::new(services.iter().map(service).collect()).map_err(RpcError::Services)?,
            factory: ClientFactory::new(credentials, factory_options(&config.rpc, fleet)).map_err(RpcError::Factory)?,
            options: OutboundOptions { chooser: chooser.clone(), ..OutboundOptions::default() },
            id,
            inflight: Inflight::new(),
        }))
    }

    /// Returns what its calls are made by.
    pub(crate) fn factory(&self) -> ClientFactory {
        self.factory.clone()
    }

    /// Returns where it takes calls.
    pub(crate) const fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Returns where applications call.
    pub(crate) fn local_endpoint(&self) -> Option<&LocalEndpoint> {
        self.listener.as_ref().map(LocalListener::endpoint)
    }

    /// Starts it: calls go to the nodes of `mesh`, and come until `stop`. `gossip` is told which services are well.
    pub(crate) fn start(
        self,
        mesh: Arc<dyn Mesh>,
        gossip: Option<gossip::Handle>,
        readiness: &Readiness,
        stop: &CancellationToken,
    ) -> Result<JoinSet<()>, RpcError> {
        let Self { procedures, lanes, server, listener, services, factory, options, id, inflight } = self;
        let ports = OutboundPorts { node: id.node().clone(), factory: factory.clone(), mesh, local: services.clone() };
        let made = Outbounds::new(ports, options, ChooserPorts::default());
        let (outbounds, following) = made.map_err(RpcError::Chooser)?;
        let from_mesh = match entry(&id) {
            Entry::Mesh => outbounds.clone(),
            Entry::OwnServices => outbounds.of_this_node(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(following.run(stop.clone()));
        if let Some(gossip) = gossip {
            let own = procedures.services().cloned().collect();
            tasks.spawn(announce::announce(own, services.healthy(), gossip, stop.clone()));
        }
        tasks.spawn(services.run(stop.clone()));
        if let Some(listener) = listener {
            tasks.spawn(listener.run(front(procedures.clone(), outbounds, readiness), DRAIN_TIMEOUT, stop.clone()));
        }
        let serving = server.run(inflight.guard(front(procedures, from_mesh, readiness)), stop.clone());
        tasks.spawn(async move {
            let report = serving.await;
            tracing::info!(connections = report.connections, cut_off = report.cut_off, "no more calls are taken");
            // What they have called has ended with them.
            factory.close(Duration::ZERO).await;
            drop(lanes);
        });
        Ok(tasks)
    }
}

fn factory_options(config: &RpcConfig, fleet: Fleet) -> FactoryOptions {
    // Of its own in each process, so that nodes which lose a peer at the same moment do not try again at the same moment.
    let seed = RandomState::new().hash_one(());
    let mut options = FactoryOptions { seed, fleet, ..FactoryOptions::default() };
    options.profiles.insert(FactoryOptions::DATA_PLANE.to_owned(), config.profile());
    options
}

fn entry(id: &SpiffeId) -> Entry {
    if id.role().as_str() == "gateway" { Entry::Mesh } else { Entry::OwnServices }
}

fn front(procedures: Dispatcher, outbounds: Outbounds, readiness: &Readiness) -> Front {
    Front::builder(procedures).forward(Arc::new(outbounds)).readiness(readiness.clone()).build()
}
