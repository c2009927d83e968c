//! The way out: to whoever serves a service, on this node or elsewhere in the mesh.

mod channels;
mod directory;
mod failure;
mod hop;
mod members;
mod running;
mod summary;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use grpc_client_factory::{BalancedOptions, ChannelError, ClientFactory, FactoryOptions};
use http::{Request, Response};
use mesh_server::PeerIdentity;
use mesh_types::{NodeId, ServiceName};
use peers_core::{BuildChooserError, ChooserPorts, ChooserSpec, Local, PeerSource, TableOptions, hash_key};
use tonic::body::Body;
use tower::Service as _;

use crate::forward::Forward;
use crate::grpc;
use crate::introspect::OutboundSummary;
use crate::local::LocalServices;
use crate::status::Status;

use channels::Channels;
use directory::Directory;
use hop::Hop;
use members::Whom;
pub use running::OutboundsTask;

/// How calls go out.
#[derive(Debug, Clone)]
pub struct OutboundOptions {
    /// Profile of the client factory that calls are made by. Default [`FactoryOptions::DATA_PLANE`].
    pub profile: String,
    /// Which peers get calls. Default `tiered > adaptive`: those that take long get few.
    pub chooser: ChooserSpec,
    /// Which peers get calls that have a routing key. Default `tiered > hash`: those of one key go to one peer.
    pub chooser_of_keys: ChooserSpec,
    /// Breakers, and most calls at once to a peer. What is the node's own (seed, name) and the service's is filled in.
    pub table: TableOptions,
    /// Most services, or nodes, to which there are channels at a time; from 1. Default 512. Beyond it, those make room that have
    /// not been called for longest.
    pub channels_max: usize,
    /// How long a channel is kept that nobody calls by. Default 5 minutes.
    pub idle_timeout: Duration,
}

impl Default for OutboundOptions {
    fn default() -> Self {
        let chooser = |name: &str| name.parse().expect("filters and choosers that there are");
        Self {
            profile: FactoryOptions::DATA_PLANE.to_owned(),
            chooser: chooser("tiered > adaptive"),
            chooser_of_keys: chooser("tiered > hash"),
            table: TableOptions::default(),
            channels_max: 512,
            idle_timeout: Duration::from_secs(5 * 60),
        }
    }
}

/// What calls go out by.
#[derive(Debug)]
pub struct OutboundPorts {
    /// The node that they go out from.
    pub node: NodeId,
    /// Makes the channels to others.
    pub factory: ClientFactory,
    /// The mesh: its nodes, and the services that each announces.
    pub mesh: Arc<dyn Mesh>,
    /// The services of this node.
    pub local: LocalServices,
}

/// A source of peers that can be shown; all that are `Debug` are.
pub trait Mesh: PeerSource + fmt::Debug {}

impl<S: PeerSource + fmt::Debug> Mesh for S {}

/// Takes calls to whoever serves their service: on this node, or else on the best of those that announce it in the mesh.
/// Cloning is a reference count.
#[derive(Clone)]
pub struct Outbounds {
    inner: Arc<Inner>,
    reach: Reach,
}

/// How far calls go that come in from outside of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Mesh,
    /// No further than this node, but for those that were told to come by it.
    Through,
    Node,
}

struct Inner {
    ports: OutboundPorts,
    options: OutboundOptions,
    choosers: ChooserPorts,
    directory: Directory,
    channels: Channels,
}

/// Where a call goes next.
enum Next {
    Local(ServiceName),
    Mesh(Whom),
}

impl Outbounds {
    /// Makes the way out, and the task that keeps it up to date. What the mesh has told already counts from the first call.
    ///
    /// # Errors
    /// A chooser needs what `choosers` does not have.
    pub fn new(
        ports: OutboundPorts,
        options: OutboundOptions,
        choosers: ChooserPorts,
    ) -> Result<(Self, OutboundsTask), BuildChooserError> {
        for spec in [&options.chooser, &options.chooser_of_keys] {
            drop(spec.chooser(&choosers)?);
        }
        let updates = ports.mesh.subscribe();
        let channels = Channels::new(options.channels_max, options.idle_timeout);
        let inner = Arc::new(Inner { ports, options, choosers, directory: Directory::default(), channels });
        let task = OutboundsTask::begin(&inner, updates);
        Ok((Self { inner, reach: Reach::Mesh }, task))
    }

    /// Returns a way out that leads to the services of this node and no further, unless another node of the mesh has sent the call,
    /// which was told to come by here: for listeners by which the mesh is not to be entered.
    #[must_use]
    pub fn of_this_node(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), reach: Reach::Node }
    }

    /// Returns to how many services and nodes there are channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.inner.channels.len()
    }

    /// Returns how far a request may go. Other nodes are told to come by here, and then it may go on; whoever else says so is only
    /// somebody with a certificate.
    fn reach_of(&self, request: &Request<Body>) -> Reach {
        let caller = request.extensions().get::<PeerIdentity>();
        let is_node = caller.is_some_and(|caller| self.inner.directory.has_node(caller.spiffe_id().node()));
        match self.reach {
            Reach::Node if is_node => Reach::Through,
            reach => reach,
        }
    }

    async fn route(&self, service: ServiceName, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let hop = Hop::read(request.headers())?;
        let next = self.inner.next(&service, &hop, self.reach_of(&request))?;
        hop.write(&self.inner.ports.node, &mut request);
        match next {
            Next::Mesh(whom) => self.inner.to_mesh(whom, request).await,
            Next::Local(name) => self.inner.ports.local.call(&name, request).await,
        }
    }
}

