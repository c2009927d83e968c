//! The service: bound first, then run.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use identity::{CredentialSource, Credentials};
use membership::{Core, LocalNode, OptionsError, StartError};
use mesh_types::{BootEpoch, Endpoint, Features, NodeId, NodeLifecycle, NodeMetadata};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::driver::{Driver, Trust};
use crate::endpoint;
use crate::handle::{Handle, Shared};
use crate::options::{Options, advertised};
use crate::tls::Tls;

/// Why a service cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An option is out of its range.
    #[error("gossip option is not valid")]
    Options(#[from] OptionsError),
    /// The certificate is of somebody else.
    #[error("gossip option {option} is `{configured}`, the certificate says `{certified}`")]
    Identity {
        /// The option.
        option: &'static str,
        /// Its value.
        configured: String,
        /// What the certificate says.
        certified: String,
    },
    /// The UDP port is taken.
    #[error("UDP port {address} is in use: another node, or another program, listens there")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The address cannot be bound.
    #[error("cannot listen on UDP {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It is not known where others can reach this node.
    #[error("gossip option advertiseHost is not set, and bindAddress `{address}` is none that others can dial")]
    Advertise {
        /// The bind address.
        address: SocketAddr,
    },
    /// What the node would say of itself is not valid.
    #[error("gossip metadata is not valid")]
    Start(#[from] StartError),
}

/// Why a running service ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A later process of the same name has joined.
    #[error("another process runs as `{node}` at {endpoint}: stop one of them, or give it a name of its own")]
    Superseded {
        /// The name.
        node: NodeId,
        /// Where the other listens.
        endpoint: Endpoint,
    },
    /// The UDP socket is gone.
    #[error("the gossip socket was closed")]
    EndpointClosed,
}

/// A node's gossip, bound to its port.
#[derive(Debug)]
pub struct Service {
    // Boxed, as its future is: whoever embeds it has it within a future of his own.
    driver: Box<Driver>,
    handle: Handle,
    local_addr: SocketAddr,
    seeds: Vec<Endpoint>,
}

impl Service {
    /// Checks the options and binds the port. Others can dial from now on, and are served once [`Service::run`] is polled.
    ///
    /// Who the node is comes from `credentials`, and again whenever that source has others: then every link is begun anew, and the old one
    /// serves until the new one is up. [`Credentials`] by themselves are a source that never changes.
    ///
    /// # Errors
    /// What is wrong with the options, the certificate or the port.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(options: Options, credentials: Arc<dyn CredentialSource>) -> Result<Self, BindError> {
        options.validate()?;
        let address = SocketAddr::new(options.bind_address, options.port);
        let in_use = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address, source },
            _ => BindError::Bind { address, source },
        };
        let transport = Arc::new(endpoint::transport(options.idle_timeout));
        let tls = Tls::new(credentials.current(), transport).map_err(in_use)?;
        check_identity(&options, &tls.credentials)?;
        let endpoint = endpoint::bind(address, &tls).map_err(in_use)?;
        let local_addr = endpoint.local_addr().map_err(in_use)?;
        let local = LocalNode {
            id: options.node_id.clone(),
            boot_epoch: wall_clock_epoch(),
            metadata: metadata(&options, local_addr)?,
        };
        info!(node = %local.id, listens = %local_addr, advertises = %local.metadata.endpoint, "gossip is bound");
        // Chance spreads load here; it protects nothing.
        let seed = RandomState::new().hash_one(&options.node_id);
        let core = Core::new(local, options.protocol(), seed, tokio::time::Instant::now().into_std())?;
        let share = Shared::start(core.snapshot());
        let handle = Handle { shared: Arc::clone(&share.shared) };
        let trust = Trust::new(credentials, tls, options.rehandshake_window);
        let driver = Driver::new(options.node_id, core, endpoint, trust, share, options.max_links);
        Ok(Self { driver: Box::new(driver), handle, local_addr, seeds: options.seed_peers })
    }

    /// Returns the address it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns a view of the mesh, as this node sees it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Gossips until `shutdown`, then says goodbye and returns once the others have it, or after about 2 s.
    ///
    /// # Errors
    /// Why it ended by itself.
    ///
    /// # Cancel safety
    /// Dropping the future stops the node without a goodbye: the others will find it dead.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        // A task, not a part of the caller's future: waking what a single-threaded runtime blocks on is a system call each time.
        let mut driver = JoinSet::new();
        driver.spawn(self.driver.run(self.seeds, shutdown));
        match driver.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(failed)) => resume_unwind(failed.into_panic()),
            None => Err(RunError::EndpointClosed),
        }
    }
}

fn check_identity(options: &Options, credentials: &Credentials) -> Result<(), BindError> {
    let id = credentials.spiffe_id();
    let pairs = [
        ("nodeId", options.node_id.as_str(), id.node().as_str()),
        ("clusterId", options.cluster_id.as_str(), id.cluster().as_str()),
        ("role", options.role.as_str(), id.role().as_str()),
    ];
    for (option, configured, certified) in pairs {
        if configured != certified {
            let (configured, certified) = (configured.to_owned(), certified.to_owned());
            return Err(BindError::Identity { option, configured, certified });
        }
    }
    Ok(())
}

fn metadata(options: &Options, local_addr: SocketAddr) -> Result<NodeMetadata, BindError> {
    let port = options.advertise_port.unwrap_or_else(|| local_addr.port());
    let no_host = || BindError::Advertise { address: local_addr };
    let endpoint = match &options.advertise_host {
        // `validate` has read it before.
        Some(host) => advertised(host, port).ok().ok_or_else(no_host)?,
        None if !local_addr.ip().is_unspecified() => SocketAddr::new(local_addr.ip(), port).into(),
        None => facing(&options.seed_peers).map(|ip| SocketAddr::new(ip, port).into()).ok_or_else(no_host)?,
    };
    // The host is good already.
    let rpc_endpoint = options.rpc_port.map(|rpc_port| advertised(endpoint.host(), rpc_port.get()));
    Ok(NodeMetadata {
        role: options.role.clone(),
        cluster: options.cluster_id.clone(),
        region: options.region.clone(),
        mesh_version: options.mesh_version.as_str().into(),
        http3_support: options.http3_support,
        endpoint,
        labels: options.labels.clone(),
        features: Features::OF_THIS_BUILD,
        lifecycle: NodeLifecycle::Active,
        services: options.services.clone(),
        rpc_endpoint: rpc_endpoint.transpose().map_err(|_host| no_host())?,
    })
}

/// Returns the local address from which the first seed with an IP address is reached. Sends nothing.
fn facing(seeds: &[Endpoint]) -> Option<std::net::IpAddr> {
    let seed = seeds.iter().find_map(Endpoint::socket_addr)?;
    let any = if seed.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let route = || -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(seed)?;
        socket.local_addr()
    };
    // No route is no answer: the caller says what to set.
    route().ok().map(|address| address.ip())
}

/// Returns a number that is higher for a later start, as far as the clock is right. Where it is not, the mesh corrects it.
fn wall_clock_epoch() -> BootEpoch {
    #[expect(clippy::disallowed_methods, reason = "the one reading of the wall clock at the start of a life")]
    let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    BootEpoch(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
