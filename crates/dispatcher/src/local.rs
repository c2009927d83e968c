//! Services of this node: applications beside it, which it serves to the mesh.

mod app;
mod dial;
mod endpoint;
mod grpc_app;
mod health;
mod http_app;
mod link;
mod listener;
mod service;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use http::{Request, Response};
use mesh_types::{NodeMetadata, ServiceName};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::body::Body;

use crate::status::Status;

pub use app::{LocalApp, LocalProtocol};
pub use endpoint::{LocalEndpoint, ParseLocalEndpointError};
pub use health::HealthOptions;
pub use listener::{LocalBindError, LocalListener};
use service::Local;

/// A service of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalServiceOptions {
    /// By what name it is called.
    pub name: ServiceName,
    /// Where it listens, and what it speaks there.
    pub app: LocalApp,
    /// How it is found out whether it is well.
    pub health: HealthOptions,
}

/// Why there are no such services.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalServicesError {
    /// Two have one name.
    #[error("service `{name}` is there twice")]
    Twice {
        /// The name.
        name: ServiceName,
    },
    /// There are more than a node may announce.
    #[error("{count} services, more than {}", NodeMetadata::MAX_SERVICES)]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// The services of this node, and which of them are well. Cloning is a reference count.
#[derive(Clone)]
pub struct LocalServices {
    inner: Arc<Inner>,
}

struct Inner {
    services: BTreeMap<ServiceName, Local>,
    /// Those that are well.
    healthy: watch::Sender<BTreeSet<ServiceName>>,
}

impl LocalServices {
    /// Makes them, none of them known to be well. Nobody is connected to yet.
    ///
    /// # Errors
    /// Two have one name, or there are more than a node may announce.
    pub fn new(services: Vec<LocalServiceOptions>) -> Result<Self, LocalServicesError> {
        let count = services.len();
        if count > NodeMetadata::MAX_SERVICES {
            return Err(LocalServicesError::TooMany { count });
        }
        let mut named = BTreeMap::new();
        for options in services {
            let name = options.name.clone();
            if named.insert(name.clone(), Local::new(options)).is_some() {
                return Err(LocalServicesError::Twice { name });
            }
        }
        let inner = Inner { services: named, healthy: watch::Sender::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns those that are well, and follows them.
    #[must_use]
    pub fn healthy(&self) -> watch::Receiver<BTreeSet<ServiceName>> {
        self.inner.healthy.subscribe()
    }

    /// Looks again and again whether they are well, until `shutdown`. Until then none of them is.
    ///
    /// # Cancel safety
    /// Dropping the future leaves them as they were last.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut checks = JoinSet::new();
        for name in self.inner.services.keys() {
            let (services, name) = (self.clone(), name.clone());
            checks.spawn(async move { services.watch(&name).await });
        }
        shutdown.cancelled().await;
        checks.shutdown().await;
    }

    pub(crate) fn is_healthy(&self, service: &ServiceName) -> bool {
        self.inner.services.get(service).is_some_and(Local::is_healthy)
    }

    /// Has a service of this node answer.
    pub(crate) async fn call(&self, service: &ServiceName, request: Request<Body>) -> Result<Response<Body>, Status> {
        match self.inner.services.get(service) {
            Some(local) => local.call(request).await,
            None => Err(Status::new(Code::Unavailable, format!("this node has no service `{service}`"))),
        }
    }

    async fn watch(&self, name: &ServiceName) {
        let Some(local) = self.inner.services.get(name) else { return };
        let mut health = health::Health::new(local.health_options());
        loop {
            let is_well = health.next(local).await;
            if local.set_healthy(is_well) {
                tracing::info!(service = %name, healthy = is_well, "a local service has changed");
                self.inner.healthy.send_modify(|healthy| match is_well {
                    true => drop(healthy.insert(name.clone())),
                    false => drop(healthy.remove(name)),
                });
            }
        }
    }
}

impl fmt::Debug for LocalServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalServices").field("services", &self.inner.services.keys()).finish_non_exhaustive()
    }
}