impl Inner {
    /// Says where a call goes, by where it comes from and what it asks for.
    fn next(&self, service: &ServiceName, hop: &Hop, reach: Reach) -> Result<Next, Status> {
        let node = &self.ports.node;
        let delegate = hop.delegate.as_ref().filter(|delegate| delegate.node != *node);
        let is_through = hop.delegate.is_some() && delegate.is_none();
        let may_leave = match reach {
            Reach::Mesh => true,
            Reach::Through => is_through,
            Reach::Node => false,
        };
        let may_go_on = may_leave && hop.may_go_on(is_through);
        let service = delegate.map(|delegate| &delegate.service).filter(|name| self.knows(name)).unwrap_or(service);
        if let Some(by) = delegate.filter(|delegate| delegate.service != *service && may_go_on) {
            return match self.directory.has_node(&by.node) {
                true => Ok(Next::Mesh(Whom::Node(by.node.clone()))),
                false => Err(failure::no_delegate(by)),
            };
        }
        if self.ports.local.is_healthy(service) {
            return Ok(Next::Local(service.clone()));
        }
        if !may_go_on {
            return Err(failure::not_here(node, service));
        }
        match self.directory.serves(service) {
            true => Ok(Next::Mesh(Whom::Service { name: service.clone(), by_key: hop.has_key })),
            false => Err(failure::nobody()),
        }
    }

    fn knows(&self, service: &ServiceName) -> bool {
        self.ports.local.is_healthy(service) || self.directory.serves(service)
    }

    async fn to_mesh(&self, whom: Whom, request: Request<Body>) -> Result<Response<Body>, Status> {
        let channel = self.channels.get(&whom, || self.channel(&whom));
        let mut channel = channel.map_err(|error| failure::no_channel(&error))?;
        let response = channel.call(request).await.map_err(failure::of_call)?;
        let mut response = grpc::passed_on(response);
        // It is about another server than the one that our caller knows.
        response.headers_mut().remove(http::header::ALT_SVC);
        Ok(response)
    }

    fn channel(&self, whom: &Whom) -> Result<grpc_client_factory::BalancedChannel, ChannelError> {
        let OutboundOptions { profile, chooser, chooser_of_keys, table, .. } = &self.options;
        let spec = if whom.by_key() { chooser_of_keys } else { chooser };
        let built = spec.chooser(&self.choosers).expect("it was built before, of the same ports");
        let options = BalancedOptions {
            profile: profile.clone(),
            filters: spec.filters(),
            table: table_of(&self.ports.node, whom, table),
            ..BalancedOptions::new(built)
        };
        self.ports.factory.balanced(&whom.source(&self.ports.mesh), options)
    }
}

/// Returns how the peers of a channel of `node` are kept: with chance of its own, lest all nodes choose alike.
fn table_of(node: &NodeId, whom: &Whom, table: &TableOptions) -> TableOptions {
    TableOptions {
        seed: table.seed ^ hash_key(node.as_str().as_bytes()),
        local: Local { name: node.as_str().into(), ..table.local.clone() },
        service: whom.to_string().into(),
        transport: "grpc".into(),
        ..table.clone()
    }
}

impl Forward for Outbounds {
    fn knows(&self, service: &ServiceName) -> bool {
        self.inner.knows(service)
    }

    fn outbounds(&self) -> Vec<OutboundSummary> {
        let mut summaries: Vec<_> =
            self.inner.channels.all().iter().map(|(whom, channel)| summary::of_channel(whom, channel)).collect();
        let healthy = self.inner.ports.local.healthy();
        let local = healthy.borrow().iter().map(ServiceName::to_string).collect::<Vec<_>>();
        summaries.extend(local.into_iter().map(|service| OutboundSummary {
            service,
            transport: "local".to_owned(),
            chooser: None,
            peers: Vec::new(),
        }));
        summaries.sort_by(|one, other| (&one.service, &one.chooser).cmp(&(&other.service, &other.chooser)));
        summaries
    }

    fn forward(&self, service: &ServiceName, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let (outbounds, service) = (self.clone(), service.clone());
        Box::pin(async move {
            match outbounds.route(service, request).await {
                Ok(response) => response,
                Err(status) => grpc::failure(&status),
            }
        })
    }
}

impl fmt::Debug for Outbounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { ports, options, .. } = &*self.inner;
        f.debug_struct("Outbounds").field("node", &ports.node).field("options", options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_chance_and_a_name_of_its_own_to_choose_by() {
        let of = |node: &str| {
            let (node, whom) = (node.parse().expect("a name"), Whom::Node("node-c".parse().expect("a name")));
            let TableOptions { seed, local, service, .. } = table_of(&node, &whom, &TableOptions::default());
            (seed, local.name.to_string(), service.to_string())
        };
        let ((one, name, service), (other, ..)) = (of("node-a"), of("node-b"));
        assert_ne!(one, other);
        assert_eq!((name.as_str(), service.as_str()), ("node-a", "node node-c"));
    }
}
